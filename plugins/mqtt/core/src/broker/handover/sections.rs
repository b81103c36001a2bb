//! Sections at the end of an export. One that a reader does not know cannot be left out: it is state of a client.

use super::export::Writer;
use super::import::{Result, list};
use super::{Broker, Damaged};
use crate::broker::ConnectionId;
use crate::broker::authenticate::{Exchange, Turn};
use crate::broker::connection::Connection;
use crate::codec::primitives::{Reader, put_u32};
use crate::store::record::{bytes, put_bytes, put_u64, text, u64};
use crate::time::Time;

/// Numbers of sections.
mod section {
    /// Connections that are to be closed because they are too slow.
    pub const TOO_SLOW: u8 = 1;
    /// Retained messages that connections wait for, and since when each is retained.
    pub const RETAINED: u8 = 10;
    /// Authentication methods, and exchanges under way.
    pub const EXCHANGES: u8 = 2;
    /// Connections of other brokers' bridges.
    pub const BRIDGES: u8 = 3;
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
        writer.section(section::RETAINED, |writer| {
            self.export_waiting(crossing, writer)
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
            section::RETAINED => self.import_waiting(body)?,
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
