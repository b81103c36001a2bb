//! SUBSCRIBE and UNSUBSCRIBE packets that are being worked off.

use super::export::Writer;
use super::import::{Result, identifier, list};
use super::waiting::{pending, put_pending};
use super::{Broker, Damaged};
use crate::broker::connection::Connection;
use crate::broker::request::{Kind, Request};
use crate::codec::primitives::{Reader, put_u16, put_u32};
use crate::codec::{Version, subscribe, unsubscribe};
use crate::store::record::{bytes, put_bytes, put_u64, u64};
use crate::topic::Filter;

const SUBSCRIBE: u8 = 0;
const UNSUBSCRIBE: u8 = 1;

pub(super) fn export_requests(crossing: &[&Connection], writer: &mut Writer<'_>) {
    let begun = crossing.iter().filter_map(|connection| {
        let request = connection.request.as_deref()?;
        Some((connection.number, request))
    });
    writer.list(begun, |writer, (number, request)| {
        put_u64(&mut writer.out, number);
        match request.kind {
            Kind::Subscribe { identifier } => {
                writer.out.push(SUBSCRIBE);
                put_u32(&mut writer.out, identifier);
            }
            Kind::Unsubscribe => writer.out.push(UNSUBSCRIBE),
        }
        put_u16(&mut writer.out, request.packet_identifier);
        put_bytes(&mut writer.out, &request.codes);
        put_bytes(&mut writer.out, request.rest());
        writer.list(request.retained.iter(), put_pending);
    });
}

impl Broker {
    pub(super) fn import_requests(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        list(reader, |reader| {
            let id = self.crossing(u64(reader)?)?;
            let connection = self.connections.get_mut(id);
            let connection = connection.ok_or(Damaged("a request without its connection"))?;
            let kind = match reader.byte()? {
                SUBSCRIBE => Kind::Subscribe {
                    identifier: identifier(reader)?,
                },
                UNSUBSCRIBE => Kind::Unsubscribe,
                _ => return Err(Damaged("no kind of request")),
            };
            let mut request = Request::new(kind, reader.packet_identifier()?);
            request.codes = bytes(reader)?.to_vec();
            let filters = bytes(reader)?;
            if !are_filters(kind, connection.version, filters) {
                return Err(Damaged("a request without its filters"));
            }
            request.keep(filters);
            request.retained = list(reader, pending)?;
            connection.request = Some(Box::new(request));
            Ok(())
        })?;
        Ok(())
    }
}

/// Whether there are topic filters in these bytes, and nothing else.
fn are_filters(kind: Kind, version: Version, bytes: &[u8]) -> bool {
    let is_filter = |text| Filter::parse(text).is_some();
    let (good, rest) = match kind {
        Kind::Subscribe { .. } => {
            let mut filters = subscribe::Filters::new(version, bytes);
            let good = filters.all(|(text, _)| is_filter(text));
            (good, filters.rest())
        }
        Kind::Unsubscribe => {
            let mut filters = unsubscribe::Filters::new(bytes);
            (filters.all(is_filter), filters.rest())
        }
    };
    good && rest.is_empty() && !bytes.is_empty()
}
