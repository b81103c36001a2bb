//! A client's connection to a broker: whole packets in and out, pings when nothing else was sent.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use polyport_mqtt_core::codec::{FixedHeader, PacketType, Version};
use polyport_sdk::client::{self, Failure};

use super::Target;
use super::packets::{self, Connack};

/// How long an answer may take.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// How long the broker may take to close after DISCONNECT.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A packet as it came.
#[derive(Debug)]
pub struct Packet {
    /// Its type.
    pub kind: PacketType,
    /// Its first byte.
    pub first: u8,
    /// The bytes after the fixed header.
    pub body: Vec<u8>,
}

/// A connection that the broker has accepted.
pub struct Link {
    stream: client::Link,
    version: Version,
    buffer: Vec<u8>,
    keep_alive: Duration,
    last_sent: Instant,
    ping: Option<Instant>,
}

impl Link {
    /// Connects and logs in; also tells whether the broker has the session.
    pub fn open(target: &Target) -> Result<(Self, bool), Failure> {
        let Target {
            host, port, hello, ..
        } = target;
        let mut link = Self {
            stream: target.transport.connect(host, *port, ANSWER_LIMIT)?,
            version: hello.version,
            buffer: Vec::new(),
            keep_alive: Duration::from_secs(hello.keep_alive.into()),
            last_sent: Instant::now(),
            ping: None,
        };
        let mut packet = Vec::new();
        hello.encode(&mut packet);
        link.send(&packet)?;
        let answer = link.expect(PacketType::Connack)?;
        let connack = Connack::decode(hello.version, &answer.body).map_err(not_mqtt)?;
        if connack.code != 0 {
            let reason = packets::reason(connack.code);
            return Err(Failure::Failed(format!(
                "{host}: the broker refused the connection: {reason}"
            )));
        }
        if let Some(seconds) = connack.keep_alive {
            link.keep_alive = Duration::from_secs(seconds.into());
        }
        Ok((link, connack.session_present))
    }

    /// Sends packets.
    pub fn send(&mut self, packets: &[u8]) -> Result<(), Failure> {
        self.last_sent = Instant::now();
        self.stream
            .write_all(packets)
            .map_err(Failure::broken("broker"))
    }

    /// The next packet of this type; an answer is due, so others that come before it are an error.
    pub fn expect(&mut self, kind: PacketType) -> Result<Packet, Failure> {
        match self.receive(ANSWER_LIMIT)? {
            Some(packet) if packet.kind == kind => Ok(packet),
            Some(packet) => Err(Failure::Failed(format!(
                "broker: expected {kind:?}, got {:?}",
                packet.kind
            ))),
            None => Err(Failure::Broken(format!(
                "broker: expected {kind:?} within {ANSWER_LIMIT:?}, got nothing"
            ))),
        }
    }

    /// The next packet that is no ping's answer, or none when `limit` has passed.
    pub fn receive(&mut self, limit: Duration) -> Result<Option<Packet>, Failure> {
        let deadline = Instant::now() + limit;
        loop {
            while let Some(packet) = self.take()? {
                match packet.kind {
                    PacketType::Pingresp => self.ping = None,
                    PacketType::Disconnect => return Err(self.disconnected(&packet.body)),
                    _ => return Ok(Some(packet)),
                }
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            let next = self.keep_alive_due()?;
            let until = next.map_or(deadline, |next| next.min(deadline));
            self.fill(until.saturating_duration_since(now))?;
        }
    }

    /// Pings when that is due. Gives when it is due next.
    fn keep_alive_due(&mut self) -> Result<Option<Instant>, Failure> {
        if self.keep_alive.is_zero() {
            return Ok(None);
        }
        if let Some(sent) = self.ping {
            let lost = sent + self.keep_alive;
            return if Instant::now() < lost {
                Ok(Some(lost))
            } else {
                Err(Failure::Broken("broker: no answer to a ping".into()))
            };
        }
        // Three quarters leave time for the way.
        let due = self.last_sent + self.keep_alive * 3 / 4;
        if Instant::now() < due {
            return Ok(Some(due));
        }
        self.send(&packets::PINGREQ)?;
        self.ping = Some(Instant::now());
        Ok(Some(Instant::now() + self.keep_alive))
    }

    /// When a ping is due, for one who waits for something else than packets.
    pub fn patience(&self) -> Duration {
        if self.keep_alive.is_zero() {
            return Duration::from_secs(3600);
        }
        (self.last_sent + self.keep_alive * 3 / 4).saturating_duration_since(Instant::now())
    }

    /// Ends the connection in order and waits until the broker has taken everything.
    pub fn close(mut self) -> Result<(), Failure> {
        self.send(&packets::DISCONNECT)?;
        // The broker closes next; what it still sends is for nobody.
        let _ = self.stream.finish();
        let _ = self.stream.socket().set_read_timeout(Some(CLOSE_LIMIT));
        let _ = std::io::copy(&mut self.stream, &mut std::io::sink());
        Ok(())
    }

    fn take(&mut self) -> Result<Option<Packet>, Failure> {
        let Some(header) = FixedHeader::read(&self.buffer).map_err(not_mqtt)? else {
            return Ok(None);
        };
        let Some(frame) = self.buffer.get(header.length..header.frame()) else {
            return Ok(None);
        };
        let packet = Packet {
            kind: PacketType::from_first_byte(header.first)
                .ok_or_else(|| Failure::failed("broker: a packet of no known type"))?,
            first: header.first,
            body: frame.to_vec(),
        };
        self.buffer.drain(..header.frame());
        Ok(Some(packet))
    }

    /// Reads what is there, waiting for it up to `limit`.
    fn fill(&mut self, limit: Duration) -> Result<(), Failure> {
        let mut block = [0; 64 * 1024];
        self.stream
            .socket()
            .set_read_timeout(Some(limit.max(Duration::from_millis(1))))
            .map_err(Failure::broken("broker"))?;
        match self.stream.read(&mut block) {
            Ok(0) => Err(Failure::Broken("broker: it closed the connection".into())),
            Ok(read) => {
                self.buffer.extend_from_slice(&block[..read]);
                Ok(())
            }
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock
                | std::io::ErrorKind::TimedOut
                | std::io::ErrorKind::Interrupted => Ok(()),
                _ => Err(Failure::broken("broker")(error)),
            },
        }
    }

    fn disconnected(&self, body: &[u8]) -> Failure {
        let code = body
            .first()
            .copied()
            .filter(|_| self.version.is_v5())
            .unwrap_or(0);
        let text = format!("broker: it ended the connection: {}", packets::reason(code));
        match code {
            // A fight for the session would never end.
            0x8e => Failure::Failed(text),
            _ => Failure::Broken(text),
        }
    }
}

/// What is not MQTT does not get better by another try.
pub fn not_mqtt(error: polyport_mqtt_core::codec::Error) -> Failure {
    Failure::Failed(format!("broker: {error}"))
}
