//! Sections at the end of an export. One that a reader does not know cannot be left out: it is state of a client.

use std::collections::HashMap;
use std::sync::Arc;

use super::export::Writer;
use super::import::{Result, at_most, list};
use super::rates::export_paces;
use super::requests::export_requests;
use super::{Broker, Damaged};
use crate::broker::ConnectionId;
use crate::broker::authenticate::{Exchange, Turn};
use crate::broker::connection::Connection;
use crate::broker::delayed::Waiting;
use crate::codec::primitives::{Reader, put_u32};
use crate::origin::Publisher;
use crate::retained::NOBODY;
use crate::store::record::{
    ban, bytes, message, put_ban, put_bytes, put_message, put_u64, text, u64,
};
use crate::time::Time;

/// Numbers of sections.
mod section {
    /// Connections that are to be closed because they are too slow.
    pub const TOO_SLOW: u8 = 1;
    /// Retained messages that connections wait for, and since when each is retained.
    pub const RETAINED: u8 = 10;
    /// Connections that are held to a rate.
    pub const PACES: u8 = 11;
    /// Accounts that are.
    pub const USERS: u8 = 12;
    /// Totals, and what the `$SYS` tree is made of.
    pub const SYS: u8 = 20;
    /// When each retained message was retained.
    pub const RETAINED_SINCE: u8 = 21;
    /// The service is overloaded.
    pub const OVERLOADED: u8 = 13;
    /// Authentication methods, and exchanges under way.
    pub const EXCHANGES: u8 = 2;
    /// Connections of other brokers' bridges.
    pub const BRIDGES: u8 = 3;
    /// Messages that are published later.
    pub const DELAYED: u8 = 25;
    /// Whose sessions they are.
    pub const ACCOUNTS: u8 = 26;
    /// Who published retained messages, and which of them each, by their places.
    pub const PUBLISHERS: u8 = 30;
    /// The accounts of those who published them.
    pub const DELAYED_ACCOUNTS: u8 = 31;
    /// Who is not let in.
    pub const BANS: u8 = 28;
    /// Which listeners the clients of sessions came by last, where limits are for some of them.
    pub const LISTENERS: u8 = 29;
    /// Packets of topic filters that are being worked off.
    pub const REQUESTS: u8 = 32;
    /// Shared subscriptions that sessions left while messages were in flight.
    pub const LEFT_SHARES: u8 = 33;
}

impl Broker {
    pub(super) fn export_sections(&self, crossing: &[&Connection], writer: &mut Writer<'_>) {
        writer.section(section::TOO_SLOW, |writer| {
            let slow = crossing.iter().filter(|connection| connection.too_slow);
            writer.list(slow, |writer, connection| {
                put_u64(&mut writer.out, connection.number)
            });
        });
        Self::export_bridges(crossing, writer);
        writer.section(section::SYS, |writer| self.export_sys(writer));
        writer.section(section::RETAINED_SINCE, |writer| {
            writer.list(self.retained.origins(), |writer, origin| {
                put_u64(&mut writer.out, origin.since.0)
            });
        });
        writer.section(section::PUBLISHERS, |writer| {
            let origins = (0..).zip(self.retained.origins());
            let known =
                origins.filter_map(|(place, origin)| Some((place, origin.publisher.as_ref()?)));
            let (mut publishers, mut numbers) = (Vec::new(), HashMap::new());
            let of_each: Vec<(u32, u32)> = known
                .map(|(place, publisher)| {
                    let next = publishers.len() as u32;
                    let number = *numbers.entry(publisher).or_insert(next);
                    if number == next {
                        publishers.push(publisher);
                    }
                    (place, number)
                })
                .collect();
            writer.list(publishers.into_iter(), |writer, publisher| {
                put_bytes(&mut writer.out, publisher.account.as_bytes());
                put_bytes(&mut writer.out, publisher.client_id.as_bytes());
            });
            writer.list(of_each.into_iter(), |writer, (place, number)| {
                put_u32(&mut writer.out, place);
                put_u32(&mut writer.out, number);
            });
        });
        writer.section(section::PACES, |writer| export_paces(crossing, writer));
        writer.section(section::USERS, |writer| self.export_users(writer));
        writer.section(section::OVERLOADED, |writer| {
            writer.out.push(self.is_overloaded().into());
        });
        writer.section(section::RETAINED, |writer| {
            self.export_waiting(crossing, writer)
        });
        writer.section(section::REQUESTS, |writer| {
            export_requests(crossing, writer)
        });
        self.export_delayed(writer);
        writer.section(section::BANS, |writer| {
            writer.list(self.bans.behind(None), |writer, (kind, name, ban)| {
                put_ban(&mut writer.out, kind, name, ban)
            });
        });
        writer.section(section::ACCOUNTS, |writer| {
            let sessions = self.sessions.iter().map(|(_, session)| session);
            let accounts =
                sessions.filter_map(|session| Some((session, session.account.as_ref()?)));
            writer.list(accounts, |writer, (session, account)| {
                put_bytes(&mut writer.out, session.client_id.as_bytes());
                put_bytes(&mut writer.out, account.as_bytes());
            });
        });
        writer.section(section::LEFT_SHARES, |writer| {
            let sessions = self.sessions.iter().map(|(_, session)| session);
            let left = sessions.flat_map(|session| {
                let shares = session.messages.left_shares.iter();
                shares.map(move |share| (session, share))
            });
            writer.list(left, |writer, (session, share)| {
                put_bytes(&mut writer.out, session.client_id.as_bytes());
                put_bytes(&mut writer.out, share.as_bytes());
            });
        });
        writer.section(section::LISTENERS, |writer| {
            let wanted = self.settings.names_listeners();
            let sessions = self.sessions.iter().filter(|_| wanted);
            let known =
                sessions.filter_map(|(_, session)| Some((session, self.doors.name(session.door)?)));
            writer.list(known, |writer, (session, listener)| {
                put_bytes(&mut writer.out, session.client_id.as_bytes());
                put_bytes(&mut writer.out, listener.as_bytes());
            });
        });
        writer.section(section::EXCHANGES, |writer| {
            let exchanges = crossing.iter().filter_map(|connection| {
                let exchange = connection.exchange.as_deref()?;
                Some((connection.number, exchange))
            });
            writer.list(exchanges, |writer, (number, exchange)| {
                put_u64(&mut writer.out, number);
                writer.exchange(exchange);
            });
        });
    }

