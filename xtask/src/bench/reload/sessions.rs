//! 1,000 MQTT sessions by plain TCP, and how long a swap keeps each of them waiting.
//!
//! Every session publishes to a topic of its own that it subscribes to, QoS 1 or 2, and checks the numbers that come
//! back. While a change is under way, some of the sessions (other ones each time) send themselves a message of QoS 0
//! every [`PROBE`]: the longest that one takes to come back is the session's pause.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::mqtt::packets::{packet, split, string};
use super::place::Place;
use super::tally::{Kind, Tally};
use crate::Outcome;

/// Its name.
pub const LOAD: &str = "1,000 sessions";
const SESSIONS: usize = 1000;
/// One of so many sessions is watched during a change.
const STRIDE: usize = 50;
/// Between two messages of a session that is watched: a pause may be longer than measured by that.
const PROBE: Duration = Duration::from_millis(2);
/// Between two messages of any session.
const PERIOD: Duration = Duration::from_secs(2);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which changes are under way, and the pauses that they brought.
#[derive(Debug, Default)]
pub struct Meter {
    /// Odd while a change is watched.
    step: AtomicU64,
    pauses: Mutex<Vec<(u64, Duration)>>,
}

impl Meter {
    /// Watches from now on; gives the number of the change.
    pub fn open(&self) -> u64 {
        self.step.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn close(&self) {
        self.step.fetch_add(1, Ordering::Relaxed);
    }

    /// The pauses of the changes from `first` to `last`, the shortest first.
    pub fn pauses(&self, first: u64, last: u64) -> Vec<Duration> {
        let all = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        let of_these = all.iter().filter(|(step, _)| (first..=last).contains(step));
        let mut pauses: Vec<Duration> = of_these.map(|(_, pause)| *pause).collect();
        pauses.sort();
        pauses
    }
}

/// Runs all sessions until the tally is over.
pub fn load(tally: &Tally, place: &Place, meter: &Meter) -> Outcome {
    let files = getrlimit(Resource::Nofile);
    let most = Rlimit {
        current: files.maximum,
        ..files
    };
    setrlimit(Resource::Nofile, most).map_err(|e| format!("cannot have more files open: {e}"))?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?;
    let mut all = All {
        sessions: Vec::new(),
        epoll,
        place,
        tally,
    };
    for index in 0..SESSIONS {
        let session = Session::connect(place, index)?;
        all.watch(&session)?;
        all.sessions.push(session);
    }
    all.run(meter)
}

struct All<'a> {
    sessions: Vec<Session>,
    epoll: std::os::fd::OwnedFd,
    place: &'a Place,
    tally: &'a Tally,
}

impl All<'_> {
    fn watch(&self, session: &Session) -> Outcome {
        let data = epoll::EventData::new_u64(session.index as u64);
        let added = epoll::add(&self.epoll, &session.stream, data, epoll::EventFlags::IN);
        added.map_err(|e| format!("epoll: {e}"))
    }

    fn run(&mut self, meter: &Meter) -> Outcome {
        let begun = Instant::now();
        let (mut step, mut turns, mut probed) = (0, 0u64, begun);
        let mut ends: Option<Instant> = None;
        loop {
            let now = meter.step.load(Ordering::Relaxed);
            if now != step {
                self.change(meter, step, now);
                step = now;
            }
            if self.tally.is_over() {
                let until = *ends.get_or_insert_with(|| Instant::now() + PATIENCE);
                if self.sessions.iter().all(Session::is_settled) || Instant::now() > until {
                    break;
                }
            } else {
                // As many turns as are due, one after the other, so that they are spread evenly.
                let due = begun.elapsed().as_nanos() * SESSIONS as u128 / PERIOD.as_nanos();
                while u128::from(turns) < due {
                    let index = turns as usize % SESSIONS;
                    self.turn(index)?;
                    turns += 1;
                }
            }
            if step % 2 == 1 && probed.elapsed() >= PROBE {
                probed = Instant::now();
                for index in watched(step) {
                    self.with(index, Session::probe)?;
                }
            }
            self.receive(step % 2 == 1)?;
        }
        for session in &self.sessions {
            for _ in session.expected..=session.sent {
                self.tally
                    .fail(LOAD, Kind::Lost, &format!("session {}", session.index));
            }
        }
        Ok(())
    }

    /// A change begins or ends.
    fn change(&mut self, meter: &Meter, before: u64, now: u64) {
        let mut pauses = meter.pauses.lock().unwrap_or_else(PoisonError::into_inner);
        if before % 2 == 1 {
            for index in watched(before) {
                let pause = self.sessions.get_mut(index).and_then(Session::pause);
                pauses.extend(pause.map(|pause| (before, pause)));
            }
        }
        for index in watched(now).filter(|_| now % 2 == 1) {
            if let Some(session) = self.sessions.get_mut(index) {
                session.longest = None;
                // Since it was watched the last time.
                if session.probe.take().is_some() {
                    let what = format!("session {index}: a message of QoS 0 did not come");
                    self.tally.fail(LOAD, Kind::Bytes, &what);
                }
            }
        }
    }

    /// A message of one session, on a new connection if it has lost its own.
    fn turn(&mut self, index: usize) -> Outcome {
        let lost = self.sessions.get(index).is_some_and(|session| session.lost);
        if lost {
            match Session::connect(self.place, index) {
                Err(error) => self.tally.fail(LOAD, Kind::Refused, &error),
                Ok(session) => {
                    self.watch(&session)?;
                    if let Some(place) = self.sessions.get_mut(index) {
                        *place = session;
                    }
                }
            }
        }
        self.tally.done(LOAD, 1);
        self.with(index, Session::publish)
    }

    fn receive(&mut self, busy: bool) -> Outcome {
        let mut events = Vec::with_capacity(SESSIONS);
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: if busy { 500_000 } else { 2_000_000 },
        };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("epoll: {e}")),
        }
        for event in events {
            let index = event.data.u64() as usize;
            let tally = self.tally;
            self.with(index, |session| session.receive(tally))?;
        }
        Ok(())
    }

    /// Does something with one session and sends what it left to send; a failure is the end of its connection.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Session) -> Outcome) -> Outcome {
        let Some(session) = self.sessions.get_mut(index).filter(|session| !session.lost) else {
            return Ok(());
        };
        if let Err(error) = act(session).and_then(|()| session.flush()) {
            session.lost = true;
            let what = format!("session {index}: {error}");
            self.tally.fail(LOAD, Kind::Disconnected, &what);
            let _ = epoll::delete(&self.epoll, &session.stream);
        }
        Ok(())
    }
}

