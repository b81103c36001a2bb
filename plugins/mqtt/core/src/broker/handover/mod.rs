//! A broker's whole state on its way to the broker that takes its place: bytes out of one, another out of bytes.
//!
//! Sessions, subscriptions, retained messages and connections go over as they are. Sockets and rights cannot be
//! written down: a connection *arrives* later ([`Broker::attach`]), under the number that
//! [`Broker::connection_number`] told before. Until then its client can neither be read from nor written to: QoS 1
//! and 2 messages wait in its session, QoS 0 messages in its output, or aside where its rights have to be asked.
//!
//! ```text
//! format 1
//! message time, last numbers, persistence
//! messages: each once, named by its place from here on
//! retained messages
//! sessions: named by their place from here on
//! shared subscriptions: turn and members
//! connections that cross
//! sections: what came later, each with its number and length, left out where it is empty
//! ```
//! Integers are big endian, as everywhere in MQTT. Nothing that is read is believed: what does not fit together is
//! [`Damaged`].

mod arrive;
mod export;
mod import;
mod rates;
mod requests;
mod sections;
mod store;
mod sys;
mod waiting;

use super::Broker;
use crate::codec;

/// The first byte of what is exported.
const FORMAT: u8 = 1;

/// Bytes that no broker exported: cut short, changed, or of another format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("state of a broker: {0}")]
pub struct Damaged(&'static str);

impl From<codec::Error> for Damaged {
    fn from(error: codec::Error) -> Self {
        match error {
            codec::Error::Malformed(what)
            | codec::Error::Protocol(what)
            | codec::Error::Refused { what, .. } => Damaged(what),
        }
    }
}

/// Bits of a session's flags byte.
mod session_flag {
    pub const DURABLE: u8 = 1;
    pub const RECORDED: u8 = 2;
    /// Its connection does not cross.
    pub const LEFT: u8 = 4;
    pub const TOPIC_CHECKS: u8 = 8;
    pub const WILL: u8 = 16;
}

/// What a connection is waiting for.
mod phase {
    pub const CONNECT: u8 = 0;
    pub const LOGIN: u8 = 1;
    pub const CONNECTED: u8 = 2;
}
