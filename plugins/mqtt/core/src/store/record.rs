//! The durable changes of state, one variant each, and their encoding.

use bytes::Bytes;

use crate::bans::{Ban, Kind};
use crate::codec::QoS;
use crate::codec::primitives::{Reader, VARIABLE_BYTE_INTEGER_MAX, put_u16, put_u32};
use crate::codec::subscribe::SubscriptionOptions;
use crate::codec::{Error, Version};
use crate::message::Message;
use crate::origin::Origin;
use crate::time::Time;
use crate::topic::Filter;

/// One durable change. Sessions, messages and deliveries are numbered by the broker, never twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A session exists with these attributes; it is connected.
    Session {
        /// Session number.
        session: u64,
        /// Client identifier.
        client_id: &'a str,
        /// Session expiry interval in seconds.
        expiry: u32,
        /// The will of its connection and the will delay interval in seconds.
        will: Option<(&'a Message, u32)>,
    },
    /// The connection of a session ended.
    Offline {
        /// Session number.
        session: u64,
        /// When.
        at: Time,
        /// The will is no longer to be published: it was, or the client left in order.
        will_done: bool,
    },
    /// A session and all that belongs to it is gone.
    SessionEnded {
        /// Session number.
        session: u64,
    },
    /// A subscription was made or changed.
    Subscribed {
        /// Session number.
        session: u64,
        /// The whole filter, with `$share/NAME/`.
        filter: &'a str,
        /// Options byte.
        options: u8,
        /// Subscription identifier; 0 for none.
        identifier: u32,
    },
    /// A subscription was removed.
    Unsubscribed {
        /// Session number.
        session: u64,
        /// The whole filter.
        filter: &'a str,
    },
    /// A message that deliveries refer to; forgotten with the last of them.
    Message {
        /// `stored` is its number.
        message: &'a Message,
    },
    /// A QoS 1 or 2 message is to be delivered to a session.
    Delivery {
        /// Session number.
        session: u64,
        /// Delivery number.
        delivery: u64,
        /// Message number.
        message: u64,
        /// 1 or 2.
        qos: QoS,
        /// Retain flag of the delivery.
        retain: bool,
        /// Subscription identifiers.
        identifiers: &'a [u32],
        /// Packet identifier; 0 while it is queued.
        packet_identifier: u16,
    },
    /// A queued delivery got a packet identifier.
    Sent {
        /// Session number.
        session: u64,
        /// Delivery number.
        delivery: u64,
        /// Packet identifier.
        packet_identifier: u16,
    },
    /// PUBREC came for a QoS 2 delivery: from now on PUBREL is sent.
    Released {
        /// Session number.
        session: u64,
        /// Delivery number.
        delivery: u64,
    },
    /// A delivery is complete, or was dropped.
    Delivered {
        /// Session number.
        session: u64,
        /// Delivery number.
        delivery: u64,
    },
    /// A QoS 2 message from the client was taken; its identifier is in use until PUBREL.
    Received {
        /// Session number.
        session: u64,
        /// Packet identifier.
        packet_identifier: u16,
    },
    /// PUBREL came: the identifier is free.
    ReceivedReleased {
        /// Session number.
        session: u64,
        /// Packet identifier.
        packet_identifier: u16,
    },
    /// The retained message of its topic; an empty payload removes it.
    Retained {
        /// The message.
        message: &'a Message,
        /// Where it comes from; stores of before do not say.
        origin: Option<&'a Origin>,
    },
    /// A message is to be published later.
    Delayed {
        /// Its number.
        number: u64,
        /// When.
        at: Time,
        /// Who published it.
        client_id: &'a str,
        /// With which account; empty for none.
        account: &'a str,
        /// The message; `expires` is its interval in milliseconds.
        message: &'a Message,
    },
    /// A delayed message was published.
    DelayedDone {
        /// Its number.
        number: u64,
    },
    /// Whose session it is.
    SessionAccount {
        /// Session number.
        session: u64,
        /// Name of the account; empty for none.
        account: &'a str,
    },
    /// A client or account is not let in.
    Banned {
        /// What the name is.
        kind: Kind,
        /// Client identifier or account.
        name: &'a str,
        /// How long, and why.
        ban: &'a Ban,
    },
    /// It is let in again.
    Unbanned {
        /// What the name is.
        kind: Kind,
        /// Client identifier or account.
        name: &'a str,
    },
    /// Numbers up to this one were given out (written when a store is compacted).
    Numbers {
        /// The highest number of a session, message or delivery.
        last: u64,
    },
}

