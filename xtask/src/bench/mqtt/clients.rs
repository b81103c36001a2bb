//! A publisher and a subscriber of the load: their packets, handshakes and counts.

use std::time::{Duration, Instant};

use super::latency::Latencies;
use super::link::{Link, Scratch};
use super::load::Load;
use super::packets::{self, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Publish};
use crate::Outcome;

/// Bytes in a payload that say what it is: time, publisher, number.
const STAMP: usize = 16;

/// What the subscribers saw.
pub struct Tally {
    pub delivered: u64,
    /// Messages that came twice, or after a later one.
    pub misplaced: u64,
    pub latencies: Latencies,
}

pub struct Publisher {
    pub link: Link,
    /// A PUBLISH but for its identifier and the begin of its payload.
    template: Vec<u8>,
    identifier: u16,
    pub published: u64,
    /// Finished handshakes; QoS 0 has none.
    pub acknowledged: u64,
    /// Deliveries that give credit back: those made and those passed over.
    pub credited: u64,
}

pub struct Subscriber {
    pub link: Link,
    /// The number of the last message of each publisher of the group.
    seen: Vec<u32>,
}

impl Publisher {
    /// With a topic of its own.
    pub fn new(link: Link, topic: &str, load: Load) -> Self {
        Self {
            link,
            template: template(topic, load),
            identifier: 0,
            published: 0,
            acknowledged: 0,
            credited: 0,
        }
    }

    /// Messages that its credit is spent on.
    pub fn open(&self, load: Load) -> u64 {
        let delivered = self.credited / load.subscribers as u64;
        let finished = match load.qos {
            0 => delivered,
            _ => delivered.min(self.acknowledged),
        };
        self.published - finished.min(self.published)
    }

    /// Adds a message, sent at `at` nanoseconds, to what is to be written.
    pub fn publish(&mut self, member: usize, at: u64, load: Load) {
        let end = self.template.len();
        let payload = end - load.payload;
        self.published += 1;
        let mut stamp = [0; STAMP];
        let parts = [
            &at.to_be_bytes()[..],
            &(member as u32).to_be_bytes(),
            &(self.published as u32).to_be_bytes(),
        ];
        let mut rest = &mut stamp[..];
        for part in parts {
            let (place, after) = rest.split_at_mut(part.len());
            place.copy_from_slice(part);
            rest = after;
        }
        if let Some(place) = self.template.get_mut(payload..payload + STAMP) {
            place.copy_from_slice(&stamp);
        }
        if load.qos > 0 {
            // A packet identifier must not be 0 (section 2.3.1).
            self.identifier = self.identifier.checked_add(1).unwrap_or(1);
            if let Some(place) = self.template.get_mut(payload - 2..payload) {
                place.copy_from_slice(&self.identifier.to_be_bytes());
            }
        }
        self.link.out.extend_from_slice(&self.template);
    }

    /// Reads what has come, and goes on with the handshakes.
    pub fn receive(&mut self, scratch: &mut Scratch) -> Outcome {
        let acknowledged = &mut self.acknowledged;
        self.link
            .receive(scratch, |first, body, out| match (first >> 4, body) {
                (PUBACK | PUBCOMP, _) => {
                    *acknowledged += 1;
                    Ok(())
                }
                (PUBREC, [high, low]) => {
                    out.extend(packets::acknowledgement(PUBREL, [*high, *low]));
                    Ok(())
                }
                _ => Err(unexpected(first, body)),
            })
    }
}

impl Subscriber {
    pub fn new(link: Link, load: Load) -> Self {
        let seen = vec![0; load.publishers];
        Self { link, seen }
    }

    /// Reads what has come, and counts it for the publishers of its group.
    pub fn receive(
        &mut self,
        scratch: &mut Scratch,
        group: &mut [Publisher],
        start: Instant,
        tally: &mut Tally,
        load: Load,
    ) -> Outcome {
        let Self { link, seen } = self;
        let mut arrived = None;
        link.receive(scratch, |first, body, out| match (first >> 4, body) {
            (PUBLISH, _) => {
                let publish = Publish::read(first, body).filter(|publish| {
                    publish.payload.len() == load.payload
                        && publish.identifier.is_some() == (load.qos > 0)
                });
                let publish = publish.ok_or_else(|| unexpected(first, body))?;
                // One look at the clock for what came together.
                let now = *arrived.get_or_insert_with(|| nanoseconds(start.elapsed()));
                let (at, member, number) =
                    stamp(publish.payload).ok_or_else(|| unexpected(first, body))?;
                let (Some(one), Some(seen)) = (group.get_mut(member), seen.get_mut(member)) else {
                    return Err(format!("a message of a publisher {member}"));
                };
                tally.delivered += 1;
                tally.latencies.add(now.saturating_sub(at));
                match number.checked_sub(*seen) {
                    None | Some(0) => tally.misplaced += 1,
                    Some(ahead) => {
                        *seen = number;
                        one.credited += u64::from(ahead);
                    }
                }
                if let Some(identifier) = publish.identifier {
                    let kind = if load.qos == 2 { PUBREC } else { PUBACK };
                    out.extend(packets::acknowledgement(kind, identifier));
                }
                Ok(())
            }
            (PUBREL, [high, low]) if load.qos == 2 => {
                out.extend(packets::acknowledgement(PUBCOMP, [*high, *low]));
                Ok(())
            }
            _ => Err(unexpected(first, body)),
        })
    }
}

/// A PUBLISH with its identifier and stamp still to be filled in.
fn template(topic: &str, load: Load) -> Vec<u8> {
    let mut body = packets::string(topic);
    body.extend(if load.qos > 0 { &[0, 0][..] } else { &[] });
    body.extend(std::iter::repeat_n(b'x', load.payload.max(STAMP)));
    packets::packet(PUBLISH << 4 | load.qos << 1, &body)
}

/// When a message left, which publisher of its group sent it, and its number.
fn stamp(payload: &[u8]) -> Option<(u64, usize, u32)> {
    let (at, rest) = payload.split_first_chunk()?;
    let (member, rest) = rest.split_first_chunk()?;
    let number = rest.first_chunk()?;
    Some((
        u64::from_be_bytes(*at),
        u32::from_be_bytes(*member) as usize,
        u32::from_be_bytes(*number),
    ))
}

fn unexpected(first: u8, body: &[u8]) -> String {
    format!(
        "unexpected packet {first:02x} of {} bytes from the broker",
        body.len()
    )
}

pub fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
