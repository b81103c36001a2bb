//! `control/1`: an instance says how it is.

use abi_stable::StableAbi;
use abi_stable::std_types::RStr;

use crate::InterfaceTable;

/// Reports the state of an instance.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ControlV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// Reports one of the `STATE_` numbers and, for degraded and failed, the reason.
    pub report: extern "C" fn(ctx: *const (), state: u32, reason: RStr<'_>),
}

/// It serves.
pub const STATE_READY: u32 = 1;
/// It serves, but something is wrong.
pub const STATE_DEGRADED: u32 = 2;
/// It does not serve; nothing more will come of it.
pub const STATE_FAILED: u32 = 3;
/// It drained and gave its stores back; only `stop` is left to call.
pub const STATE_STOPPED: u32 = 4;

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for ControlV1 {
    const ID: &'static str = "control/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for ControlV1 {}
// SAFETY: as above.
unsafe impl Sync for ControlV1 {}