/// The sessions that are watched during a change.
fn watched(step: u64) -> impl Iterator<Item = usize> {
    let first = (step / 2) as usize % STRIDE;
    (first..SESSIONS).step_by(STRIDE)
}

struct Session {
    stream: TcpStream,
    index: usize,
    qos: u8,
    out: Vec<u8>,
    input: Vec<u8>,
    identifier: u16,
    /// Numbers begin at 1.
    sent: u64,
    expected: u64,
    /// Identifiers of QoS 2 messages whose PUBREL is still to come.
    unreleased: BTreeSet<[u8; 2]>,
    /// When the message was sent that is still to come back.
    probe: Option<Instant>,
    longest: Option<Duration>,
    lost: bool,
}

impl Session {
    fn connect(place: &Place, index: usize) -> Outcome<Self> {
        let failed = |e: std::io::Error| format!("session {index}: {e}");
        let open = || -> std::io::Result<TcpStream> {
            let stream = TcpStream::connect(("127.0.0.1", place.mqtt))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let qos = if index.is_multiple_of(2) { 1 } else { 2 };
        // Half of each kind have a session that is kept; level 3.1.1, with user and password, keep alive 60 s.
        let clean = u8::from(index % 4 < 2) << 1;
        let login = [string("bench"), string("bench")].concat();
        let connect = |clean: u8| {
            let name = string(&format!("session{index}"));
            let parts = [
                &string("MQTT")[..],
                &[4, 0xc0 | clean, 0, 60],
                &name,
                &login,
            ];
            packet(0x10, &parts.concat())
        };
        let topics = ["s", "p"].map(|kind| string(&format!("{kind}/{index}")));
        let subscribe = [&[0, 1][..], &topics[0], &[qos], &topics[1], &[0]];
        // What a run before left is not to come back.
        let mut before = open().map_err(failed)?;
        let ended = before
            .write_all(&[&connect(2)[..], b"\xe0\x00"].concat())
            .and_then(|()| before.read_to_end(&mut Vec::new()));
        ended.map_err(failed)?;
        let mut stream = open().map_err(failed)?;
        let mut ask = |packet: &[u8], expected: &[u8]| -> Outcome {
            let mut answer = vec![0; expected.len()];
            stream
                .write_all(packet)
                .and_then(|()| stream.read_exact(&mut answer))
                .map_err(failed)?;
            match answer == expected {
                true => Ok(()),
                false => Err(format!("expected {expected:02x?}, got {answer:02x?}")),
            }
        };
        ask(&connect(clean), &[0x20, 2, 0, 0])?;
        ask(&packet(0x82, &subscribe.concat()), &[0x90, 4, 0, 1, qos, 0])?;
        stream.set_nonblocking(true).map_err(failed)?;
        Ok(Self {
            stream,
            index,
            qos,
            out: Vec::new(),
            input: Vec::new(),
            identifier: 1,
            sent: 0,
            expected: 1,
            unreleased: BTreeSet::new(),
            probe: None,
            longest: None,
            lost: false,
        })
    }

    fn is_settled(&self) -> bool {
        self.lost || (self.expected > self.sent && self.out.is_empty())
    }

    fn publish(&mut self) -> Outcome {
        self.sent += 1;
        // A packet identifier must not be 0 (MQTT 3.1.1 2.3.1).
        self.identifier = self.identifier.checked_add(1).unwrap_or(1);
        let topic = string(&format!("s/{}", self.index));
        let body = [
            &topic[..],
            &self.identifier.to_be_bytes(),
            &self.sent.to_be_bytes(),
        ]
        .concat();
        self.out.extend(packet(0x30 | self.qos << 1, &body));
        Ok(())
    }

    fn probe(&mut self) -> Outcome {
        if self.probe.is_none() {
            self.probe = Some(Instant::now());
            self.out
                .extend(packet(0x30, &string(&format!("p/{}", self.index))));
        }
        Ok(())
    }

    /// The longest that a message took, also one that is still to come.
    fn pause(&mut self) -> Option<Duration> {
        let open = self.probe.map(|sent| sent.elapsed());
        self.longest.take().max(open)
    }

    fn receive(&mut self, tally: &Tally) -> Outcome {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err("the server closed the connection".into()),
            Ok(count) => self.input.extend(buffer.iter().take(count)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.to_string()),
        }
        let input = std::mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Some((first, body, after)) = split(rest) {
            self.handle(first, body, tally)?;
            rest = after;
        }
        self.input = rest.to_vec();
        Ok(())
    }

