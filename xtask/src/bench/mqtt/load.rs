//! Publishers and subscribers in one thread, at the pace that the broker keeps up with or at a fixed one.
//!
//! Every payload says when its message left, from which publisher, and as which one of its messages,
//! so that each delivery counts once, is known to be in order, and gives a time. In a closed loop a
//! publisher has credit for so many messages that are not delivered, or not acknowledged, yet.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::latency::Latencies;
use super::link::{Link, Scratch};
use super::packets::{self, Connect, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Publish};
use super::round::{Counted, Meter, Round};
use crate::Outcome;

/// Who sends what to whom.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Groups that have nothing to do with each other: with one publisher and one subscriber each, pairs.
    pub groups: usize,
    /// Publishers of a group, each with a topic of its own.
    pub publishers: usize,
    /// Subscribers of a group: each has all the group's messages.
    pub subscribers: usize,
    pub qos: u8,
    /// At least [`STAMP`].
    pub payload: usize,
    pub pace: Pace,
    /// The subscribers' sessions outlive their connections, so that a broker has to store the messages.
    pub kept: bool,
    /// What is counted, after [`WARM_UP`].
    pub time: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// Messages of each publisher that may be under way, and by how many it fills up at a time.
    Credit { window: u64, batch: u64 },
    /// Messages a second, of all publishers in turns, whatever becomes of them. Times count from when
    /// a message was due.
    Fixed(u64),
}

/// Bytes in a payload that say what it is: time, publisher, number.
pub const STAMP: usize = 16;

/// Time before anything counts.
const WARM_UP: Duration = Duration::from_millis(300);
/// Without a delivery for so long, what is under way is lost.
const STALL: Duration = Duration::from_millis(1000);
/// Links that epoll tells of at once.
const EVENTS: usize = 1024;

/// Runs the load against the broker at `port`, which is the process `pid`.
pub fn run(port: u16, pid: u32, load: Load) -> Outcome<Round> {
    let mut engine = Engine::connect(port, load)?;
    let counted = engine.run(pid)?;
    engine.leave(port)?;
    counted.round(pid)
}

struct Engine {
    load: Load,
    epoll: OwnedFd,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    scratch: Scratch,
    start: Instant,
    tally: Tally,
}

/// What the subscribers saw.
struct Tally {
    delivered: u64,
    /// Messages that came twice, or after a later one.
    misplaced: u64,
    latencies: Latencies,
}

struct Publisher {
    link: Link,
    /// A PUBLISH but for its identifier and the begin of its payload.
    template: Vec<u8>,
    identifier: u16,
    published: u64,
    /// Finished handshakes; QoS 0 has none.
    acknowledged: u64,
    /// Deliveries that give credit back: those made and those passed over.
    credited: u64,
}

struct Subscriber {
    link: Link,
    /// The number of the last message of each publisher of the group.
    seen: Vec<u32>,
}

fn publisher_id(index: usize) -> String {
    format!("bench-publisher-{index}")
}

fn subscriber_id(index: usize) -> String {
    format!("bench-subscriber-{index}")
}

