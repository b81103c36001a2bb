//! `log/1`: records from a plugin to the host's log.

use std::sync::atomic::AtomicU64;

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use crate::InterfaceTable;

/// Takes log records and says which levels are wanted.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LogV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// The most verbose level wanted: 0 none, 1 error, 2 warn, 3 info, 4 debug, 5 trace. The host changes it
    /// while the plugin runs.
    pub level: &'static LevelCell,
    /// 1 when lines of the access log go anywhere, else 0: then they need not be made.
    pub access: &'static LevelCell,
    /// Queues one record. Never blocks: a full queue drops the record and counts it.
    pub emit: extern "C" fn(ctx: *const (), record: &LogRecord<'_>),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for LogV1 {
    const ID: &'static str = "log/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for LogV1 {}
// SAFETY: as above.
unsafe impl Sync for LogV1 {}

/// A number that the host changes live.
#[repr(C)]
#[derive(StableAbi)]
pub struct LevelCell {
    /// As the field that leads here says.
    #[sabi(unsafe_opaque_field)]
    pub value: AtomicU64,
}

/// One record.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LogRecord<'a> {
    /// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
    pub level: u8,
    /// The module, or `access` for a line of the access log.
    pub target: RStr<'a>,
    /// The text.
    pub message: RStr<'a>,
    /// Keys and values.
    pub fields: RSlice<'a, LogField<'a>>,
}

/// A key and its value.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LogField<'a> {
    /// The key.
    pub key: RStr<'a>,
    /// The value as text.
    pub value: RStr<'a>,
}
