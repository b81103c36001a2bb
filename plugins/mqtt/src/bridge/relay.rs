//! What a packet of one side is to the other. No I/O.
//!
//! Packet identifiers are the same on both sides. So what a message waits for is kept in one place each, and outlives
//! connections, restarts and kills: for messages that go there, in the bridge's session here, whose acknowledgements
//! are the other broker's; for messages from there, in the session there, which is answered when this broker has
//! answered. The session here remembers the QoS 2 identifiers from there.

use std::collections::HashSet;

use polyport_mqtt_core::codec::ack::Ack;
use polyport_mqtt_core::codec::property::PUBLISH_FROM_SERVER;
use polyport_mqtt_core::codec::publish::{Head, Publish};
use polyport_mqtt_core::codec::{Error, PacketType, QoS, Version};
use polyport_mqtt_core::via;

use super::topics::Topics;
use crate::client::packets::{self, Connack};

/// Longest topic name.
const LONGEST: usize = 65_535;
/// PUBCOMP and PUBREL: there is no such identifier, which is no mistake after a break.
const NOT_FOUND: u8 = 0x92;

/// What the other broker takes.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) version: Version,
    pub(super) maximum_qos: QoS,
    pub(super) retain: bool,
    pub(super) maximum_packet_size: usize,
    /// What it is called, if it told.
    pub(super) name: Option<String>,
}

impl Terms {
    pub(super) fn new(version: Version, connack: &Connack) -> Self {
        let maximum_qos = connack.maximum_qos.and_then(QoS::from_bits);
        Self {
            version,
            maximum_qos: maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain: !connack.no_retain,
            maximum_packet_size: connack
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize),
            name: connack.via.clone(),
        }
    }
}

/// Which retain flags stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retain {
    pub(super) outgoing: bool,
    pub(super) incoming: bool,
}

/// Packets for either side.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) local: Vec<u8>,
    pub(super) remote: Vec<u8>,
}

/// What a packet says beside what goes to the other side.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// CONNACK of this broker: whether it has the session.
    Connected { code: u8, session_present: bool },
    /// A code for each filter.
    Subscribed(Vec<u8>),
    /// The answer to an UNSUBSCRIBE: a code for each filter, and before 5.0 none.
    Unsubscribed(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// The end, with its reason code and words.
    Disconnect(u8, Option<String>),
    /// A message was not taken there, for this reason code.
    Refused(u8),
}

/// Messages since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Not wanted on the other side, too large for it, or round already.
    pub(super) dropped: u64,
}

/// The translation of one connection.
#[derive(Debug)]
pub(super) struct Relay {
    topics: Topics,
    retain: Retain,
    /// What this broker is called.
    name: String,
    terms: Terms,
    /// QoS 2 messages from here that are not QoS 2 there, from PUBLISH to PUBREL.
    lowered: HashSet<u16>,
    pub(super) counts: Counts,
}

impl Relay {
    pub(super) fn new(topics: Topics, retain: Retain, name: &str, terms: Terms) -> Self {
        Self {
            topics,
            retain,
            name: name.into(),
            terms,
            lowered: HashSet::new(),
            counts: Counts::default(),
        }
    }

    /// A packet of this broker.
    pub(super) fn take_local(
        &mut self,
        first: u8,
        body: &[u8],
        to: &mut Packets,
    ) -> Result<Option<Said>, Error> {
        let kind = PacketType::from_first_byte(first).ok_or(Error::Malformed("packet type"))?;
        match kind {
            PacketType::Publish => self.publish_there(first, body, to)?,
            PacketType::Pubrel => {
                let id = Ack::decode(Version::V5, kind, body)?.packet_identifier;
                if self.lowered.remove(&id) || self.terms.maximum_qos < QoS::ExactlyOnce {
                    acknowledge_here(to, PacketType::Pubcomp, id, 0);
                } else {
                    self.acknowledge_there(to, kind, id, 0);
                }
            }
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubcomp => {
                let id = Ack::decode(Version::V5, kind, body)?.packet_identifier;
                self.acknowledge_there(to, kind, id, reason(body));
            }
            PacketType::Connack => {
                let connack = Connack::decode(Version::V5, body)?;
                return Ok(Some(Said::Connected {
                    code: connack.code,
                    session_present: connack.session_present,
                }));
            }
            PacketType::Suback => {
                let (_, codes) = packets::suback(Version::V5, body)?;
                return Ok(Some(Said::Subscribed(codes.to_vec())));
            }
            PacketType::Unsuback => {}
            PacketType::Disconnect => {
                let (code, words) = packets::disconnect(body)?;
                return Ok(Some(Said::Disconnect(code, words)));
            }
            _ => return Err(Error::Protocol("packet that only a client sends")),
        }
        Ok(None)
    }

