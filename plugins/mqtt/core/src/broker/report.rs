//! What the engine tells its host beside bytes and records: events for the log, numbers.

use std::sync::Arc;

use super::ConnectionId;
use super::sys::Traffic;
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
    /// Something was refused to a client that is connected.
    Denied {
        /// Which connection.
        connection: ConnectionId,
        /// Client identifier.
        client_id: Arc<str>,
        /// The code a 5.0 client gets.
        reason: ReasonCode,
        /// Topic name or filter.
        topic: Box<str>,
        /// What it wanted.
        what: &'static str,
        /// Not the first refusal of this connection.
        again: bool,
    },
    /// The whole service holds as many bytes for its clients as it may, or more.
    Overloaded {
        /// How many.
        held: usize,
        /// How many it may.
        max: usize,
    },
    /// It has room again.
    Relieved {
        /// How many bytes it holds.
        held: usize,
        /// How many it may.
        max: usize,
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
    /// Messages dropped, for whatever cause.
    pub messages_dropped: u64,
    /// The same for each [`DropCause`], in its order.
    pub dropped: [u64; DropCause::ALL.len()],
    /// What passed connections.
    pub traffic: Traffic,
}

/// Why a message was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum DropCause {
    /// The session's queue was full.
    QueueFull,
    /// QoS 0, and the reader left too much unread.
    SocketFull,
    /// Larger than its receiver takes (MQTT-3.1.2-25).
    TooLarge,
    /// The whole service had no room.
    Overload,
    /// Delivered, but not retained: as many are as may be.
    RetainedFull,
    /// Not kept for later: as many are as may be.
    DelayedFull,
}

impl DropCause {
    /// All of them, in the order of `Counters::dropped`.
    pub const ALL: [DropCause; 6] = [
        DropCause::QueueFull,
        DropCause::SocketFull,
        DropCause::TooLarge,
        DropCause::Overload,
        DropCause::RetainedFull,
        DropCause::DelayedFull,
    ];
}

impl Counters {
    /// Messages dropped for this cause.
    #[must_use]
    pub fn dropped_for(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    pub(super) fn dropped(&mut self, cause: DropCause) {
        self.messages_dropped += 1;
        self.dropped[cause as usize] += 1;
    }
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
    /// Bytes of them.
    pub retained_bytes: usize,
    /// Messages that are to be published later.
    pub delayed: usize,
}
