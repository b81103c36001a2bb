//! `handover/1` and `passage/1`: one instance takes another's place and goes on with its connections and with what
//! only one may have open.
//!
//! ```text
//! host       predecessor             successor
//! start  ->                          has a runtime, waits for the estate
//! freeze ->  stops, gives estate
//! inherit -------------------------> takes it, reports ready, serves nobody yet
//! activate ------------------------> serves
//! drain  ->  passes connections ---> adopts each of them
//! ```
//! Up to `activate` everything can be taken back: `stop` the successor, `thaw` the predecessor. An instance without
//! an estate (nothing in it is exclusive) needs neither freeze nor inherit: it is started by `plugin/1`, and only
//! connections pass.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RResult, RSlice, RString, RVec};

use crate::accounts::AccountHandle;
use crate::limits::AdmissionHandle;
use crate::log::LevelCell;
use crate::plugin::InstanceHandle;
use crate::{HostQuery, InterfaceTable};

/// `handover/1`, from the plugin to the host. What a plugin hands over has a version; what it describes
/// (`plugin/1`) has it as `"handover"`: [`Described`].
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct HandoverV1 {
    /// As `start` of `plugin/1`, for a successor: it reports ready or failed after [`HandoverV1::inherit`], and
    /// accepts nobody and changes nothing outside of itself before [`HandoverV1::activate`].
    pub start:
        extern "C" fn(host: HostQuery, request: RSlice<'_, u8>) -> RResult<InstanceHandle, RString>,
    /// Gives a successor what it takes over, once. Owns the descriptors from here on.
    pub inherit: extern "C" fn(instance: InstanceHandle, estate: Estate),
    /// A successor that is ready serves from now on. Returns at once.
    pub activate: extern "C" fn(instance: InstanceHandle),
    /// Stops at the next boundary: nothing is accepted, taken, stored or sent as of a new state from then on. Calls
    /// `done.call(user_data, answer)` once, from any thread. Only `thaw`, `drain` and `stop` may follow.
    pub freeze: extern "C" fn(instance: InstanceHandle, user_data: *mut (), done: FreezeDone),
    /// A frozen instance goes on as if nothing had been, also if its freeze failed or is not done yet.
    pub thaw: extern "C" fn(instance: InstanceHandle),
    /// Takes a connection over: [`PASSED`], or a number that says why not. The account counts once and has one
    /// holder for the instance; the admission is the instance's own.
    pub adopt: extern "C" fn(instance: InstanceHandle, parcel: Parcel<'_>) -> u32,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for HandoverV1 {
    const ID: &'static str = "handover/1";
}

/// `passage/1`, from the host to the plugin.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct PassageV1 {
    /// First argument of the function.
    pub ctx: *const (),
    /// 1 while there is somebody to pass connections to.
    pub open: &'static LevelCell,
    /// Passes a connection to whoever took the instance's place: [`PASSED`], or a number that says why not, and then
    /// nothing was taken. The account stays the caller's, who leaves and releases it as ever; the admission is not
    /// the caller's any more.
    pub pass: extern "C" fn(ctx: *const (), parcel: Parcel<'_>) -> u32,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for PassageV1 {
    const ID: &'static str = "passage/1";
}

// SAFETY: `ctx` is shared between threads only through the function here, which the host makes thread-safe.
unsafe impl Send for PassageV1 {}
// SAFETY: as above.
unsafe impl Sync for PassageV1 {}

/// What only one instance may have, as it was when it was frozen.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct Estate {
    /// The version of what is in it.
    pub version: u32,
    /// The plugin's own.
    pub state: RVec<u8>,
    /// Open files that go with it, owned by whoever owns the estate.
    pub descriptors: RVec<i32>,
}

/// Called once with what a frozen instance hands over, or why it cannot.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct FreezeDone {
    /// The function.
    pub call: extern "C" fn(user_data: *mut (), answer: RResult<Estate, RString>),
}

/// A connection on its way from one instance to another. All of it is lent for the call: whoever takes it over
/// duplicates the descriptor.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Parcel<'a> {
    /// The version of what the plugin says of it.
    pub version: u32,
    /// Its listener's place in the start request; `u32::MAX` for one that is not there any more.
    pub listener: u32,
    /// The socket.
    pub descriptor: i32,
    /// JSON: [`About`].
    pub about: RSlice<'a, u8>,
    /// Bytes of the client that were received and not used.
    pub unread: RSlice<'a, u8>,
    /// Bytes for the client that were not sent yet.
    pub unsent: RSlice<'a, u8>,
    /// The plugin's own.
    pub state: RSlice<'a, u8>,
    /// Whose it is.
    pub account: ROption<AccountHandle>,
    /// Under what its client counts.
    pub admission: ROption<AdmissionHandle>,
}

/// The connection was taken over.
pub const PASSED: u32 = 0;
/// There is nobody to pass it to.
pub const NOT_PASSED_NOBODY: u32 = 1;
/// Its version is not understood.
pub const NOT_PASSED_VERSION: u32 = 2;
/// It could not be taken over, or takes none any more.
pub const NOT_PASSED_FAILED: u32 = 3;

/// What a connection's listener knew of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct About {
    /// The inner scheme.
    pub scheme: String,
    /// The client's address; none for a Unix socket.
    pub peer: Option<std::net::SocketAddr>,
    /// The address of ours that it reached.
    pub local: Option<std::net::SocketAddr>,
    /// Whether nobody on the way can overhear it.
    pub secure: bool,
    /// Whether `peer` and `local` are what a proxy said.
    #[serde(default)]
    pub proxied: bool,
    /// Whether the descriptor is the end of a relay within the process: the client's own socket stays with the library
    /// that agreed on TLS with it. Such a connection does not go to another process.
    #[serde(default)]
    pub relayed: bool,
}

/// `"handover"` in what a plugin describes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Described {
    /// The version that it hands over; 0: it hands nothing over.
    pub version: u32,
    /// The oldest version that it takes.
    pub oldest: u32,
    /// Whether it has an estate.
    pub estate: bool,
}

impl Described {
    /// Whether a successor described so can take what `predecessor` hands over.
    #[must_use]
    pub fn takes(&self, predecessor: &Self) -> bool {
        predecessor.version > 0 && (self.oldest..=self.version).contains(&predecessor.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_takes_the_versions_from_its_oldest_to_its_own() {
        let described = |version, oldest| Described {
            version,
            oldest,
            estate: true,
        };
        let successor = described(3, 2);
        assert!(successor.takes(&described(2, 1)) && successor.takes(&described(3, 3)));
        assert!(!successor.takes(&described(1, 1)) && !successor.takes(&described(4, 1)));
        assert!(!Described::default().takes(&Described::default()));
    }
}
