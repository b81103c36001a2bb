//! How far connections and accounts have used up their rates.

use super::Broker;
use super::export::Writer;
use super::import::{Result, list, time};
use crate::broker::connection::Connection;
use crate::broker::pace::{Pace, Paid};
use crate::codec::primitives::Reader;
use crate::store::record::{put_bytes, put_u64, text, u64};

pub(super) fn export_paces(crossing: &[&Connection], writer: &mut Writer<'_>) {
    let paces = crossing
        .iter()
        .filter_map(|connection| Some((connection.number, connection.pace.as_deref()?)));
    writer.list(paces, |writer, (number, pace)| {
        put_u64(&mut writer.out, number);
        put_u64(&mut writer.out, pace.paid.0);
        writer.time(pace.at);
    });
}

impl Broker {
    pub(super) fn export_users(&self, writer: &mut Writer<'_>) {
        let mut users: Vec<_> = self.users.paid.iter().collect();
        users.sort_unstable_by_key(|(account, _)| *account);
        writer.list(users.into_iter(), |writer, (account, paid)| {
            put_bytes(&mut writer.out, account.as_bytes());
            put_u64(&mut writer.out, paid.0);
        });
    }

    pub(super) fn import_paces(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        list(reader, |reader| {
            let id = self.crossing(u64(reader)?)?;
            let pace = Pace {
                paid: Paid(u64(reader)?),
                at: time(reader)?,
            };
            if let Some(connection) = self.connections.get_mut(id) {
                connection.pace = Some(Box::new(pace));
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn import_users(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        list(reader, |reader| {
            let account = text(reader)?.into();
            self.users.paid.insert(account, Paid(u64(reader)?));
            Ok(())
        })?;
        Ok(())
    }
}
