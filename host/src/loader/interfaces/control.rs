//! The host's side of `control/1`.

use polyport_abi::RStr;
use polyport_abi::control;

use super::{State, guard, side};

pub(super) extern "C" fn report(ctx: *const (), state: u32, reason: RStr<'_>) {
    guard((), || {
        let reason = || reason.as_str().to_owned();
        let next = match state {
            control::STATE_READY => State::Ready,
            control::STATE_DEGRADED => State::Degraded(reason()),
            control::STATE_FAILED => State::Failed(reason()),
            control::STATE_STOPPED => State::Stopped,
            other => State::Degraded(format!(
                "it reported the state {other}, which this host does not know"
            )),
        };
        side(ctx).state.send_if_modified(|now| {
            // An instance that ended does not come back.
            let ended = matches!(now, State::Failed(_) | State::Stopped);
            let changed = *now != next && !(ended && next != State::Stopped);
            if changed {
                *now = next;
            }
            changed
        });
    });
}
