//! `metrics/1`: numbers that the host owns and the plugin counts in.

use std::sync::atomic::AtomicU64;

use abi_stable::StableAbi;
use abi_stable::std_types::RStr;

use crate::InterfaceTable;

/// Registers cells.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct MetricsV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// The cell of a name, made at the first call. `kind` is 0 for a counter, 1 for a gauge. A gauge named
    /// `connections` is what `polyport status` shows.
    pub cell: extern "C" fn(ctx: *const (), name: RStr<'_>, kind: u32) -> &'static Cell,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for MetricsV1 {
    const ID: &'static str = "metrics/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for MetricsV1 {}
// SAFETY: as above.
unsafe impl Sync for MetricsV1 {}

/// One number; lives as long as the process.
#[repr(C)]
#[derive(StableAbi, Default, Debug)]
pub struct Cell {
    /// The number, changed with relaxed ordering.
    #[sabi(unsafe_opaque_field)]
    pub value: AtomicU64,
}
