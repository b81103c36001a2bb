//! Publishers and subscribers in one thread, at the pace that the broker keeps up with or at a fixed one.
//!
//! Every payload says when its message left, from which publisher, and as which one of its messages,
//! so that each delivery counts once, is known to be in order, and gives a time. In a closed loop a
//! publisher has credit for so many messages that are not delivered, or not acknowledged, yet.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::clients::{Publisher, Subscriber, Tally, nanoseconds};
use super::latency::Latencies;
use super::link::{Link, Scratch};
use super::packets::{Connect, DISCONNECT};
use super::round::{Counted, Meter, Round};
use super::ticks::{self, Ticks};
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
    /// At least 16 bytes: a message's stamp.
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
    /// The same on a core that others need as well: it sleeps until the next one is due.
    Shared(u64),
}

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

/// When a message is due, in nanoseconds from the start.
fn due_at(number: u64, rate: u64) -> u64 {
    let due = u128::from(number) * 1_000_000_000 / u128::from(rate);
    u64::try_from(due).unwrap_or(u64::MAX)
}

struct Engine {
    load: Load,
    epoll: OwnedFd,
    publishers: Vec<Publisher>,
    subscribers: Vec<Subscriber>,
    scratch: Scratch,
    ticks: Option<Ticks>,
    start: Instant,
    tally: Tally,
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
            ticks: None,
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
            engine.subscribers.push(Subscriber::new(link, load));
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
            let topic = format!("bench/{group}/{member}");
            engine.publishers.push(Publisher::new(link, &topic, load));
        }
        Ok(engine)
    }

    /// Warms up, counts, and waits for what is under way.
    fn run(&mut self, pid: u32) -> Outcome<Counted> {
        if let Pace::Shared(rate) = self.load.pace {
            self.ticks = Some(Ticks::every(due_at(1, rate), &self.epoll)?);
        }
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
                // Its ticks come in between.
                Pace::Shared(_) => Duration::from_millis(50),
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
            Pace::Fixed(rate) | Pace::Shared(rate) => loop {
                let due = due_at(*sent, rate);
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
            if let (ticks::EVENT, Some(ticks)) = (event.data.u64(), &self.ticks) {
                ticks.take()?;
                continue;
            }
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
            link.out.extend(DISCONNECT);
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
                link.out.extend(DISCONNECT);
                link.flush(&self.epoll, index)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;
    use crate::bench::mqtt::packets::{packet, split};

    const LOAD: Load = Load {
        groups: 1,
        publishers: 1,
        subscribers: 1,
        qos: 0,
        payload: 64,
        pace: Pace::Credit {
            window: 20,
            batch: 10,
        },
        kept: false,
        time: Duration::from_millis(100),
    };

    /// A broker for one publisher and one subscriber at QoS 0, and how often it hands on the message
    /// with a number.
    fn broker(copies: fn(u32) -> usize) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let greeted = || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 256]).unwrap();
                stream.write_all(&[0x20, 2, 0, 0]).unwrap();
                stream
            };
            let mut subscriber = greeted();
            let _ = subscriber.read(&mut [0; 256]).unwrap();
            subscriber.write_all(&[0x90, 3, 0, 1, 0]).unwrap();
            let mut publisher = greeted();
            let (mut bytes, mut buffer, mut number) = (Vec::new(), [0; 4096], 0);
            while let Ok(count @ 1..) = publisher.read(&mut buffer) {
                bytes.extend_from_slice(&buffer[..count]);
                let mut rest = &bytes[..];
                while let Some((first, body, after)) = split(rest) {
                    number += 1;
                    let again = packet(first, body).repeat(copies(number));
                    let _ = subscriber.write_all(&again);
                    rest = after;
                }
                bytes = rest.to_vec();
            }
        });
        port
    }

    #[test]
    fn what_does_not_arrive_is_lost_and_the_load_goes_on() {
        let port = broker(|number| usize::from(!number.is_multiple_of(10)));
        let round = run(port, std::process::id(), LOAD).unwrap();
        let tenth = round.sent / 10;
        assert!(round.sent > 1000, "{round:?}");
        assert_eq!(round.lost, tenth, "{round:?}");
    }

    #[test]
    fn what_arrives_twice_fails_the_load() {
        let port = broker(|number| if number == 50 { 2 } else { 1 });
        let error = run(port, std::process::id(), LOAD).unwrap_err();
        assert_eq!(error, "1 messages came twice or out of order");
    }
}
