//! `limits/1`: how many clients a listener takes, how fast and how long it lets them be. The host reads the numbers
//! from its configuration and counts; the plugin asks before it serves.

use std::collections::BTreeMap;

use abi_stable::StableAbi;
use abi_stable::std_types::{RResult, RStr, RVec};

use crate::InterfaceTable;
use crate::log::LevelCell;

/// Numbers and counts of an instance's listeners. A listener is named by its place in the start request.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LimitsV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// Counts up each time that [`LimitsV1::current`] changed.
    pub revision: &'static LevelCell,
    /// JSON: an array of [`ListenerLimits`], one for each listener.
    pub current: extern "C" fn(ctx: *const ()) -> RVec<u8>,
    /// Whether a client of this IP address (empty for a Unix socket) begins with a PROXY header that is to be
    /// believed.
    pub trusts: extern "C" fn(ctx: *const (), listener: u32, peer: RStr<'_>) -> bool,
    /// Counts a client of this IP address (empty for a Unix socket) in, or one of the `REFUSED_` numbers.
    pub admit: extern "C" fn(
        ctx: *const (),
        listener: u32,
        peer: RStr<'_>,
    ) -> RResult<AdmissionHandle, u32>,
    /// Counts it out; once for each admission.
    pub release: extern "C" fn(admission: AdmissionHandle),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for LimitsV1 {
    const ID: &'static str = "limits/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for LimitsV1 {}
// SAFETY: as above.
unsafe impl Sync for LimitsV1 {}

/// A client that was counted in.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AdmissionHandle {
    /// The host's own; opaque to the plugin.
    pub admission: *const (),
}

// SAFETY: the host makes what it points at thread-safe.
unsafe impl Send for AdmissionHandle {}
// SAFETY: as above.
unsafe impl Sync for AdmissionHandle {}

/// The service, or the listener, has as many connections as it may.
pub const REFUSED_CONNECTIONS: u32 = 1;
/// The address has as many connections as it may.
pub const REFUSED_ADDRESS: u32 = 2;
/// The address connects too often.
pub const REFUSED_RATE: u32 = 3;

/// What a listener's clients are held to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct ListenerLimits {
    /// The numbers.
    pub values: LimitValues,
    /// Whether [`LimitsV1::trusts`] may be true for somebody.
    pub proxy_protocol: bool,
}

/// The numbers; 0 is no limit. Times are in milliseconds, sizes in bytes, rates in bytes a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LimitValues {
    /// Connections at once.
    pub max_connections: u64,
    /// Connections at once from one address.
    pub max_connections_per_address: u64,
    /// New connections a second from one address.
    pub connection_rate: u64,
    /// Time for what precedes the protocol proper, and for the header of a request.
    pub handshake_timeout: u64,
    /// Time from the connection to the login.
    pub login_timeout: u64,
    /// Time without a request.
    pub idle_timeout: u64,
    /// Bytes a second from a client, on each connection.
    pub rate_up: u64,
    /// Bytes a second to a client, on each connection.
    pub rate_down: u64,
    /// Size of a request's header.
    pub max_header: u64,
    /// Size of a packet.
    pub max_packet: u64,
    /// Length of a line.
    pub max_line: u64,
}

/// What the number of a key counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Milliseconds.
    Time,
    /// Bytes.
    Size,
}

/// The keys, in the order in which they are shown.
pub const KEYS: [(&str, Unit); 11] = [
    ("max_connections", Unit::Count),
    ("max_connections_per_address", Unit::Count),
    ("connection_rate", Unit::Count),
    ("handshake_timeout", Unit::Time),
    ("login_timeout", Unit::Time),
    ("idle_timeout", Unit::Time),
    ("rate_up", Unit::Size),
    ("rate_down", Unit::Size),
    ("max_header", Unit::Size),
    ("max_packet", Unit::Size),
    ("max_line", Unit::Size),
];

impl LimitValues {
    /// The number of one of the [`KEYS`].
    pub fn get_mut(&mut self, key: &str) -> Option<&mut u64> {
        Some(match key {
            "max_connections" => &mut self.max_connections,
            "max_connections_per_address" => &mut self.max_connections_per_address,
            "connection_rate" => &mut self.connection_rate,
            "handshake_timeout" => &mut self.handshake_timeout,
            "login_timeout" => &mut self.login_timeout,
            "idle_timeout" => &mut self.idle_timeout,
            "rate_up" => &mut self.rate_up,
            "rate_down" => &mut self.rate_down,
            "max_header" => &mut self.max_header,
            "max_packet" => &mut self.max_packet,
            "max_line" => &mut self.max_line,
            _ => return None,
        })
    }
}

/// The keys that a plugin's clients can be held to: `limits` in what `plugin/1` describes.
pub type KnownLimits = BTreeMap<String, KnownLimit>;

/// What may stand at one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KnownLimit {
    /// The number where the configuration says nothing.
    pub default: u64,
    /// The least number.
    pub min: u64,
    /// The greatest.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_its_number_and_its_name_in_json() {
        let mut values = LimitValues::default();
        for (number, (key, _)) in (1..).zip(KEYS) {
            *values.get_mut(key).unwrap_or_else(|| panic!("{key}")) = number;
        }
        let json = serde_json::to_value(values).expect("numbers");
        let shown: Vec<_> = json.as_object().expect("an object").iter().collect();
        for (number, ((key, _), (name, value))) in (1..).zip(KEYS.iter().zip(shown)) {
            assert_eq!((name.as_str(), value.as_u64()), (*key, Some(number)));
        }
        assert!(values.get_mut("max_colour").is_none());
    }
}
