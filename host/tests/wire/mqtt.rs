//! MQTT packets by hand, for 3.1.1 and 5.0.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::connect;

/// The protocol's level in CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    V311 = 4,
    V5 = 5,
}

/// A client that is connected.
pub struct Mqtt {
    pub stream: TcpStream,
    level: Level,
}

/// A packet: its first byte and what follows the length.
pub type Packet = (u8, Vec<u8>);

fn text(text: &str) -> Vec<u8> {
    let len = u16::try_from(text.len()).unwrap();
    [&len.to_be_bytes()[..], text.as_bytes()].concat()
}

impl Mqtt {
    /// Connects with a clean session and no keep-alive; the client and the code in CONNACK.
    pub fn try_login(
        addr: SocketAddr,
        level: Level,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> io::Result<(Self, u8)> {
        let mut client = Self {
            stream: connect(addr),
            level,
        };
        let mut body = [&text("MQTT")[..], &[level as u8, 0xc2, 0, 0]].concat();
        body.extend(client.no_properties());
        for word in [client_id, user, password] {
            body.extend(text(word));
        }
        client.send(0x10, &body)?;
        let (first, body) = client.read()?;
        assert_eq!(first, 0x20, "CONNACK: {body:02x?}");
        Ok((client, body[1]))
    }

    /// A client that must be let in.
    pub fn login(
        addr: SocketAddr,
        level: Level,
        client_id: &str,
        user: &str,
        password: &str,
    ) -> Self {
        let (client, code) = Self::try_login(addr, level, client_id, user, password).unwrap();
        assert_eq!(code, 0, "{user}");
        client
    }

    fn no_properties(&self) -> &'static [u8] {
        match self.level {
            Level::V311 => &[],
            Level::V5 => &[0],
        }
    }

    pub fn send(&mut self, first: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![first];
        let mut len = body.len();
        loop {
            let more = if len > 127 { 0x80 } else { 0 };
            packet.push((len % 128) as u8 | more);
            len /= 128;
            if len == 0 {
                break;
            }
        }
        packet.extend_from_slice(body);
        self.stream.write_all(&packet)
    }

    /// The next packet.
    pub fn read(&mut self) -> io::Result<Packet> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let first = byte[0];
        let (mut len, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            len |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }

    /// The code that answers a subscription at QoS 1.
    pub fn subscribe(&mut self, filter: &str) -> io::Result<u8> {
        let mut body = vec![0, 1];
        body.extend(self.no_properties());
        body.extend(text(filter));
        body.push(1);
        self.send(0x82, &body)?;
        let (first, body) = self.read()?;
        assert_eq!(first, 0x90, "SUBACK: {body:02x?}");
        Ok(body[body.len() - 1])
    }

    /// Publishes at QoS 1; the code in PUBACK, 0 where it has none.
    pub fn publish(&mut self, topic: &str, payload: &str) -> io::Result<u8> {
        let mut body = text(topic);
        body.extend([0, 2]);
        body.extend(self.no_properties());
        body.extend(payload.as_bytes());
        self.send(0x32, &body)?;
        let (first, body) = self.read()?;
        if first == 0xe0 {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                format!("DISCONNECT {body:02x?}"),
            ));
        }
        assert_eq!(first, 0x40, "PUBACK: {body:02x?}");
        Ok(body.get(2).copied().unwrap_or(0))
    }

    /// Publishes to a topic of its own subscription: whether something else came before it.
    pub fn received_before(&mut self, topic: &str) -> bool {
        let mut body = text(topic);
        body.extend([0, 2]);
        body.extend(self.no_properties());
        self.send(0x32, &body).unwrap();
        let mut others = 0;
        loop {
            let (first, body) = self.read().unwrap();
            if first == 0x40 {
                continue;
            }
            assert_eq!(first & 0xf0, 0x30, "{body:02x?}");
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let (name, rest) = body[2..].split_at(length);
            if first & 0x06 > 0 {
                self.send(0x40, &rest[..2]).unwrap();
            }
            if name == topic.as_bytes() {
                return others > 0;
            }
            others += 1;
        }
    }

    /// The topics of the messages that came so far: what was sent before the answer to a ping.
    pub fn received(&mut self) -> Vec<String> {
        self.send(0xc0, &[]).unwrap();
        let mut topics = Vec::new();
        loop {
            let (first, body) = self.read().unwrap();
            if first == 0xd0 {
                return topics;
            }
            assert_eq!(first & 0xf0, 0x30, "{body:02x?}");
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let (name, rest) = body[2..].split_at(length);
            topics.push(String::from_utf8_lossy(name).into_owned());
            if first & 0x06 > 0 {
                self.send(0x40, &rest[..2]).unwrap();
            }
        }
    }
}
