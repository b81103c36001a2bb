//! `listeners/1`: listeners come to a running instance and go, while the others and their connections stay.

use abi_stable::StableAbi;
use abi_stable::std_types::RSlice;

use crate::InterfaceTable;
use crate::plugin::{InstanceHandle, StartListener};

/// `listeners/1`, from the plugin to the host.
///
/// A listener is known by its place: that of the start request counts from 0, an added one has the place that the host
/// names. `limits/1` knows them by the same places.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ListenersV1 {
    /// Takes a [`Change`] in JSON and the descriptors in it; returns at once. True: it is done. False: the instance
    /// cannot at this moment and nothing was changed.
    ///
    /// From a listener that goes nobody is accepted any more. Its connections are drained, and closed after so many
    /// milliseconds at the latest.
    pub change:
        extern "C" fn(instance: InstanceHandle, change: RSlice<'_, u8>, deadline_ms: u64) -> bool,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for ListenersV1 {
    const ID: &'static str = "listeners/1";
}

/// Which listeners come and go.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Change {
    /// Those that come.
    pub add: Vec<Added>,
    /// The places of those that go.
    pub remove: Vec<u32>,
}

/// One that comes.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub struct Added {
    /// Its place: one that none has, or that had one that went.
    pub place: u32,
    /// The listener.
    pub listener: StartListener,
}