    fn export_bridges(crossing: &[&Connection], writer: &mut Writer<'_>) {
        writer.section(section::BRIDGES, |writer| {
            let bridges = crossing.iter().filter(|connection| connection.bridge);
            writer.list(bridges, |writer, connection| {
                put_u64(&mut writer.out, connection.number)
            });
        });
    }

    fn export_delayed(&self, writer: &mut Writer<'_>) {
        writer.section(section::DELAYED, |writer| {
            writer.list(self.delayed.iter(), |writer, (at, number, waiting)| {
                put_u64(&mut writer.out, at.0);
                put_u64(&mut writer.out, number);
                put_bytes(&mut writer.out, waiting.client_id.as_bytes());
                put_message(&mut writer.out, &waiting.message);
            });
        });
        writer.section(section::DELAYED_ACCOUNTS, |writer| {
            let known = self.delayed.iter();
            let known =
                known.filter_map(|(at, number, it)| Some((at, number, it.account.as_ref()?)));
            writer.list(known, |writer, (at, number, account)| {
                put_u64(&mut writer.out, at.0);
                put_u64(&mut writer.out, number);
                put_bytes(&mut writer.out, account.as_bytes());
            });
        });
    }

    fn import_delayed(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let (at, number) = (Time(u64(reader)?), at_most(u64(reader)?, self.last_number)?);
        let waiting = Waiting {
            client_id: self.texts.share(text(reader)?),
            account: None,
            message: Arc::new(message(reader)?),
        };
        match self.delayed.insert(at, number, waiting) {
            true => Ok(()),
            false => Err(Damaged("two delayed messages of one number")),
        }
    }

