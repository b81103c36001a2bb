//! The host's side of `trace/1`.

use polyport_abi::RSlice;
use polyport_abi::trace::TraceConnection;

use super::{guard, side};

pub(super) extern "C" fn opened(ctx: *const (), connection: TraceConnection<'_>) -> u64 {
    guard(u64::MAX, || {
        let side = side(ctx);
        side.trace.opened(
            connection.peer.as_str(),
            connection.local.as_str(),
            connection.scheme.as_str(),
            side.summary.get().copied(),
        )
    })
}

pub(super) extern "C" fn received(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
    guard((), || {
        side(ctx).trace.received(connection, bytes.as_slice())
    });
}

pub(super) extern "C" fn sent(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
    guard((), || side(ctx).trace.sent(connection, bytes.as_slice()));
}

pub(super) extern "C" fn closed(ctx: *const (), connection: u64) {
    guard((), || side(ctx).trace.closed(connection));
}
