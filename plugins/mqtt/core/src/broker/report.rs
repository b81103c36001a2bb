//! What the engine tells its host beside bytes and records: events for the log, numbers.

use std::sync::Arc;

use super::ConnectionId;
use crate::codec::{ReasonCode, Version};

/// Something for the host's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// CONNACK with success was sent.
    Connected {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier.
        client_id: Arc<str>,
        /// Protocol version.
        version: Version,
        /// Whether a session was resumed.
        session_present: bool,
        /// Seconds; 0 for none.
        keep_alive: u16,
    },
    /// CONNECT was refused.
    Refused {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier, as far as it was read.
        client_id: String,
        /// Why.
        reason: ReasonCode,
    },
    /// The server ended a connection.
    Closed {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier; empty before CONNECT.
        client_id: Arc<str>,
        /// The code a 5.0 client gets.
        reason: ReasonCode,
        /// What happened.
        what: &'static str,
    },
    /// The client ended its connection with DISCONNECT.
    Disconnected {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier.
        client_id: Arc<str>,
    },
    /// The network connection was lost.
    Lost {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier.
        client_id: Arc<str>,
    },
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// PUBLISH packets taken.
    pub messages_received: u64,
    /// PUBLISH packets sent.
    pub messages_sent: u64,
    /// Messages dropped: a full queue, a slow reader, a packet too large for the receiver.
    pub messages_dropped: u64,
}

/// Numbers of the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Network connections.
    pub connections: usize,
    /// Sessions, connected or not.
    pub sessions: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Retained messages.
    pub retained: usize,
}
