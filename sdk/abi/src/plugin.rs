//! `plugin/1`: the lifecycle, from the plugin to the host.

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};

use crate::{HostQuery, InterfaceTable};

/// Describe, configure, start, reload, drain, stop.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PluginV1 {
    /// JSON: `{"settings": {KEY: DEFAULT, …}}`, the keys that `configure` takes. `"limits"`, where it is there, are
    /// [`crate::limits::KnownLimits`]: the plugin asks `limits/1`. `"live"`: [`crate::live`].
    pub describe: extern "C" fn() -> RVec<u8>,
    /// Checks settings (JSON object) without side effects. Answers a JSON array of [`SettingProblem`], empty
    /// when they can be used.
    pub configure: extern "C" fn(settings: RSlice<'_, u8>) -> RVec<u8>,
    /// Starts an instance from a [`StartRequest`] in JSON and takes the descriptors in it. Returns at once;
    /// ready or failed is reported by `control/1`.
    pub start:
        extern "C" fn(host: HostQuery, request: RSlice<'_, u8>) -> RResult<InstanceHandle, RString>,
    /// Applies settings in place. True: applied. False: these need a swap, and nothing was changed.
    /// Always false where a key changed that is not among those described as `"live"`.
    pub reload: extern "C" fn(instance: InstanceHandle, settings: RSlice<'_, u8>) -> bool,
    /// Accept no more, finish what is open, and report stopped at the latest after so many milliseconds.
    /// `reason` is for the log.
    pub drain: extern "C" fn(instance: InstanceHandle, deadline_ms: u64, reason: RStr<'_>),
    /// Ends the instance now and frees it. Blocks for 5 s at most.
    pub stop: extern "C" fn(instance: InstanceHandle),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for PluginV1 {
    const ID: &'static str = "plugin/1";
}

/// A running instance; the plugin's own.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct InstanceHandle {
    /// Opaque to the host.
    pub instance: *mut (),
}

// SAFETY: the plugin makes what it points at thread-safe; the host calls `stop` once and last.
unsafe impl Send for InstanceHandle {}
// SAFETY: as above.
unsafe impl Sync for InstanceHandle {}

/// What is wrong with one setting.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SettingProblem {
    /// Dotted path beneath the settings; empty for the settings as a whole.
    pub key: String,
    /// What may stand there.
    pub expected: String,
    /// What stands there.
    pub got: String,
}

/// What an instance starts from.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StartRequest {
    /// Its name in the configuration.
    pub instance: String,
    /// A folder of its own, made by the host.
    pub state_dir: std::path::PathBuf,
    /// The configuration file's folder; relative paths in settings start there.
    pub base_dir: std::path::PathBuf,
    /// Worker threads, 1 or more; 0 leaves it to the plugin.
    pub threads: usize,
    /// The sockets it serves, already listening.
    pub listeners: Vec<StartListener>,
    /// The keys beneath `[services.NAME.settings]`.
    pub settings: serde_json::Value,
}

/// One listening socket.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub struct StartListener {
    /// `tcp`, `unix`, or what stands before `://` in the configuration.
    pub scheme: String,
    /// The address bound, `127.0.0.1:1883` or a path.
    pub address: String,
    /// Whether it is a Unix socket.
    pub unix: bool,
    /// The descriptor, the instance's own from now on.
    pub fd: i32,
}
