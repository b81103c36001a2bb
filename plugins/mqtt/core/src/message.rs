//! An application message as the broker keeps it.

use bytes::Bytes;

use crate::codec::QoS;
use crate::time::Time;

/// Payloads from this size on are shared between receivers; smaller ones are copied, which is
/// cheaper than counting references and lets many packets leave in one piece.
pub const SHARED_PAYLOAD: usize = 32 * 1024;

/// A message that outlives its PUBLISH packet: queued, in flight, retained or a will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the store; 0 when it is not there.
    pub stored: u64,
    /// Topic name.
    pub topic: Box<str>,
    /// Payload.
    pub payload: Bytes,
    /// Encoded properties that are forwarded unaltered.
    pub properties: Box<[u8]>,
    /// When it is no longer to be delivered (3.3.2.3.3).
    pub expires: Option<Time>,
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
}

impl Message {
    /// Bytes that count against a queue's limit.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// True when the message expiry interval has passed.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }

    /// The same under another number in the store.
    #[must_use]
    pub fn numbered(&self, stored: u64) -> Message {
        Message {
            stored,
            ..self.clone()
        }
    }

    /// What takes a retained message away: the same without a payload (3.3.1.3).
    #[must_use]
    pub fn cleared(&self) -> Message {
        Message {
            payload: Bytes::new(),
            ..self.clone()
        }
    }

    /// Stands for a message of QoS 2 that its receiver has: only the packet identifier is left of it.
    #[must_use]
    pub fn received(stored: u64) -> Message {
        Message {
            stored,
            topic: Box::default(),
            payload: Bytes::new(),
            properties: Box::default(),
            expires: None,
            qos: QoS::ExactlyOnce,
            retain: false,
        }
    }
}

/// A message on its way through the broker: a view over the packet, or over a kept [`Message`].
#[derive(Clone, Copy, Debug)]
pub struct MessageView<'a> {
    /// Topic name.
    pub topic: &'a str,
    /// Payload.
    pub payload: &'a [u8],
    /// The buffer that `payload` lies in, when it can be shared.
    pub owner: Option<&'a Bytes>,
    /// Encoded properties that are forwarded unaltered.
    pub properties: &'a [u8],
    /// When it is no longer to be delivered.
    pub expires: Option<Time>,
    /// As published.
    pub qos: QoS,
    /// As published.
    pub retain: bool,
}

impl MessageView<'_> {
    /// The payload with its own reference count. Small payloads are copied, so that a short
    /// message kept for long does not hold a long buffer.
    #[must_use]
    pub fn shared_payload(&self) -> Bytes {
        match self.owner {
            Some(owner) if self.payload.len() >= SHARED_PAYLOAD => owner.slice_ref(self.payload),
            _ => Bytes::copy_from_slice(self.payload),
        }
    }

    /// Bytes that count against a limit, once it is kept.
    #[must_use]
    pub fn size(&self) -> usize {
        self.topic.len() + self.payload.len() + self.properties.len()
    }

    /// A message that can be kept.
    #[must_use]
    pub fn to_message(&self, stored: u64) -> Message {
        Message {
            stored,
            topic: self.topic.into(),
            payload: self.shared_payload(),
            properties: self.properties.into(),
            expires: self.expires,
            qos: self.qos,
            retain: self.retain,
        }
    }
}

impl<'a> From<&'a Message> for MessageView<'a> {
    fn from(message: &'a Message) -> Self {
        MessageView {
            topic: &message.topic,
            payload: &message.payload,
            owner: Some(&message.payload),
            properties: &message.properties,
            expires: message.expires,
            qos: message.qos,
            retain: message.retain,
        }
    }
}
