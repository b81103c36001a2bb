//! `trace/1`: what passes over an instance's connections, told to the host while somebody looks.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr};

use crate::InterfaceTable;
use crate::log::LevelCell;

/// Takes the bytes of connections. None of its functions blocks: what the host cannot keep it drops and counts.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TraceV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// How many look at this instance, changed live. While it is 0, nothing need be told.
    pub watchers: &'static LevelCell,
    /// Names a connection and gives the number that the other functions take; never 0. A connection that was
    /// there before anybody looked is named at its first event.
    pub opened: extern "C" fn(ctx: *const (), connection: TraceConnection<'_>) -> u64,
    /// Bytes that the client sent, as they were read.
    pub received: extern "C" fn(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>),
    /// Bytes that the system took over for the client.
    pub sent: extern "C" fn(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>),
    /// The connection ended. Told of every connection that was named, also when nobody looks any more.
    pub closed: extern "C" fn(ctx: *const (), connection: u64),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for TraceV1 {
    const ID: &'static str = "trace/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for TraceV1 {}
// SAFETY: as above.
unsafe impl Sync for TraceV1 {}

/// Who speaks with whom.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TraceConnection<'a> {
    /// The client, `ADDRESS:PORT` or `unix`.
    pub peer: RStr<'a>,
    /// The address that it reached, in the same form.
    pub local: RStr<'a>,
    /// `tcp`, `unix`, what stands before `://` in the listen entry, or the plugin's own word for a connection
    /// that no listener accepted.
    pub scheme: RStr<'a>,
}
