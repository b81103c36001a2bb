//! PUBACK, PUBREC, PUBREL and PUBCOMP from a client (sections 3.4 to 3.7 and 4.3).

use super::session::{Awaiting, SessionId};
use super::{Broker, ConnectionId};
use crate::codec::ack::{self, Ack};
use crate::codec::{Error, PacketType, ReasonCode, Version};
use crate::store::Record;

impl Broker {
    pub(super) fn handle_acknowledgement(
        &mut self,
        id: ConnectionId,
        session: SessionId,
        version: Version,
        kind: PacketType,
        body: &[u8],
    ) -> Result<(), Error> {
        let ack = Ack::decode(version, kind, body)?;
        match kind {
            PacketType::Puback => self.handle_final(session, ack, Awaiting::Puback),
            PacketType::Pubcomp => self.handle_final(session, ack, Awaiting::Pubcomp),
            PacketType::Pubrec => self.handle_pubrec(id, session, version, ack),
            _ => {
                self.handle_pubrel(id, session, version, ack);
                Ok(())
            }
        }
    }

    /// PUBACK and PUBCOMP end a delivery. One that nothing waits for is left alone: it may answer
    /// a message that was already given up.
    fn handle_final(&mut self, key: SessionId, ack: Ack, expected: Awaiting) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let Some(at) = session.position(ack.packet_identifier) else {
            return Ok(());
        };
        if session.messages.in_flight[at].awaiting != expected {
            return Err(Error::Protocol(
                "acknowledgement does not fit the state of its packet identifier",
            ));
        }
        self.complete(key, at);
        Ok(())
    }

    fn handle_pubrec(
        &mut self,
        id: ConnectionId,
        key: SessionId,
        version: Version,
        ack: Ack,
    ) -> Result<(), Error> {
        let Some(session) = self.sessions.get_mut(key) else {
            return Ok(());
        };
        let mut reason = ReasonCode::Success;
        match session.position(ack.packet_identifier) {
            None if ack.failed => return Ok(()),
            None => reason = ReasonCode::PacketIdentifierNotFound,
            Some(at) => {
                let entry = &mut session.messages.in_flight[at];
                match entry.awaiting {
                    Awaiting::Puback => return Err(Error::Protocol("PUBREC for a QoS 1 message")),
                    Awaiting::Pubrec if ack.failed => {
                        self.complete(key, at);
                        return Ok(());
                    }
                    Awaiting::Pubrec => {
                        let delivery = entry.number;
                        session.note_pubrec(at);
                        if session.durable {
                            // Before PUBREL leaves: the receiver forgets the identifier with it,
                            // and PUBLISH under it would then be a second message.
                            self.journal.require(&Record::Released {
                                session: session.number,
                                delivery,
                            });
                        }
                    }
                    Awaiting::Pubcomp => {}
                }
            }
        }
        self.write(id, |out| {
            ack::encode(
                out,
                version,
                PacketType::Pubrel,
                ack.packet_identifier,
                reason,
            )
        });
        Ok(())
    }

    fn handle_pubrel(&mut self, id: ConnectionId, key: SessionId, version: Version, ack: Ack) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let packet_identifier = ack.packet_identifier;
        let mut reason = ReasonCode::Success;
        if !session.note_released(packet_identifier) {
            reason = ReasonCode::PacketIdentifierNotFound;
        } else if session.durable {
            // Before PUBCOMP leaves: the client may use the identifier for a new message then.
            self.journal.require(&Record::ReceivedReleased {
                session: session.number,
                packet_identifier,
            });
        }
        self.write(id, |out| {
            ack::encode(out, version, PacketType::Pubcomp, packet_identifier, reason)
        });
    }

    fn complete(&mut self, key: SessionId, at: usize) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        let Some(entry) = session.remove_in_flight(at) else {
            return;
        };
        if session.durable {
            self.journal.note(&Record::Delivered {
                session: session.number,
                delivery: entry.number,
            });
        }
        self.pump(key);
    }
}