/// A decoded record owns its message; everything else is a view.
pub(crate) enum Decoded<'a> {
    Plain(Record<'a>),
    Session {
        session: u64,
        client_id: &'a str,
        expiry: u32,
        will: Option<(Message, u32)>,
    },
    Message(Message),
    Retained(Message, Origin),
    Banned(Kind, &'a str, Ban),
    Delayed {
        number: u64,
        at: Time,
        client_id: &'a str,
        account: &'a str,
        message: Message,
    },
    Delivery {
        session: u64,
        delivery: u64,
        message: u64,
        qos: QoS,
        retain: bool,
        identifiers: Vec<u32>,
        packet_identifier: u16,
    },
}

impl Record<'_> {
    /// Appends the body of the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match *self {
            Record::Session {
                session,
                client_id,
                expiry,
                will,
            } => {
                out.push(1);
                put_u64(out, session);
                put_u32(out, expiry);
                put_bytes(out, client_id.as_bytes());
                if let Some((message, delay)) = will {
                    put_u32(out, delay);
                    put_message(out, message);
                }
            }
            Record::Offline {
                session,
                at,
                will_done,
            } => {
                out.push(2);
                put_u64(out, session);
                put_u64(out, at.0);
                out.push(will_done.into());
            }
            Record::SessionEnded { session } => {
                out.push(3);
                put_u64(out, session);
            }
            Record::Subscribed {
                session,
                filter,
                options,
                identifier,
            } => {
                out.push(4);
                put_u64(out, session);
                out.push(options);
                put_u32(out, identifier);
                put_bytes(out, filter.as_bytes());
            }
            Record::Unsubscribed { session, filter } => {
                out.push(5);
                put_u64(out, session);
                put_bytes(out, filter.as_bytes());
            }
            Record::Message { message } => {
                out.push(6);
                put_message(out, message);
            }
            Record::Delivery {
                session,
                delivery,
                message,
                qos,
                retain,
                identifiers,
                packet_identifier,
            } => {
                out.push(7);
                put_u64(out, session);
                put_u64(out, delivery);
                put_u64(out, message);
                out.push(qos as u8 | u8::from(retain) << 2);
                put_u16(out, packet_identifier);
                for &identifier in identifiers {
                    put_u32(out, identifier);
                }
            }
            Record::Sent {
                session,
                delivery,
                packet_identifier,
            } => {
                out.push(8);
                put_u64(out, session);
                put_u64(out, delivery);
                put_u16(out, packet_identifier);
            }
            Record::Released { session, delivery } => {
                out.push(9);
                put_u64(out, session);
                put_u64(out, delivery);
            }
            Record::Delivered { session, delivery } => {
                out.push(10);
                put_u64(out, session);
                put_u64(out, delivery);
            }
            Record::Received {
                session,
                packet_identifier,
            } => {
                out.push(11);
                put_u64(out, session);
                put_u16(out, packet_identifier);
            }
            Record::ReceivedReleased {
                session,
                packet_identifier,
            } => {
                out.push(12);
                put_u64(out, session);
                put_u16(out, packet_identifier);
            }
            Record::Retained { message, origin } => {
                out.push(13);
                put_message(out, message);
                if let Some(origin) = origin {
                    let (account, client_id) = origin.names();
                    put_u64(out, origin.since.0);
                    put_bytes(out, account.as_bytes());
                    put_bytes(out, client_id.as_bytes());
                }
            }
            Record::Numbers { last } => {
                out.push(14);
                put_u64(out, last);
            }
            Record::Delayed {
                number,
                at,
                client_id,
                account,
                message,
            } => {
                out.push(15);
                put_u64(out, number);
                put_u64(out, at.0);
                put_bytes(out, client_id.as_bytes());
                put_message(out, message);
                if !account.is_empty() {
                    put_bytes(out, account.as_bytes());
                }
            }
            Record::DelayedDone { number } => {
                out.push(16);
                put_u64(out, number);
            }
            Record::SessionAccount { session, account } => {
                out.push(17);
                put_u64(out, session);
                put_bytes(out, account.as_bytes());
            }
            Record::Banned { kind, name, ban } => {
                out.push(18);
                put_ban(out, kind, name, ban);
            }
            Record::Unbanned { kind, name } => {
                out.push(19);
                out.push(kind as u8);
                put_bytes(out, name.as_bytes());
            }
        }
    }

    /// Reads the body of a record.
    pub(crate) fn decode(body: &[u8]) -> Result<Decoded<'_>, Error> {
        let mut reader = Reader::new(body);
        let kind = reader.byte()?;
        let first = |reader: &mut Reader<'_>| u64(reader);
        let decoded = match kind {
            1 => {
                let session = first(&mut reader)?;
                let expiry = reader.four_byte_integer()?;
                let client_id = text(&mut reader)?;
                let will = if reader.is_empty() {
                    None
                } else {
                    let delay = reader.four_byte_integer()?;
                    Some((message(&mut reader)?, delay))
                };
                Decoded::Session {
                    session,
                    client_id,
                    expiry,
                    will,
                }
            }
            2 => Decoded::Plain(Record::Offline {
                session: first(&mut reader)?,
                at: Time(u64(&mut reader)?),
                will_done: reader.byte()? != 0,
            }),
            3 => Decoded::Plain(Record::SessionEnded {
                session: first(&mut reader)?,
            }),
            4 => {
                let session = first(&mut reader)?;
                let options = reader.byte()?;
                SubscriptionOptions::decode(Version::V5, options)?;
                let identifier = identifier(&mut reader)?;
                Decoded::Plain(Record::Subscribed {
                    session,
                    filter: filter(&mut reader)?,
                    options,
                    identifier,
                })
            }
            5 => {
                let session = first(&mut reader)?;
                Decoded::Plain(Record::Unsubscribed {
                    session,
                    filter: filter(&mut reader)?,
                })
            }
            6 => Decoded::Message(message(&mut reader)?),
            7 => {
                let session = first(&mut reader)?;
                let delivery = u64(&mut reader)?;
                let message = u64(&mut reader)?;
                let flags = reader.byte()?;
                let qos = QoS::from_bits(flags & 3).filter(|&qos| qos > QoS::AtMostOnce);
                let qos = qos.ok_or(Error::Malformed("QoS of a delivery in a record"))?;
                let packet_identifier = reader.two_byte_integer()?;
                let mut identifiers = Vec::new();
                while !reader.is_empty() {
                    identifiers.push(identifier(&mut reader)?);
                }
                Decoded::Delivery {
                    session,
                    delivery,
                    message,
                    qos,
                    retain: flags & 4 != 0,
                    identifiers,
                    packet_identifier,
                }
            }
            8 => Decoded::Plain(Record::Sent {
                session: first(&mut reader)?,
                delivery: u64(&mut reader)?,
                packet_identifier: reader.packet_identifier()?,
            }),
            9 => Decoded::Plain(Record::Released {
                session: first(&mut reader)?,
                delivery: u64(&mut reader)?,
            }),
            10 => Decoded::Plain(Record::Delivered {
                session: first(&mut reader)?,
                delivery: u64(&mut reader)?,
            }),
            11 => Decoded::Plain(Record::Received {
                session: first(&mut reader)?,
                packet_identifier: reader.packet_identifier()?,
            }),
            12 => Decoded::Plain(Record::ReceivedReleased {
                session: first(&mut reader)?,
                packet_identifier: reader.packet_identifier()?,
            }),
            13 => {
                let message = message(&mut reader)?;
                let origin = match reader.is_empty() {
                    true => Origin::default(),
                    false => {
                        let since = Time(u64(&mut reader)?);
                        Origin::new(since, text(&mut reader)?, text(&mut reader)?)
                    }
                };
                Decoded::Retained(message, origin)
            }
            14 => Decoded::Plain(Record::Numbers {
                last: first(&mut reader)?,
            }),
            15 => Decoded::Delayed {
                number: first(&mut reader)?,
                at: Time(u64(&mut reader)?),
                client_id: text(&mut reader)?,
                message: message(&mut reader)?,
                account: match reader.is_empty() {
                    true => "",
                    false => text(&mut reader)?,
                },
            },
            16 => Decoded::Plain(Record::DelayedDone {
                number: first(&mut reader)?,
            }),
            17 => Decoded::Plain(Record::SessionAccount {
                session: first(&mut reader)?,
                account: text(&mut reader)?,
            }),
            18 => {
                let (kind, name, ban) = ban(&mut reader)?;
                Decoded::Banned(kind, name, ban)
            }
            19 => Decoded::Plain(Record::Unbanned {
                kind: kind_of_ban(&mut reader)?,
                name: text(&mut reader)?,
            }),
            _ => return Err(Error::Malformed("unknown record")),
        };
        reader.finish()?;
        Ok(decoded)
    }
}