impl Engine {
    fn connect(port: u16, load: Load) -> Outcome<Self> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?;
        let mut engine = Self {
            load,
            epoll,
            publishers: Vec::new(),
            subscribers: Vec::new(),
            scratch: Scratch::new(),
            start: Instant::now(),
            tally: Tally {
                delivered: 0,
                misplaced: 0,
                latencies: Latencies::new(),
            },
        };
        for index in 0..load.groups * load.subscribers {
            let connect = Connect {
                client_id: &subscriber_id(index),
                clean: !load.kept,
                login: None,
            };
            let mut link = Link::connect(port, connect)?;
            let group = index / load.subscribers;
            let filter = match load.publishers {
                1 => format!("bench/{group}/0"),
                _ => format!("bench/{group}/+"),
            };
            link.subscribe(&filter, load.qos)?;
            link.watch(&engine.epoll, load.groups * load.publishers + index)?;
            let seen = vec![0; load.publishers];
            engine.subscribers.push(Subscriber { link, seen });
        }
        for index in 0..load.groups * load.publishers {
            let connect = Connect {
                client_id: &publisher_id(index),
                clean: true,
                login: None,
            };
            let link = Link::connect(port, connect)?;
            link.watch(&engine.epoll, index)?;
            let (group, member) = (index / load.publishers, index % load.publishers);
            let template = template(&format!("bench/{group}/{member}"), load);
            engine.publishers.push(Publisher {
                link,
                template,
                identifier: 0,
                published: 0,
                acknowledged: 0,
                credited: 0,
            });
        }
        Ok(engine)
    }

    /// Warms up, counts, and waits for what is under way.
    fn run(&mut self, pid: u32) -> Outcome<Counted> {
        self.start = Instant::now();
        let begin = self.start + WARM_UP;
        let end = begin + self.load.time;
        let (mut meter, mut counted) = (None, None);
        let mut progress = (self.start, 0);
        let mut sent = 0;
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            if progress.1 != self.tally.delivered {
                progress = (now, self.tally.delivered);
            }
            let stalled = now - progress.0 > STALL;
            if meter.is_none() && now >= begin {
                self.tally.latencies.clear();
                meter = Some(Meter::start(pid, self.tally.delivered));
            }
            if counted.is_none()
                && now >= end
                && let Some(meter) = meter.take()
            {
                let latency = self.tally.latencies.quantiles();
                counted = Some(meter.finish(self.tally.delivered, latency));
            }
            if let Some(counted) = &mut counted {
                if self.is_settled() || stalled {
                    counted.sent = self.due();
                    counted.lost = counted.sent.saturating_sub(self.tally.delivered);
                    break;
                }
            } else {
                if stalled {
                    self.write_off();
                    progress.0 = now;
                }
                self.publish(now, &mut sent)?;
            }
            events.clear();
            let wait = match self.load.pace {
                Pace::Credit { .. } => Duration::from_millis(50),
                // To the microsecond: this thread has a core of its own.
                Pace::Fixed(_) => Duration::ZERO,
            };
            self.turn(&mut events, wait)?;
        }
        if self.tally.misplaced > 0 {
            let misplaced = self.tally.misplaced;
            return Err(format!("{misplaced} messages came twice or out of order"));
        }
        let counted = counted.ok_or("nothing was counted")?;
        if self.load.qos > 0 && counted.lost == 0 {
            self.expect_handshakes()?;
        }
        Ok(counted)
    }

    /// Deliveries that all that was published comes to.
    fn due(&self) -> u64 {
        let published: u64 = self.publishers.iter().map(|one| one.published).sum();
        published * self.load.subscribers as u64
    }

    fn is_settled(&self) -> bool {
        let finished = |one: &Publisher| self.load.qos == 0 || one.acknowledged == one.published;
        self.tally.delivered == self.due()
            && self.publishers.iter().all(finished)
            && self.subscribers.iter().all(|one| one.link.out.is_empty())
    }

    /// Every message of QoS 1 and 2 ends with the broker's acknowledgement.
    fn expect_handshakes(&self) -> Outcome {
        let open: u64 = self
            .publishers
            .iter()
            .map(|one| one.published - one.acknowledged.min(one.published))
            .sum();
        match open {
            0 => Ok(()),
            _ => Err(format!("{open} messages were not acknowledged")),
        }
    }

    /// Gives credit for what will not come any more.
    fn write_off(&mut self) {
        let subscribers = self.load.subscribers as u64;
        for one in &mut self.publishers {
            one.credited = one.published * subscribers;
        }
    }

    /// Sends what is due, or what there is credit for.
    fn publish(&mut self, now: Instant, sent: &mut u64) -> Outcome {
        let elapsed = nanoseconds(now - self.start);
        match self.load.pace {
            Pace::Fixed(rate) => loop {
                let due = u64::try_from(u128::from(*sent) * 1_000_000_000 / u128::from(rate));
                let due = due.unwrap_or(u64::MAX);
                if due > elapsed {
                    break;
                }
                let index = *sent as usize % self.publishers.len();
                let member = index % self.load.publishers;
                if let Some(one) = self.publishers.get_mut(index) {
                    one.publish(member, due, self.load);
                    one.link.flush(&self.epoll, index)?;
                }
                *sent += 1;
            },
            Pace::Credit { window, batch } => {
                for (index, one) in self.publishers.iter_mut().enumerate() {
                    let open = one.open(self.load);
                    if open + batch > window || !one.link.out.is_empty() {
                        continue;
                    }
                    let member = index % self.load.publishers;
                    for _ in open..window {
                        one.publish(member, elapsed, self.load);
                    }
                    one.link.flush(&self.epoll, index)?;
                }
            }
        }
        Ok(())
    }

    /// Waits for links to be ready and serves each once.
    fn turn(&mut self, events: &mut Vec<epoll::Event>, wait: Duration) -> Outcome {
        let wait = Timespec {
            tv_sec: 0,
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("epoll: {e}")),
        }
        let publishers = self.publishers.len();
        for event in events.iter() {
            let index = event.data.u64() as usize;
            if let Some(one) = self.publishers.get_mut(index) {
                one.receive(&mut self.scratch)?;
                one.link.flush(&self.epoll, index)?;
                continue;
            }
            let at = index - publishers;
            let first = at / self.load.subscribers * self.load.publishers;
            let group = self.publishers.get_mut(first..first + self.load.publishers);
            if let (Some(one), Some(group)) = (self.subscribers.get_mut(at), group) {
                one.receive(
                    &mut self.scratch,
                    group,
                    self.start,
                    &mut self.tally,
                    self.load,
                )?;
                one.link.flush(&self.epoll, index)?;
            }
        }
        Ok(())
    }

    /// Ends all sessions, those that are kept as well.
    fn leave(self, port: u16) -> Outcome {
        let links = self.publishers.into_iter().map(|one| one.link);
        let links = links.chain(self.subscribers.into_iter().map(|one| one.link));
        for (index, mut link) in links.enumerate() {
            link.out.extend(packets::DISCONNECT);
            link.flush(&self.epoll, index)?;
        }
        if self.load.kept {
            for index in 0..self.load.groups * self.load.subscribers {
                let connect = Connect {
                    client_id: &subscriber_id(index),
                    clean: true,
                    login: None,
                };
                let mut link = Link::connect(port, connect)?;
                link.watch(&self.epoll, index)?;
                link.out.extend(packets::DISCONNECT);
                link.flush(&self.epoll, index)?;
            }
        }
        Ok(())
    }
}

impl Publisher {
    /// Messages that its credit is spent on.
    fn open(&self, load: Load) -> u64 {
        let delivered = self.credited / load.subscribers as u64;
        let finished = match load.qos {
            0 => delivered,
            _ => delivered.min(self.acknowledged),
        };
        self.published - finished.min(self.published)
    }

    fn publish(&mut self, member: usize, at: u64, load: Load) {
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

    fn receive(&mut self, scratch: &mut Scratch) -> Outcome {
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
    fn receive(
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

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