    pub(super) fn import_section(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let number = reader.byte()?;
        let length = reader.four_byte_integer()?;
        let mut body = Reader::new(reader.take(length as usize)?);
        let body = &mut body;
        match number {
            section::EXCHANGES => {
                list(body, |reader| {
                    let id = self.crossing(u64(reader)?)?;
                    let exchange = exchange(reader)?;
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.exchange = Some(exchange);
                    }
                    Ok(())
                })?;
            }
            section::BRIDGES => {
                list(body, |reader| {
                    let id = self.crossing(u64(reader)?)?;
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.bridge = true;
                    }
                    Ok(())
                })?;
            }
            section::TOO_SLOW => {
                list(body, |reader| {
                    let id = self.crossing(u64(reader)?)?;
                    if let Some(connection) = self.connections.get_mut(id) {
                        connection.too_slow = true;
                    }
                    Ok(())
                })?;
            }
            section::SYS => self.import_sys(body)?,
            section::RETAINED_SINCE => {
                let since = list(body, |reader| Ok(Time(u64(reader)?)))?;
                if since.len() != self.retained.total() {
                    return Err(Damaged("retained messages without their times"));
                }
                self.retained.set_since(&since);
            }
            section::PUBLISHERS => {
                let publishers = list(body, |reader| {
                    Ok(Publisher {
                        account: self.texts.share(text(reader)?),
                        client_id: self.texts.share(text(reader)?),
                    })
                })?;
                let mut of_each = vec![NOBODY; self.retained.total()];
                list(body, |reader| {
                    let place = of_each.get_mut(reader.four_byte_integer()? as usize);
                    let place = place.ok_or(Damaged("a publisher without its message"))?;
                    *place = reader.four_byte_integer()?;
                    match publishers.get(*place as usize) {
                        Some(_) => Ok(()),
                        None => Err(Damaged("a message without its publisher")),
                    }
                })?;
                self.retained.set_publishers(&publishers, &of_each);
            }
            section::PACES => self.import_paces(body)?,
            section::USERS => self.import_users(body)?,
            section::OVERLOADED => {
                body.byte()?;
                self.stay_overloaded();
            }
            section::RETAINED => self.import_waiting(body)?,
            section::REQUESTS => self.import_requests(body)?,
            section::ACCOUNTS => {
                list(body, |reader| {
                    let key = self.clients.get(text(reader)?).copied();
                    let session = key.and_then(|key| self.sessions.get_mut(key));
                    let session = session.ok_or(Damaged("an account without its session"))?;
                    session.account = Some(self.texts.share(text(reader)?));
                    Ok(())
                })?;
            }
            section::LEFT_SHARES => {
                list(body, |reader| {
                    let key = self.clients.get(text(reader)?).copied();
                    let session = key.and_then(|key| self.sessions.get_mut(key));
                    let session = session.ok_or(Damaged("a share without its session"))?;
                    session.shares = true;
                    session.messages.left_shares.push(text(reader)?.into());
                    Ok(())
                })?;
            }
            section::LISTENERS => {
                list(body, |reader| {
                    let key = self.clients.get(text(reader)?).copied();
                    let key = key.ok_or(Damaged("a listener without its session"))?;
                    let door = self.doors.door(text(reader)?);
                    self.set_door(key, door);
                    Ok(())
                })?;
            }
            section::BANS => {
                list(body, |reader| {
                    let (kind, name, ban) = ban(reader)?;
                    self.restore_ban(kind, name, ban);
                    Ok(())
                })?;
            }
            section::DELAYED => {
                list(body, |reader| self.import_delayed(reader))?;
            }
            section::DELAYED_ACCOUNTS => {
                list(body, |reader| {
                    let waiting = self.delayed.get_mut(Time(u64(reader)?), u64(reader)?);
                    let waiting = waiting.ok_or(Damaged("an account without its message"))?;
                    waiting.account = Some(self.texts.share(text(reader)?));
                    Ok(())
                })?;
            }
            _ => return Err(Damaged("a section of another version")),
        }
        Ok(body.finish()?)
    }

    /// The connection of a number, on its way here.
    pub(super) fn crossing(&self, number: u64) -> Result<ConnectionId> {
        let id = self.arriving.get(&number);
        id.copied().ok_or(Damaged("no connection has this number"))
    }
}

fn exchange(reader: &mut Reader<'_>) -> Result<Box<Exchange>> {
    Ok(Box::new(Exchange {
        method: text(reader)?.into(),
        since: Time(u64(reader)?),
        turn: match reader.byte()? {
            0 => Turn::Nobody,
            1 => Turn::Host,
            2 => Turn::Client(bytes(reader)?.to_vec()),
            _ => return Err(Damaged("unknown turn of an authentication")),
        },
    }))
}

impl<'a> Writer<'a> {
    fn exchange(&mut self, exchange: &Exchange) {
        put_bytes(&mut self.out, exchange.method.as_bytes());
        put_u64(&mut self.out, exchange.since.0);
        match &exchange.turn {
            Turn::Nobody => self.out.push(0),
            Turn::Host => self.out.push(1),
            Turn::Client(state) => {
                self.out.push(2);
                put_bytes(&mut self.out, state);
            }
        }
    }

    /// A section, unless nothing is written into it but a count of nothing.
    pub(super) fn section(&mut self, number: u8, write: impl FnOnce(&mut Writer<'a>)) {
        let start = self.out.len();
        self.out.push(number);
        put_u32(&mut self.out, 0);
        let body = self.out.len();
        write(self);
        if self.out[body..].iter().all(|byte| *byte == 0) {
            self.out.truncate(start);
            return;
        }
        let length = (self.out.len() - body) as u32;
        self.out[start + 1..body].copy_from_slice(&length.to_be_bytes());
    }

    pub(super) fn list<T>(
        &mut self,
        all: impl Iterator<Item = T>,
        each: impl Fn(&mut Writer<'a>, T),
    ) {
        let at = self.out.len();
        self.count(0);
        let mut count = 0u32;
        for one in all {
            each(self, one);
            count += 1;
        }
        self.out[at..at + 4].copy_from_slice(&count.to_be_bytes());
    }
}