/// Appends an eight byte integer.
pub fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Appends bytes with a four byte length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u32(out, bytes.len() as u32);
    out.extend_from_slice(bytes);
}

pub(crate) fn put_message(out: &mut Vec<u8>, message: &Message) {
    put_u64(out, message.stored);
    out.push(
        message.qos as u8
            | u8::from(message.retain) << 2
            | u8::from(message.expires.is_some()) << 3,
    );
    if let Some(expires) = message.expires {
        put_u64(out, expires.0);
    }
    put_bytes(out, message.topic.as_bytes());
    put_bytes(out, &message.properties);
    put_bytes(out, &message.payload);
}

pub(crate) fn put_ban(out: &mut Vec<u8>, kind: Kind, name: &str, ban: &Ban) {
    out.push(kind as u8);
    put_bytes(out, name.as_bytes());
    put_u64(out, ban.since.0);
    put_u64(out, ban.until.map_or(u64::MAX, |until| until.0));
    put_bytes(out, ban.reason.as_bytes());
}

pub(crate) fn ban<'a>(reader: &mut Reader<'a>) -> Result<(Kind, &'a str, Ban), Error> {
    let (kind, name) = (kind_of_ban(reader)?, text(reader)?);
    let (since, until) = (u64(reader)?, u64(reader)?);
    let ban = Ban {
        since: Time(since),
        until: (until != u64::MAX).then_some(Time(until)),
        reason: text(reader)?.into(),
    };
    Ok((kind, name, ban))
}

