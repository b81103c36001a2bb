//! What the `$SYS` tree is made of, and the broker's totals: they go on where they were.

use super::Broker;
use super::export::Writer;
use super::import::{Result, list, time};
use crate::broker::sys::Sys;
use crate::codec::primitives::Reader;
use crate::store::record::{put_u64, u64};
use crate::time::Time;

impl Broker {
    pub(super) fn export_sys(&self, writer: &mut Writer<'_>) {
        let Sys {
            started,
            last,
            averages,
            most_connected,
            most_heap,
        } = &self.sys;
        put_u64(&mut writer.out, started.0);
        let (at, numbers) = last.map_or((None, [0; 9]), |(at, numbers)| (Some(at), numbers));
        writer.time(at);
        let averages = averages
            .as_flattened()
            .iter()
            .map(|average| average.to_bits());
        let numbers = numbers.into_iter().chain(averages);
        for number in numbers.chain([*most_connected, *most_heap]) {
            put_u64(&mut writer.out, number);
        }
        let counters = &self.counters;
        for total in [counters.messages_received, counters.messages_sent] {
            put_u64(&mut writer.out, total);
        }
        writer.list(counters.dropped.iter(), |writer, dropped| {
            put_u64(&mut writer.out, *dropped)
        });
        writer.list(counters.traffic.totals().into_iter(), |writer, total| {
            put_u64(&mut writer.out, total)
        });
    }

    pub(super) fn import_sys(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        self.sys.started = Time(u64(reader)?);
        let at = time(reader)?;
        let mut numbers = [0; 9];
        for number in &mut numbers {
            *number = u64(reader)?;
        }
        self.sys.last = at.map(|at| (at, numbers));
        for average in self.sys.averages.as_flattened_mut() {
            let told = f64::from_bits(u64(reader)?);
            *average = if told.is_finite() { told } else { 0.0 };
        }
        self.sys.most_connected = u64(reader)?;
        self.sys.most_heap = u64(reader)?;
        let counters = &mut self.counters;
        counters.messages_received = u64(reader)?;
        counters.messages_sent = u64(reader)?;
        let dropped = list(reader, u64_of)?;
        counters.messages_dropped = dropped.iter().fold(0, |all, one| all.saturating_add(*one));
        for (total, told) in counters.dropped.iter_mut().zip(dropped) {
            *total = told;
        }
        let totals = list(reader, u64_of)?;
        for (total, told) in counters.traffic.totals_mut().into_iter().zip(totals) {
            *total = told;
        }
        Ok(())
    }
}

fn u64_of(reader: &mut Reader<'_>) -> Result<u64> {
    Ok(u64(reader)?)
}
