//! What clients are held to: one vocabulary for all services. The operator writes it at
//! `[services.NAME.limits]`, or at a listen entry; a plugin says which keys it knows ([`Known`], in
//! [`Plugin::LIMITS`](crate::Plugin::LIMITS)) and reads what holds for a client
//! ([`Connection::limits`](crate::Connection::limits)).
//!
//! Connections are counted by the host, before [`Plugin::connection`](crate::Plugin::connection) is called.

mod current;
mod gate;
mod known;

use std::time::Duration;

use polyport_abi::limits::{LimitValues, REFUSED_ADDRESS, REFUSED_RATE};

pub use current::Current;
pub(crate) use gate::{Admission, Gate};
pub use known::Known;

/// What stands for a time without a limit: ten years, so that it can be added to an instant.
pub const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// What holds for the clients of one listener. A key that the plugin does not know is without a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// For what precedes the protocol proper, which the SDK sees to (PROXY header, TLS) or the plugin (WebSocket),
    /// and for the header of a request. [`FOREVER`] is no limit, here and below.
    pub handshake_timeout: Duration,
    /// From the connection to the login.
    pub login_timeout: Duration,
    /// Without a request.
    pub idle_timeout: Duration,
    /// Bytes a second from the client; 0 is no limit. [`Stream`](crate::net::Stream) sees to it.
    pub rate_up: u64,
    /// Bytes a second to the client; 0 is no limit. [`Stream`](crate::net::Stream) sees to it.
    pub rate_down: u64,
    /// Bytes of a request's header; [`usize::MAX`] is no limit, here and below.
    pub max_header: usize,
    /// Bytes of a packet.
    pub max_packet: usize,
    /// Bytes of a line.
    pub max_line: usize,
}

impl From<LimitValues> for Limits {
    fn from(values: LimitValues) -> Self {
        let time = |milliseconds| match milliseconds {
            0 => FOREVER,
            some => Duration::from_millis(some).min(FOREVER),
        };
        let size = |bytes| match bytes {
            0 => usize::MAX,
            some => usize::try_from(some).unwrap_or(usize::MAX),
        };
        Self {
            handshake_timeout: time(values.handshake_timeout),
            login_timeout: time(values.login_timeout),
            idle_timeout: time(values.idle_timeout),
            rate_up: values.rate_up,
            rate_down: values.rate_down,
            max_header: size(values.max_header),
            max_packet: size(values.max_packet),
            max_line: size(values.max_line),
        }
    }
}

/// Why a client is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The service, or the listener, has as many connections as it may.
    #[error("max_connections")]
    Connections,
    /// The client's address has as many connections as it may.
    #[error("max_connections_per_address")]
    Address,
    /// The client's address connects too often.
    #[error("connection_rate")]
    Rate,
    /// The process has no file descriptor left.
    #[error("file descriptors")]
    Descriptors,
}

impl Refusal {
    fn from_number(number: u32) -> Self {
        match number {
            REFUSED_ADDRESS => Self::Address,
            REFUSED_RATE => Self::Rate,
            // `REFUSED_CONNECTIONS`, and what a later host may add.
            _ => Self::Connections,
        }
    }

    pub(crate) const ALL: [Self; 4] = [
        Self::Connections,
        Self::Address,
        Self::Rate,
        Self::Descriptors,
    ];
}

/// How a client is told that it is not served: what [`Plugin::busy`](crate::Plugin::busy) answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Busy {
    /// Send this and close.
    Answer(Vec<u8>),
    /// Ask again when the client has sent more.
    Wait,
    /// Close without a word.
    Close,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_without_a_limit_that_can_be_computed_with() {
        let limits = Limits::from(LimitValues::default());
        assert_eq!(limits.idle_timeout, FOREVER);
        assert_eq!(limits.max_packet, usize::MAX);
        let _ = std::time::Instant::now() + limits.idle_timeout;
        let values = LimitValues {
            idle_timeout: u64::MAX,
            max_line: 80,
            ..LimitValues::default()
        };
        let limits = Limits::from(values);
        assert_eq!((limits.idle_timeout, limits.max_line), (FOREVER, 80));
    }
}