fn kind_of_ban(reader: &mut Reader<'_>) -> Result<Kind, Error> {
    Kind::from_byte(reader.byte()?).ok_or(Error::Malformed("whom a ban is for"))
}

/// A subscription identifier; 0 for none.
fn identifier(reader: &mut Reader<'_>) -> Result<u32, Error> {
    let identifier = reader.four_byte_integer()?;
    match identifier <= VARIABLE_BYTE_INTEGER_MAX {
        true => Ok(identifier),
        false => Err(Error::Malformed("subscription identifier in a record")),
    }
}

/// Reads an eight byte integer.
///
/// # Errors
/// When there are fewer bytes.
pub fn u64(reader: &mut Reader<'_>) -> Result<u64, Error> {
    let high = reader.four_byte_integer()?;
    Ok(u64::from(high) << 32 | u64::from(reader.four_byte_integer()?))
}

/// Reads bytes with a four byte length.
///
/// # Errors
/// When there are fewer bytes.
pub fn bytes<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Error> {
    let length = reader.four_byte_integer()?;
    reader.take(length as usize)
}

/// Reads text with a four byte length.
///
/// # Errors
/// When there are fewer bytes, or no UTF-8.
pub fn text<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes(reader)?)
        .map_err(|_| Error::Malformed("text of a record is not UTF-8"))
}

fn filter<'a>(reader: &mut Reader<'a>) -> Result<&'a str, Error> {
    let text = text(reader)?;
    match Filter::parse(text) {
        Some(_) => Ok(text),
        None => Err(Error::Malformed("no topic filter in a record")),
    }
}

pub(crate) fn message(reader: &mut Reader<'_>) -> Result<Message, Error> {
    let stored = u64(reader)?;
    let flags = reader.byte()?;
    let expires = if flags & 8 != 0 {
        Some(Time(u64(reader)?))
    } else {
        None
    };
    Ok(Message {
        stored,
        topic: text(reader)?.into(),
        properties: bytes(reader)?.into(),
        payload: Bytes::copy_from_slice(bytes(reader)?),
        expires,
        qos: QoS::from_bits(flags & 3).ok_or(Error::Malformed("QoS 3 in a record"))?,
        retain: flags & 4 != 0,
    })
}