    /// Control packets by their type, MQTT 3.1.1 table 2.1.
    fn handle(&mut self, first: u8, body: &[u8], tally: &Tally) -> Outcome {
        match (first >> 4, body) {
            (3, [high, low, rest @ ..]) => {
                let length = usize::from(u16::from_be_bytes([*high, *low]));
                let (topic, rest) = rest.split_at_checked(length).ok_or("a short PUBLISH")?;
                self.delivered(first >> 1 & 3, topic, rest, tally)
            }
            (4 | 7, [_, _]) => Ok(()),
            (5, [high, low]) => {
                self.out.extend([0x62, 2, *high, *low]);
                Ok(())
            }
            (6, [high, low]) => {
                self.unreleased.remove(&[*high, *low]);
                self.out.extend([0x70, 2, *high, *low]);
                Ok(())
            }
            _ => Err(format!(
                "a packet that nobody asked for: {first:02x} {body:02x?}"
            )),
        }
    }

    fn delivered(&mut self, qos: u8, topic: &[u8], rest: &[u8], tally: &Tally) -> Outcome {
        if topic != format!("{}/{}", if qos == 0 { 'p' } else { 's' }, self.index).as_bytes() {
            let topic = String::from_utf8_lossy(topic).into_owned();
            tally.fail(
                LOAD,
                Kind::Bytes,
                &format!("session {} got {topic:?}", self.index),
            );
            return Ok(());
        }
        if qos == 0 {
            let took = self.probe.take().map(|sent| sent.elapsed());
            self.longest = self.longest.max(took);
            return Ok(());
        }
        let (identifier, number) = rest.split_first_chunk::<2>().ok_or("no identifier")?;
        let acknowledge = if qos == 1 { 0x40 } else { 0x50 };
        self.out.extend([acknowledge, 2]);
        self.out.extend(identifier);
        if qos == 2 && !self.unreleased.insert(*identifier) {
            // The same message once more (4.3.3): not a duplicate for who reads it.
            return Ok(());
        }
        let number = number
            .try_into()
            .map(u64::from_be_bytes)
            .map_err(|_| "no number")?;
        for _ in self.expected..number {
            tally.fail(
                LOAD,
                Kind::Lost,
                &format!("session {}: before {number}", self.index),
            );
        }
        if number < self.expected && qos == 2 {
            tally.fail(
                LOAD,
                Kind::Duplicate,
                &format!("session {}: {number}", self.index),
            );
        }
        self.expected = self.expected.max(number + 1);
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        if self.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.out) {
            Ok(count) => drop(self.out.drain(..count)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(e.to_string()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_sessions_are_watched_each_time() {
        let meter = Meter::default();
        let first: Vec<usize> = watched(meter.open()).collect();
        meter.close();
        let second: Vec<usize> = watched(meter.open()).collect();
        assert_eq!((first.len(), second.len()), (20, 20));
        assert!(first.iter().all(|index| !second.contains(index)));
    }
}
