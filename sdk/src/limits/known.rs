//! Which keys a plugin's clients can be held to, and what they are where the operator says nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use polyport_abi::limits::{KEYS, KnownLimit, KnownLimits, LimitValues};

/// Times may be up to a day.
const DAY: u64 = 86_400_000;

/// The keys that a plugin knows, with their defaults. Counts, rates and the handshake's time are known to all:
/// the SDK sees to them.
///
/// ```
/// use std::time::Duration;
/// use polyport_sdk::limits::Known;
///
/// const LIMITS: Known = Known::new()
///     .max_connections(1000)
///     .idle_timeout(Duration::from_secs(300))
///     .max_line(4096, 80..=65_536);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Known {
    max_connections: u64,
    handshake_timeout: u64,
    login_timeout: Option<u64>,
    idle_timeout: Option<u64>,
    max_header: Option<KnownLimit>,
    max_packet: Option<KnownLimit>,
    max_line: Option<KnownLimit>,
}

impl Default for Known {
    fn default() -> Self {
        Self::new()
    }
}

impl Known {
    /// 10,000 connections, 10 s for the handshake, nothing else.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_connections: 10_000,
            handshake_timeout: 10_000,
            login_timeout: None,
            idle_timeout: None,
            max_header: None,
            max_packet: None,
            max_line: None,
        }
    }

    /// Connections at once; 0 is no limit.
    #[must_use]
    pub const fn max_connections(mut self, default: u64) -> Self {
        self.max_connections = default;
        self
    }

    /// Time for what precedes the protocol proper; zero is no limit, here and below.
    #[must_use]
    pub const fn handshake_timeout(mut self, default: Duration) -> Self {
        self.handshake_timeout = milliseconds(default);
        self
    }

    /// The plugin ends connections that do not log in within this time.
    #[must_use]
    pub const fn login_timeout(mut self, default: Duration) -> Self {
        self.login_timeout = Some(milliseconds(default));
        self
    }

    /// The plugin ends connections without a request for this time.
    #[must_use]
    pub const fn idle_timeout(mut self, default: Duration) -> Self {
        self.idle_timeout = Some(milliseconds(default));
        self
    }

    /// The plugin refuses longer headers of requests.
    #[must_use]
    pub const fn max_header(mut self, default: u64, bounds: RangeInclusive<u64>) -> Self {
        self.max_header = Some(size(default, &bounds));
        self
    }

    /// The plugin refuses longer packets.
    #[must_use]
    pub const fn max_packet(mut self, default: u64, bounds: RangeInclusive<u64>) -> Self {
        self.max_packet = Some(size(default, &bounds));
        self
    }

    /// The plugin refuses longer lines.
    #[must_use]
    pub const fn max_line(mut self, default: u64, bounds: RangeInclusive<u64>) -> Self {
        self.max_line = Some(size(default, &bounds));
        self
    }

    /// What may stand at a key; none if the plugin does not know it.
    fn limit(&self, key: &str) -> Option<KnownLimit> {
        let whole = |default, max| KnownLimit {
            default,
            min: 0,
            max,
        };
        match key {
            "max_connections" => Some(whole(self.max_connections, u64::MAX)),
            "max_connections_per_address" | "connection_rate" | "rate_up" | "rate_down" => {
                Some(whole(0, u64::MAX))
            }
            "handshake_timeout" => Some(whole(self.handshake_timeout, DAY)),
            "login_timeout" => self.login_timeout.map(|default| whole(default, DAY)),
            "idle_timeout" => self.idle_timeout.map(|default| whole(default, DAY)),
            "max_header" => self.max_header,
            "max_packet" => self.max_packet,
            "max_line" => self.max_line,
            _ => None,
        }
    }

    /// The key that means what a setting of this name meant, or would mean; none if it is no limit.
    pub(crate) fn in_place_of(&self, setting: &str) -> Option<&'static str> {
        let key = match setting {
            "connect_timeout" => "login_timeout",
            "header_timeout" => "handshake_timeout",
            "max_header_size" => "max_header",
            "max_packet_size" | "max_request" => "max_packet",
            other => other,
        };
        let (key, _) = KEYS.into_iter().find(|(known, _)| *known == key)?;
        self.limit(key).map(|_| key)
    }

    /// As the host is told.
    pub(crate) fn describe(&self) -> KnownLimits {
        KEYS.iter()
            .filter_map(|(key, _)| Some(((*key).to_owned(), self.limit(key)?)))
            .collect()
    }

    /// What holds where nobody says anything.
    pub(crate) fn defaults(&self) -> LimitValues {
        let mut values = LimitValues::default();
        for (key, _) in KEYS {
            if let (Some(value), Some(limit)) = (values.get_mut(key), self.limit(key)) {
                *value = limit.default;
            }
        }
        values
    }
}

const fn milliseconds(time: Duration) -> u64 {
    // A time beyond what 64 bits hold is none that a plugin means.
    time.as_millis() as u64
}

const fn size(default: u64, bounds: &RangeInclusive<u64>) -> KnownLimit {
    KnownLimit {
        default,
        min: *bounds.start(),
        max: *bounds.end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_plugin_names_is_told_to_the_host() {
        let known = Known::new()
            .idle_timeout(Duration::from_secs(5))
            .max_line(80, 10..=100);
        let told = known.describe();
        assert_eq!(told["idle_timeout"].default, 5000);
        assert_eq!((told["max_line"].min, told["max_line"].max), (10, 100));
        assert!(told.contains_key("max_connections_per_address"));
        assert!(!told.contains_key("login_timeout") && !told.contains_key("max_packet"));
        let defaults = known.defaults();
        assert_eq!((defaults.max_line, defaults.max_packet), (80, 0));
        assert_eq!(defaults.handshake_timeout, 10_000);
    }
}
