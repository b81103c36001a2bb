//! Clients that connect and subscribe, many at once: as fast as the broker takes them, or to stay.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use super::latency::Latencies;
use super::link::{Link, PATIENCE, open};
use super::packets::{CONNACK, Connect, DISCONNECT, SUBACK, subscribe};
use super::round::{Meter, Round};
use crate::Outcome;

/// Handshakes under way at once: fewer than mosquitto's backlog of 100.
const AT_ONCE: usize = 64;
/// Addresses of the loopback network that clients come from in turns: each has 28,000 ports, and one
/// that was used is not free again for a minute.
const ADDRESSES: usize = 200;

/// Connects, subscribes, disconnects, over and over for `time`.
pub fn storm(port: u16, pid: u32, login: (&str, &str), time: Duration) -> Outcome<Round> {
    let mut arrivals = Arrivals::new(port, Some(login))?;
    let meter = Meter::start(pid, 0);
    let until = Instant::now() + time;
    let mut count = 0;
    arrivals.run(|stream| {
        count += 1;
        // It goes as a client does.
        let _ = (&stream).write_all(&DISCONNECT);
        Instant::now() < until
    })?;
    let latency = arrivals.latencies.quantiles();
    meter.finish(count, latency).round(pid)
}

/// One that logs in and goes.
pub fn once(port: u16, login: (&str, &str)) -> Outcome {
    let connect = Connect {
        client_id: "bench-first",
        clean: true,
        login: Some(login),
    };
    Link::connect(port, connect).map(drop)
}

/// So many clients that have subscribed, and stay until they are dropped.
pub fn crowd(port: u16, count: usize) -> Outcome<Vec<TcpStream>> {
    let mut arrived = Vec::with_capacity(count);
    if count > 0 {
        Arrivals::new(port, None)?.run(|stream| {
            arrived.push(stream);
            arrived.len() < count
        })?;
    }
    Ok(arrived)
}

struct Arrivals<'a> {
    port: u16,
    login: Option<(&'a str, &'a str)>,
    epoll: OwnedFd,
    begun: usize,
    /// By the number that epoll has.
    under_way: Vec<Option<Arriving>>,
    latencies: Latencies,
}

struct Arriving {
    stream: TcpStream,
    number: usize,
    since: Instant,
    greeted: bool,
    answer: Vec<u8>,
}

impl<'a> Arrivals<'a> {
    fn new(port: u16, login: Option<(&'a str, &'a str)>) -> Outcome<Self> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| format!("epoll: {e}"))?;
        Ok(Self {
            port,
            login,
            epoll,
            begun: 0,
            under_way: Vec::new(),
            latencies: Latencies::new(),
        })
    }

    /// Hands over each client that has its SUBACK, until one is the last.
    fn run(&mut self, mut arrived: impl FnMut(TcpStream) -> bool) -> Outcome {
        for place in 0..AT_ONCE {
            let arriving = self.begin(place)?;
            self.under_way.push(Some(arriving));
        }
        let mut events = Vec::with_capacity(AT_ONCE);
        loop {
            events.clear();
            let wait = Timespec {
                tv_sec: PATIENCE.as_secs() as i64,
                tv_nsec: 0,
            };
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
                Ok(0) => return Err("the broker does not answer".into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(format!("epoll: {e}")),
            }
            for event in &events {
                let place = event.data.u64() as usize;
                let Some(slot) = self.under_way.get_mut(place) else {
                    continue;
                };
                let Some(arriving) = slot else { continue };
                if !arriving.proceed()? {
                    continue;
                }
                let Some(done) = slot.take() else { continue };
                let time = done.since.elapsed().as_nanos();
                self.latencies.add(u64::try_from(time).unwrap_or(u64::MAX));
                epoll::delete(&self.epoll, &done.stream).map_err(|e| format!("epoll: {e}"))?;
                if !arrived(done.stream) {
                    return Ok(());
                }
                let next = self.begin(place)?;
                if let Some(slot) = self.under_way.get_mut(place) {
                    *slot = Some(next);
                }
            }
        }
    }

    fn begin(&mut self, place: usize) -> Outcome<Arriving> {
        let number = self.begun;
        self.begun += 1;
        let since = Instant::now();
        let last = u8::try_from(number % ADDRESSES).unwrap_or_default() + 2;
        let mut stream = open(Ipv4Addr::new(127, 0, 0, last), self.port)?;
        let connect = Connect {
            client_id: &format!("bench-{number}"),
            clean: true,
            login: self.login,
        };
        stream
            .write_all(&connect.packet())
            .and_then(|()| stream.set_nonblocking(true))
            .map_err(|e| format!("cannot send: {e}"))?;
        let data = epoll::EventData::new_u64(place as u64);
        epoll::add(&self.epoll, &stream, data, epoll::EventFlags::IN)
            .map_err(|e| format!("epoll: {e}"))?;
        Ok(Arriving {
            stream,
            number,
            since,
            greeted: false,
            answer: Vec::new(),
        })
    }
}

impl Arriving {
    /// Reads what there is; true once the subscription is acknowledged.
    fn proceed(&mut self) -> Outcome<bool> {
        let mut bytes = [0; 16];
        match self.stream.read(&mut bytes) {
            Ok(0) => return Err("the broker closed a connection".into()),
            Ok(count) => self
                .answer
                .extend_from_slice(bytes.get(..count).unwrap_or_default()),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(format!("cannot receive: {e}")),
        }
        let expected: &[u8] = match self.greeted {
            false => &[CONNACK << 4, 2, 0, 0],
            true => &[SUBACK << 4, 3, 0, 1, 1],
        };
        if !expected.starts_with(&self.answer) {
            let got = &self.answer;
            return Err(format!(
                "expected the packet {expected:02x?}, got {got:02x?}"
            ));
        }
        if self.answer.len() < expected.len() {
            return Ok(false);
        }
        self.answer = Vec::new();
        if self.greeted {
            return Ok(true);
        }
        self.greeted = true;
        let packet = subscribe(&format!("idle/{}", self.number), 1);
        self.stream
            .write_all(&packet)
            .map_err(|e| format!("cannot send: {e}"))?;
        Ok(false)
    }
}
