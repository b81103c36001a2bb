//! Retained messages that connections wait for: how far each has come, and since when each message is retained.

use super::Broker;
use super::Damaged;
use super::export::Writer;
use super::import::{LAST, Result, at_most, identifier, list, qos};
use crate::broker::connection::Connection;
use crate::broker::retained_delivery::PendingRetained;
use crate::codec::primitives::{Reader, put_u32};
use crate::retained::Search;
use crate::store::record::{put_bytes, put_u64, text, u64};
use crate::topic::Filter;

impl Broker {
    pub(super) fn export_waiting(&self, crossing: &[&Connection], writer: &mut Writer<'_>) {
        let waiting = crossing
            .iter()
            .filter_map(|connection| Some((connection.number, connection.retained.as_ref()?)));
        if waiting.clone().next().is_none() {
            return;
        }
        put_u64(&mut writer.out, self.retained.last());
        writer.list(self.retained.numbers(), |writer, number| {
            put_u64(&mut writer.out, number)
        });
        writer.list(waiting, |writer, (number, retained)| {
            put_u64(&mut writer.out, number);
            writer.list(retained.iter(), put_pending);
        });
    }

    pub(super) fn import_waiting(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let last = at_most(u64(reader)?, LAST)?;
        let numbers = list(reader, |reader| at_most(u64(reader)?, last))?;
        if numbers.len() != self.retained.total() {
            return Err(Damaged("retained messages without their numbers"));
        }
        self.retained.renumber(&numbers, last);
        list(reader, |reader| {
            let id = self.crossing(u64(reader)?)?;
            let waiting = list(reader, pending)?;
            if let Some(connection) = self.connections.get_mut(id) {
                for pending in waiting {
                    connection.retained.get_or_insert_default().push(pending);
                }
            }
            Ok(())
        })?;
        Ok(())
    }
}

pub(super) fn put_pending(writer: &mut Writer<'_>, pending: &PendingRetained) {
    put_bytes(&mut writer.out, pending.search.filter.as_bytes());
    put_bytes(&mut writer.out, pending.search.from.as_bytes());
    put_u64(&mut writer.out, pending.search.until);
    writer.out.push(pending.qos as u8);
    put_u32(&mut writer.out, pending.identifier);
}

pub(super) fn pending(reader: &mut Reader<'_>) -> Result<PendingRetained> {
    let filter = text(reader)?;
    let whole = Filter::parse(filter).filter(|parsed| parsed.filter == filter);
    whole.ok_or(Damaged("no topic filter"))?;
    Ok(PendingRetained {
        search: Search {
            filter: filter.into(),
            from: text(reader)?.into(),
            until: u64(reader)?,
        },
        qos: qos(reader.byte()?)?,
        identifier: identifier(reader)?,
    })
}