    /// A packet of the other broker.
    pub(super) fn take_remote(
        &mut self,
        first: u8,
        body: &[u8],
        to: &mut Packets,
    ) -> Result<Option<Said>, Error> {
        let kind = PacketType::from_first_byte(first).ok_or(Error::Malformed("packet type"))?;
        let version = self.terms.version;
        match kind {
            PacketType::Publish => self.publish_here(first, body, to)?,
            PacketType::Pubrel => {
                let id = Ack::decode(version, kind, body)?.packet_identifier;
                acknowledge_here(to, kind, id, 0);
            }
            PacketType::Puback | PacketType::Pubrec | PacketType::Pubcomp => {
                let ack = Ack::decode(version, kind, body)?;
                let id = ack.packet_identifier;
                let lowered = kind == PacketType::Puback && self.lowered.contains(&id);
                let kind_here = if lowered { PacketType::Pubrec } else { kind };
                if lowered && ack.failed {
                    self.lowered.remove(&id);
                }
                let reason = reason(body);
                acknowledge_here(to, kind_here, id, if reason == 0x10 { 0 } else { reason });
                if ack.failed && kind != PacketType::Pubcomp {
                    return Ok(Some(Said::Refused(reason)));
                }
            }
            PacketType::Suback => {
                let (_, codes) = packets::suback(version, body)?;
                return Ok(Some(Said::Subscribed(codes.to_vec())));
            }
            PacketType::Unsuback => {
                let (_, codes) = packets::unsuback(version, body)?;
                return Ok(Some(Said::Unsubscribed(codes.to_vec())));
            }
            PacketType::Pingresp => return Ok(Some(Said::Pong)),
            PacketType::Disconnect if version.is_v5() => {
                let (code, words) = packets::disconnect(body)?;
                return Ok(Some(Said::Disconnect(code, words)));
            }
            _ => return Err(Error::Protocol("packet that a server does not send now")),
        }
        Ok(None)
    }

    /// The start of a PUBLISH of the other broker that is too large to be taken: it counts as delivered, or it would
    /// come again and again. False while more of it is needed.
    pub(super) fn pass_over(&mut self, first: u8, start: &[u8], to: &mut Packets) -> bool {
        let Some(qos) = QoS::from_bits(first >> 1 & 3) else {
            return true;
        };
        let Some(length) = start.first_chunk() else {
            return false;
        };
        let at = 2 + usize::from(u16::from_be_bytes(*length));
        let Some(identifier) = start.get(at..).and_then(<[u8]>::first_chunk) else {
            return false;
        };
        self.done_there(to, qos, u16::from_be_bytes(*identifier));
        true
    }

    fn publish_there(&mut self, first: u8, body: &[u8], to: &mut Packets) -> Result<(), Error> {
        let publish = Publish::decode_with(Version::V5, first, body, PUBLISH_FROM_SERVER)?;
        let mut scratch = Vec::new();
        let mut properties = publish.properties.forwarded(&mut scratch).to_vec();
        let known = self.terms.name.as_deref();
        let round = known.is_some_and(|name| via::has_passed(&properties, name));
        let topic = self.topics.outward(publish.topic);
        let Some(topic) = topic.filter(|topic| !round && topic.len() <= LONGEST) else {
            self.done_here(to, publish.qos, publish.packet_identifier);
            return Ok(());
        };
        via::note_passed(&mut properties, &self.name);
        let qos = publish.qos.min(self.terms.maximum_qos);
        let head = Head {
            version: self.terms.version,
            qos,
            retain: publish.retain && self.retain.outgoing && self.terms.retain,
            dup: publish.dup && qos > QoS::AtMostOnce,
            topic: &topic,
            topic_alias: 0,
            message_expiry_interval: publish.properties.message_expiry_interval,
            subscription_identifiers: &[],
            properties: &properties,
            payload: publish.payload.len(),
        };
        let start = to.remote.len();
        put(
            &mut to.remote,
            &head,
            publish.packet_identifier,
            publish.payload,
        );
        if to.remote.len() - start > self.terms.maximum_packet_size {
            to.remote.truncate(start);
            self.done_here(to, publish.qos, publish.packet_identifier);
            return Ok(());
        }
        self.counts.sent += 1;
        match (publish.qos, qos) {
            (QoS::ExactlyOnce, QoS::AtLeastOnce) => {
                self.lowered.insert(publish.packet_identifier);
            }
            (asked, QoS::AtMostOnce) => self.answer_here(to, asked, publish.packet_identifier),
            _ => {}
        }
        Ok(())
    }

