//! The host's side of `metrics/1`.

use std::sync::PoisonError;

use polyport_abi::RStr;
use polyport_abi::metrics::Cell;

use super::side;

pub(super) extern "C" fn cell(ctx: *const (), name: RStr<'_>, _kind: u32) -> &'static Cell {
    let mut cells = side(ctx)
        .cells
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    cells
        .entry(name.as_str().to_owned())
        .or_insert_with(|| Box::leak(Box::default()))
}
