//! An MQTT 3.1.1 load: pairs of a publisher and a subscriber, each pair with a topic of its own.
//!
//! One thread polls all connections. A publisher never runs further ahead of its subscriber than
//! the window, which keeps a broker from having to drop anything, so every message counts.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::harness::Moved;
use crate::Outcome;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub pairs: usize,
    /// 0 or 1.
    pub qos: u8,
    pub payload: usize,
    /// Messages published and not yet delivered, for each pair.
    pub window: u64,
    pub time: Duration,
}

/// Time for a packet that is due, and for the last messages to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Control packet types, MQTT 3.1.1 table 2.1, as the upper half of the first byte.
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;

/// Sends for `load.time`, waits for the last delivery, and counts deliveries.
pub fn run(port: u16, load: Load) -> Outcome<Moved> {
    let pairs: Outcome<Vec<Pair>> = (0..load.pairs)
        .map(|index| Pair::connect(port, index, load))
        .collect();
    let mut pairs = pairs?;
    let start = Instant::now();
    let until = start + load.time;
    let mut sending = true;
    loop {
        sending &= Instant::now() < until;
        if !sending && pairs.iter().all(Pair::is_settled) {
            break;
        }
        if Instant::now() > until + PATIENCE {
            let open: Vec<String> = pairs.iter().map(Pair::account).collect();
            return Err(format!("not all was delivered: {}", open.join(", ")));
        }
        if sending {
            pairs.iter_mut().for_each(Pair::publish);
        }
        turn(&mut pairs)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    let delivered: u64 = pairs.iter().map(|pair| pair.delivered).sum();
    Ok(Moved {
        amount: delivered as f64,
        seconds,
    })
}

/// Waits for the connections to be ready and serves each once.
fn turn(pairs: &mut [Pair]) -> Outcome {
    let ready: Vec<bool> = {
        let links = pairs
            .iter()
            .flat_map(|pair| [&pair.publisher, &pair.subscriber]);
        let wanted = |link: &Link| {
            if link.out.is_empty() {
                PollFlags::IN
            } else {
                PollFlags::IN | PollFlags::OUT
            }
        };
        let mut fds: Vec<PollFd<'_>> = links
            .map(|link| PollFd::new(&link.stream, wanted(link)))
            .collect();
        let limit = Timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        };
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(format!("cannot poll: {e}")),
        }
        fds.iter().map(|fd| !fd.revents().is_empty()).collect()
    };
    for (pair, ready) in pairs.iter_mut().zip(ready.chunks(2)) {
        pair.serve(ready.first() == Some(&true), ready.get(1) == Some(&true))?;
    }
    Ok(())
}

struct Pair {
    publisher: Link,
    subscriber: Link,
    load: Load,
    /// A whole PUBLISH packet; with QoS 1 the packet identifier is still to be filled in.
    packet: Vec<u8>,
    identifier_at: usize,
    /// Bytes after the fixed header, the same for what is published and what is delivered.
    body_length: usize,
    identifier: u16,
    published: u64,
    acknowledged: u64,
    delivered: u64,
}

impl Pair {
    fn connect(port: u16, index: usize, load: Load) -> Outcome<Self> {
        let topic = format!("bench/{index}");
        let mut subscriber = Link::connect(port, &format!("sub{index}"))?;
        subscriber.subscribe(&topic, load.qos)?;
        let mut publisher = Link::connect(port, &format!("pub{index}"))?;
        for link in [&mut subscriber, &mut publisher] {
            link.stream
                .set_nonblocking(true)
                .map_err(|e| format!("cannot stop blocking: {e}"))?;
        }
        let mut body = string(&topic);
        let identifier_in_body = body.len();
        body.extend(if load.qos > 0 { &[0, 0][..] } else { &[] });
        body.extend(std::iter::repeat_n(b'x', load.payload));
        let packet = packet(PUBLISH << 4 | load.qos << 1, &body);
        let identifier_at = packet.len() - body.len() + identifier_in_body;
        Ok(Self {
            publisher,
            subscriber,
            load,
            packet,
            identifier_at,
            body_length: body.len(),
            identifier: 0,
            published: 0,
            acknowledged: 0,
            delivered: 0,
        })
    }

    /// Fills the window once it is half empty, so that packets leave in batches.
    fn publish(&mut self) {
        let open = self.published - self.delivered.min(self.published);
        if !self.publisher.out.is_empty() || open > self.load.window / 2 {
            return;
        }
        for _ in open..self.load.window {
            if self.load.qos > 0 {
                // A packet identifier must not be 0 (MQTT 3.1.1 2.3.1).
                self.identifier = self.identifier.checked_add(1).unwrap_or(1);
                let place = self
                    .packet
                    .get_mut(self.identifier_at..self.identifier_at + 2);
                place
                    .expect("the packet has an identifier")
                    .copy_from_slice(&self.identifier.to_be_bytes());
            }
            self.publisher.out.extend_from_slice(&self.packet);
            self.published += 1;
        }
    }

    fn serve(&mut self, publisher: bool, subscriber: bool) -> Outcome {
        if publisher {
            let acknowledged = &mut self.acknowledged;
            self.publisher
                .receive(|first, _, _| *acknowledged += u64::from(first >> 4 == PUBACK))?;
        }
        if subscriber {
            let (delivered, expected) = (&mut self.delivered, self.body_length);
            let mut damaged = None;
            self.subscriber.receive(|first, body, out| {
                if first >> 4 == PUBLISH {
                    *delivered += 1;
                    if body.len() != expected {
                        damaged = Some(body.len());
                    }
                    if first & 0b110 != 0 {
                        acknowledge(body, out);
                    }
                }
            })?;
            if let Some(length) = damaged {
                return Err(format!(
                    "expected messages of {expected} bytes, got one of {length}"
                ));
            }
        }
        self.publisher.flush()?;
        self.subscriber.flush()
    }