    fn publish_here(&mut self, first: u8, body: &[u8], to: &mut Packets) -> Result<(), Error> {
        let version = self.terms.version;
        let publish = Publish::decode_with(version, first, body, PUBLISH_FROM_SERVER)?;
        if publish.properties.topic_alias.is_some() {
            return Err(Error::Protocol("topic alias though none may be used"));
        }
        let mut scratch = Vec::new();
        let mut properties = publish.properties.forwarded(&mut scratch).to_vec();
        let round = via::has_passed(&properties, &self.name);
        let topic = self.topics.inward(publish.topic);
        let Some(topic) = topic.filter(|topic| !round && topic.len() <= LONGEST) else {
            self.done_there(to, publish.qos, publish.packet_identifier);
            return Ok(());
        };
        let passed = self.terms.name.as_ref().unwrap_or(&self.name);
        via::note_passed(&mut properties, passed);
        let head = Head {
            version: Version::V5,
            qos: publish.qos,
            retain: publish.retain && self.retain.incoming,
            dup: publish.dup,
            topic: &topic,
            topic_alias: 0,
            message_expiry_interval: publish.properties.message_expiry_interval,
            subscription_identifiers: &[],
            properties: &properties,
            payload: publish.payload.len(),
        };
        put(
            &mut to.local,
            &head,
            publish.packet_identifier,
            publish.payload,
        );
        self.counts.received += 1;
        Ok(())
    }

    /// A message from here goes nowhere.
    fn done_here(&mut self, to: &mut Packets, qos: QoS, id: u16) {
        self.counts.dropped += 1;
        self.answer_here(to, qos, id);
    }

    /// Answers a message from here in place of the other broker.
    fn answer_here(&mut self, to: &mut Packets, qos: QoS, id: u16) {
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => acknowledge_here(to, PacketType::Puback, id, 0),
            QoS::ExactlyOnce => {
                self.lowered.insert(id);
                acknowledge_here(to, PacketType::Pubrec, id, 0);
            }
        }
    }

    /// A message from there goes nowhere. Its PUBREL, if there is one, this broker answers, which knows nothing of it.
    fn done_there(&mut self, to: &mut Packets, qos: QoS, id: u16) {
        self.counts.dropped += 1;
        match qos {
            QoS::AtMostOnce => {}
            QoS::AtLeastOnce => self.acknowledge_there(to, PacketType::Puback, id, 0),
            QoS::ExactlyOnce => self.acknowledge_there(to, PacketType::Pubrec, id, 0),
        }
    }

    fn acknowledge_there(&self, to: &mut Packets, kind: PacketType, id: u16, reason: u8) {
        let reason = if reason == NOT_FOUND { 0 } else { reason };
        packets::acknowledge(&mut to.remote, self.terms.version, kind, id, reason);
    }
}

fn acknowledge_here(to: &mut Packets, kind: PacketType, id: u16, reason: u8) {
    packets::acknowledge(&mut to.local, Version::V5, kind, id, reason);
}

/// The reason code of an acknowledgement; 3.x and short ones have none.
fn reason(body: &[u8]) -> u8 {
    body.get(2).copied().unwrap_or(0)
}

fn put(out: &mut Vec<u8>, head: &Head<'_>, identifier: u16, payload: &[u8]) {
    let start = out.len();
    let at = start + head.encode(out);
    if head.qos > QoS::AtMostOnce {
        out[at..at + 2].copy_from_slice(&identifier.to_be_bytes());
    }
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests;
