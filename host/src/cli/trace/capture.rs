//! A capture file (pcap, LINKTYPE_RAW) of what was seen, in packets made up around the bytes: IPv4 or IPv6 and
//! TCP with handshake, sequence numbers and end, so that Wireshark puts streams together and decodes by port.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::trace::wire::{Kind, Seen};

/// Packets are bare IP.
const LINKTYPE_RAW: u32 = 101;
/// Longer than any packet here.
const SNAPLEN: u32 = 262_144;
/// Bytes in one packet.
const SEGMENT: usize = 32 * 1024;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;

/// A capture under way. Each event is written whole, so that the file is good whenever the process ends.
pub struct Capture<W> {
    out: W,
    streams: HashMap<u64, Stream>,
}

struct Stream {
    client: SocketAddr,
    server: SocketAddr,
    /// From the client, and to it.
    sides: [Side; 2],
}

#[derive(Default)]
struct Side {
    /// The offset of the first byte seen.
    base: Option<u64>,
    /// The sequence number of what comes next.
    next: u32,
}

impl Capture<File> {
    /// Makes the file, readable by its owner alone.
    pub fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(Permissions::from_mode(0o600))?;
        }
        Self::new(file)
    }
}

impl<W: Write> Capture<W> {
    /// Writes the file's header.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut header = Vec::new();
        header.extend_from_slice(&0xa1b2_c3d4_u32.to_ne_bytes());
        header.extend_from_slice(&2_u16.to_ne_bytes());
        header.extend_from_slice(&4_u16.to_ne_bytes());
        header.extend_from_slice(&[0; 8]);
        header.extend_from_slice(&SNAPLEN.to_ne_bytes());
        header.extend_from_slice(&LINKTYPE_RAW.to_ne_bytes());
        out.write_all(&header)?;
        Ok(Self {
            out,
            streams: HashMap::new(),
        })
    }

    /// Writes the packets of one event.
    pub fn put(&mut self, seen: &Seen, bytes: &[u8]) -> io::Result<()> {
        let mut packets = Packets {
            at: seen.at,
            out: Vec::new(),
        };
        let stream = self.streams.entry(seen.connection).or_insert_with(|| {
            let mut stream = Stream::new(seen);
            stream.open(&mut packets);
            stream
        });
        match seen.event {
            Kind::Opened => {}
            Kind::Received => stream.data(0, seen.offset, bytes, &mut packets),
            Kind::Sent => stream.data(1, seen.offset, bytes, &mut packets),
            Kind::Closed => {
                stream.close(&mut packets);
                self.streams.remove(&seen.connection);
            }
        }
        self.out.write_all(&packets.out)
    }
}

impl Stream {
    fn new(seen: &Seen) -> Self {
        // A Unix socket has no address: the loopback one stands for it, the number for its port.
        let made_up = |port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let number = u16::try_from(seen.connection % 16_384).unwrap_or_default();
        let mut client = seen.peer.parse().unwrap_or(made_up(49_152 + number));
        let mut server = seen.local.parse().unwrap_or(made_up(1));
        if client.is_ipv4() != server.is_ipv4() {
            for end in [&mut client, &mut server] {
                if let IpAddr::V4(address) = end.ip() {
                    end.set_ip(address.to_ipv6_mapped().into());
                }
            }
        }
        Self {
            client,
            server,
            sides: Default::default(),
        }
    }

    fn open(&mut self, packets: &mut Packets) {
        self.segment(0, SYN, &[], packets);
        self.sides[0].next = 1;
        self.segment(1, SYN | ACK, &[], packets);
        self.sides[1].next = 1;
        self.segment(0, ACK, &[], packets);
    }

    fn data(&mut self, side: usize, offset: u64, bytes: &[u8], packets: &mut Packets) {
        let base = *self.sides[side].base.get_or_insert(offset);
        // Sequence numbers wrap around, and what was dropped leaves a gap in them.
        self.sides[side].next = (offset.wrapping_sub(base) as u32).wrapping_add(1);
        for segment in bytes.chunks(SEGMENT) {
            self.segment(side, PSH | ACK, segment, packets);
            let next = &mut self.sides[side].next;
            *next = next.wrapping_add(segment.len() as u32);
        }
    }

    fn close(&mut self, packets: &mut Packets) {
        for side in [1, 0] {
            self.segment(side, FIN | ACK, &[], packets);
            let next = &mut self.sides[side].next;
            *next = next.wrapping_add(1);
        }
        self.segment(1, ACK, &[], packets);
    }