    fn is_settled(&self) -> bool {
        let acknowledged = self.load.qos == 0 || self.acknowledged == self.published;
        acknowledged && self.delivered == self.published && self.subscriber.out.is_empty()
    }

    fn account(&self) -> String {
        let Self {
            published,
            acknowledged,
            delivered,
            ..
        } = self;
        format!("{published} published, {acknowledged} acknowledged, {delivered} delivered")
    }
}

/// Appends the PUBACK for a PUBLISH of QoS 1.
fn acknowledge(body: &[u8], out: &mut Vec<u8>) {
    if let [high, low, rest @ ..] = body {
        let topic = usize::from(u16::from_be_bytes([*high, *low]));
        if let Some(identifier) = rest.get(topic..topic + 2) {
            out.extend([PUBACK << 4, 2]);
            out.extend(identifier);
        }
    }
}

/// A connection with its buffers.
struct Link {
    stream: TcpStream,
    /// Bytes still to be written.
    out: Vec<u8>,
    input: Vec<u8>,
    filled: usize,
}

impl Link {
    fn connect(port: u16, client_id: &str) -> Outcome<Self> {
        let stream =
            TcpStream::connect(("127.0.0.1", port)).map_err(|e| format!("cannot connect: {e}"))?;
        stream
            .set_nodelay(true)
            .map_err(|e| format!("no TCP_NODELAY: {e}"))?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(|e| format!("no time limit: {e}"))?;
        let mut link = Self {
            stream,
            out: Vec::new(),
            input: vec![0; 256 * 1024],
            filled: 0,
        };
        let mut body = string("MQTT");
        body.extend([4, 0b10, 0, 60]); // level 3.1.1, clean session, keep alive 60 s
        body.extend(string(client_id));
        link.ask(&packet(0x10, &body), &[0x20, 2, 0, 0])?;
        Ok(link)
    }

    fn subscribe(&mut self, topic: &str, qos: u8) -> Outcome {
        let mut body = vec![0, 1];
        body.extend(string(topic));
        body.push(qos);
        self.ask(&packet(0x82, &body), &[0x90, 3, 0, 1, qos])
    }

    /// Sends a packet and expects exactly this answer.
    fn ask(&mut self, packet: &[u8], expected: &[u8]) -> Outcome {
        let mut answer = vec![0; expected.len()];
        self.stream
            .write_all(packet)
            .map_err(|e| format!("cannot send: {e}"))?;
        self.stream
            .read_exact(&mut answer)
            .map_err(|e| format!("no answer: {e}"))?;
        match answer == expected {
            true => Ok(()),
            false => Err(format!(
                "expected the packet {expected:02x?}, got {answer:02x?}"
            )),
        }
    }

    /// Reads once and hands on each whole packet: first byte, body, and where answers go.
    fn receive(&mut self, mut handle: impl FnMut(u8, &[u8], &mut Vec<u8>)) -> Outcome {
        let space = self.input.get_mut(self.filled..).unwrap_or_default();
        match self.stream.read(space) {
            Ok(0) => return Err("the broker closed a connection".into()),
            Ok(count) => self.filled += count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(e) => return Err(format!("cannot receive: {e}")),
        }
        let mut rest = self.input.get(..self.filled).unwrap_or_default();
        while let Some((first, body, after)) = split(rest) {
            handle(first, body, &mut self.out);
            rest = after;
        }
        let kept = rest.len();
        self.input.copy_within(self.filled - kept..self.filled, 0);
        self.filled = kept;
        Ok(())
    }

    fn flush(&mut self) -> Outcome {
        if self.out.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.out) {
            Ok(count) => drop(self.out.drain(..count)),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(e) => return Err(format!("cannot send: {e}")),
        }
        Ok(())
    }
}

/// The first whole packet: its first byte, its body, and what follows it.
fn split(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (first, mut rest) = bytes.split_first()?;
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let (byte, after) = rest.split_first()?;
        length |= usize::from(byte & 0x7f) << shift;
        rest = after;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (body, after) = rest.split_at_checked(length)?;
    Some((*first, body, after))
}

/// A packet with its remaining length in front (MQTT 3.1.1 2.2.3).
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// A UTF-8 string with its length in front (MQTT 3.1.1 1.5.3).
fn string(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("names of the benchmark are short");
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_split_where_they_end() {
        let long = packet(0x30, &[7; 300]);
        assert_eq!(long.get(..3), Some(&[0x30, 0xac, 0x02][..]));
        let stream = [&long[..], &[0x40, 2, 0, 9], &[0x40, 2, 0]].concat();
        let (first, body, rest) = split(&stream).unwrap();
        assert_eq!((first, body.len()), (0x30, 300));
        let (first, body, rest) = split(rest).unwrap();
        assert_eq!((first, body), (0x40, &[0, 9][..]));
        assert_eq!(split(rest), None);
    }

    #[test]
    fn a_publish_is_acknowledged_by_its_identifier() {
        let mut body = string("a/b");
        body.extend([1, 2, b'x']);
        let mut out = Vec::new();
        acknowledge(&body, &mut out);
        assert_eq!(out, [0x40, 2, 1, 2]);
    }
}
