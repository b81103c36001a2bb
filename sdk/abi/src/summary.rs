//! `summary/1`, from the plugin: the bytes of a connection as lines for a person.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr, RVec};

use crate::InterfaceTable;

/// Reads along with connections. The functions may be called from any thread, those of one reader from one at
/// a time.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SummaryV1 {
    /// A reader for a connection of this scheme, as `trace/1` named it.
    pub open: extern "C" fn(scheme: RStr<'_>) -> SummaryHandle,
    /// Takes the next bytes of one of the `DIRECTION_` numbers and gives a JSON array of [`SummaryLine`] for
    /// what they complete: often none, often several. Secrets are left out.
    pub feed:
        extern "C" fn(reader: SummaryHandle, direction: u32, bytes: RSlice<'_, u8>) -> RVec<u8>,
    /// Frees the reader.
    pub close: extern "C" fn(reader: SummaryHandle),
}

/// From the client.
pub const DIRECTION_RECEIVED: u32 = 1;
/// To the client.
pub const DIRECTION_SENT: u32 = 2;

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for SummaryV1 {
    const ID: &'static str = "summary/1";
}

/// A reader; the plugin's own.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct SummaryHandle {
    /// Opaque to the host.
    pub reader: *mut (),
}

// SAFETY: the plugin makes what it points at fit to be moved; the host uses it from one thread at a time.
unsafe impl Send for SummaryHandle {}

/// One request, reply, packet or piece of data.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SummaryLine {
    /// Its length in bytes.
    pub length: u64,
    /// What it is, in one line.
    pub text: String,
}