    fn segment(&self, side: usize, flags: u8, payload: &[u8], packets: &mut Packets) {
        let (from, to) = match side {
            0 => (self.client, self.server),
            _ => (self.server, self.client),
        };
        let acknowledged = match flags & ACK {
            0 => 0,
            _ => self.sides[1 - side].next,
        };
        let mut tcp = Vec::with_capacity(20 + payload.len());
        tcp.extend_from_slice(&from.port().to_be_bytes());
        tcp.extend_from_slice(&to.port().to_be_bytes());
        tcp.extend_from_slice(&self.sides[side].next.to_be_bytes());
        tcp.extend_from_slice(&acknowledged.to_be_bytes());
        tcp.extend_from_slice(&[5 << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend_from_slice(payload);
        packets.put(from.ip(), to.ip(), tcp);
    }
}

/// Packets of one moment.
struct Packets {
    at: u64,
    out: Vec<u8>,
}

impl Packets {
    fn put(&mut self, from: IpAddr, to: IpAddr, mut tcp: Vec<u8>) {
        let length = tcp.len() as u16; // a segment and its header: far less
        let mut ip = Vec::with_capacity(40);
        let mut pseudo = Vec::with_capacity(40);
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                ip.extend_from_slice(&[0x45, 0]);
                ip.extend_from_slice(&(length + 20).to_be_bytes());
                // No identification, never fragmented, 64 hops, TCP, a checksum to come.
                ip.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
                ip.extend_from_slice(&from.octets());
                ip.extend_from_slice(&to.octets());
                let sum = checksum(&[&ip]);
                ip[10..12].copy_from_slice(&sum.to_be_bytes());
                pseudo.extend_from_slice(&ip[12..20]);
            }
            (from, to) => {
                let octets = |address: IpAddr| match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
                    IpAddr::V6(address) => address.octets(),
                };
                ip.extend_from_slice(&[0x60, 0, 0, 0]);
                ip.extend_from_slice(&length.to_be_bytes());
                ip.extend_from_slice(&[6, 64]);
                ip.extend_from_slice(&octets(from));
                ip.extend_from_slice(&octets(to));
                pseudo.extend_from_slice(&ip[8..40]);
            }
        }
        pseudo.extend_from_slice(&[0, 6]);
        pseudo.extend_from_slice(&length.to_be_bytes());
        let sum = checksum(&[&pseudo, &tcp]);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());

        let seconds = (self.at / 1_000_000) as u32; // pcap's field; wraps in 2106
        let micros = (self.at % 1_000_000) as u32;
        let size = (ip.len() + tcp.len()) as u32;
        for field in [seconds, micros, size, size] {
            self.out.extend_from_slice(&field.to_ne_bytes());
        }
        self.out.extend_from_slice(&ip);
        self.out.extend_from_slice(&tcp);
    }
}

/// The Internet checksum (RFC 1071) over parts, of which all but the last have an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or_default();
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(event: Kind, peer: &str, local: &str, offset: u64) -> Seen {
        Seen {
            at: 1_500_000,
            connection: 7,
            peer: peer.into(),
            local: local.into(),
            scheme: "tcp".into(),
            event,
            offset,
            length: 0,
            lines: Vec::new(),
            bytes: String::new(),
            dropped: 0,
        }
    }

    /// Flags, sequence number, acknowledged number and payload of each packet; all checksums are compared.
    fn read(file: &[u8], header: usize) -> Vec<(u8, u32, u32, Vec<u8>)> {
        let number = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().unwrap());
        let mut packets = Vec::new();
        let mut rest = &file[24..];
        while !rest.is_empty() {
            assert_eq!(rest[..4], 1_u32.to_ne_bytes());
            assert_eq!(rest[4..8], 500_000_u32.to_ne_bytes());
            let size = u32::from_ne_bytes(rest[8..12].try_into().unwrap()) as usize;
            let packet = &rest[16..16 + size];
            let (ip, tcp) = packet.split_at(header);
            let addresses = match header {
                20 => {
                    assert_eq!(checksum(&[ip]), 0);
                    &ip[12..]
                }
                _ => &ip[8..],
            };
            let length = (tcp.len() as u16).to_be_bytes();
            assert_eq!(checksum(&[addresses, &[0, 6], &length, tcp]), 0);
            packets.push((
                tcp[13],
                number(&tcp[4..8]),
                number(&tcp[8..12]),
                tcp[20..].to_vec(),
            ));
            rest = &rest[16 + size..];
        }
        packets
    }

    #[test]
    fn t35_a_stream_has_handshake_numbers_and_end() {
        for (peer, local, header) in [
            ("127.0.0.1:2", "127.0.0.1:1", 20),
            ("[::1]:2", "[::1]:1", 40),
            ("unix", "unix", 20),
            ("127.0.0.1:2", "[::1]:1", 40),
        ] {
            let mut capture = Capture::new(Vec::new()).unwrap();
            let mut put = |event, offset, bytes: &[u8]| {
                let seen = seen(event, peer, local, offset);
                capture.put(&seen, bytes).unwrap();
            };
            put(Kind::Opened, 0, b"");
            put(Kind::Received, 0, b"abc");
            put(Kind::Sent, 0, b"x");
            put(Kind::Received, 10, b"after a gap");
            put(Kind::Closed, 0, b"");
            let expected: [(u8, u32, u32, &[u8]); 9] = [
                (SYN, 0, 0, b""),
                (SYN | ACK, 0, 1, b""),
                (ACK, 1, 1, b""),
                (PSH | ACK, 1, 1, b"abc"),
                (PSH | ACK, 1, 4, b"x"),
                (PSH | ACK, 11, 2, b"after a gap"),
                (FIN | ACK, 2, 22, b""),
                (FIN | ACK, 22, 3, b""),
                (ACK, 3, 23, b""),
            ];
            let expected = expected.map(|(f, s, a, bytes)| (f, s, a, bytes.to_vec()));
            assert_eq!(read(&capture.out, header), expected, "{peer}");
        }
    }

    #[test]
    fn t35_a_long_piece_becomes_several_packets() {
        let mut capture = Capture::new(Vec::new()).unwrap();
        let bytes = vec![7; 3 * SEGMENT + 1];
        let seen = seen(Kind::Sent, "127.0.0.1:2", "127.0.0.1:1", 1 << 40);
        capture.put(&seen, &bytes).unwrap();
        let packets = read(&capture.out, 20);
        let sizes: Vec<usize> = packets[3..].iter().map(|packet| packet.3.len()).collect();
        assert_eq!(sizes, [SEGMENT, SEGMENT, SEGMENT, 1]);
        assert_eq!(packets[6].1, 1 + 3 * SEGMENT as u32);
    }
}
