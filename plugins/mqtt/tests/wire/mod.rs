//! Raw MQTT over a socket, for tests that send what no library would.

#![allow(dead_code, reason = "each test file uses its part of it")]

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use polyport_testkit::Host;

/// The subprotocol of MQTT (6.0.0-3), as a line of a head.
pub const SUBPROTOCOL: &str = "Sec-WebSocket-Protocol: mqtt\r\n";

/// An account that may do all without a name, and no other.
pub const ANONYMOUS: &str = "[anonymous]\nservices = mqtt\n";

/// A string with its length.
pub fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A packet around its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    packet.extend(variable(body.len()));
    packet.extend_from_slice(body);
    packet
}

/// A variable byte integer.
pub fn variable(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// A connection on which a WebSocket was asked for, `more` with its own lines of the head, and the answer's head.
pub fn upgrade(host: &Host, path: &str, more: &str) -> (TcpStream, String) {
    let mut stream = host.connect("mqtt-ws");
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

/// CONNECT of 3.1.1 with clean session 1, without keep alive.
pub fn connect(client_id: &str) -> Vec<u8> {
    packet(
        0x10,
        &[b"\x00\x04MQTT\x04\x02\x00\x00", &text(client_id)[..]].concat(),
    )
}

/// CONNECT of 5.0 with clean start 1 and these properties, without keep alive.
pub fn connect5(client_id: &str, properties: &[u8]) -> Vec<u8> {
    let length = variable(properties.len());
    let body = [
        b"\x00\x04MQTT\x05\x02\x00\x00",
        &length[..],
        properties,
        &text(client_id),
    ]
    .concat();
    packet(0x10, &body)
}

/// PUBLISH of 3.1.1; `flags` are those of its first byte, the identifier is sent with QoS 1 and 2.
pub fn publish(flags: u8, topic: &str, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    if flags & 0x06 != 0 {
        body.extend(identifier.to_be_bytes());
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}

/// SUBSCRIBE of 3.1.1 to one filter.
pub fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &text(filter)[..], &[qos]].concat())
}

/// One connection.
pub struct Wire {
    pub stream: TcpStream,
}

impl Wire {
    /// A connection without a word.
    pub fn open(host: &Host) -> Wire {
        Wire {
            stream: host.connect("mqtt"),
        }
    }

    /// A client of 3.1.1.
    pub fn connected(host: &Host, client_id: &str) -> Wire {
        let mut wire = Wire::open(host);
        wire.send(&connect(client_id));
        assert_eq!(wire.receive(), (0x20, vec![0, 0]), "{client_id}");
        wire
    }

    /// A client of 5.0.
    pub fn connected5(host: &Host, client_id: &str, properties: &[u8]) -> Wire {
        let mut wire = Wire::open(host);
        wire.send(&connect5(client_id, properties));
        let (first, body) = wire.receive();
        assert_eq!((first, body[1]), (0x20, 0), "{client_id}");
        wire
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// The next packet.
    pub fn receive(&mut self) -> (u8, Vec<u8>) {
        self.try_receive().unwrap()
    }

    pub fn try_receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut byte = [0];
        self.stream.read_exact(&mut byte)?;
        let [first] = byte;
        let (mut length, mut shift) = (0, 0);
        loop {
            self.stream.read_exact(&mut byte)?;
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((first, body))
    }

    /// Sends and asks for exactly this answer.
    pub fn exchange(&mut self, send: &[u8], first: u8, body: &[u8]) {
        self.send(send);
        assert_eq!(self.receive(), (first, body.to_vec()));
    }

    /// The broker answers.
    pub fn ping(&mut self) {
        self.exchange(b"\xc0\x00", 0xd0, b"");
    }

    /// What still comes until the broker ends the connection; a reset ends it as well.
    pub fn end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        if let Err(error) = self.stream.read_to_end(&mut rest) {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        }
        rest
    }

    /// Leaves without a word, and waits until the broker knows.
    pub fn leave(self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self.end();
    }
}
