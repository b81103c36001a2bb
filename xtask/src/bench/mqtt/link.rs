//! A client's connection: packets come out of it whole, and go in together in one write.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketType};

use super::packets::{CONNACK, Connect, SUBACK, split, subscribe};
use crate::Outcome;

/// Time for a packet that is due.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes read at once, of all links in turns.
const READ: usize = 256 * 1024;

/// Where the links of a load read to.
pub struct Scratch(Vec<u8>);

impl Scratch {
    pub fn new() -> Self {
        Self(vec![0; READ])
    }
}

pub struct Link {
    stream: TcpStream,
    /// Bytes still to be written.
    pub out: Vec<u8>,
    /// The begin of a packet.
    partial: Vec<u8>,
    /// Waits until the socket takes more.
    blocked: bool,
}

impl Link {
    /// A session that begins now.
    pub fn connect(port: u16, connect: Connect<'_>) -> Outcome<Self> {
        let stream = open(Ipv4Addr::LOCALHOST, port)?;
        stream
            .set_read_timeout(Some(PATIENCE))
            .map_err(|e| format!("no time limit: {e}"))?;
        let mut link = Self::of(stream);
        link.ask(&connect.packet(), &[CONNACK << 4, 2, 0, 0])?;
        Ok(link)
    }

    fn of(stream: TcpStream) -> Self {
        Self {
            stream,
            out: Vec::new(),
            partial: Vec::new(),
            blocked: false,
        }
    }

    pub fn subscribe(&mut self, filter: &str, qos: u8) -> Outcome {
        self.ask(&subscribe(filter, qos), &[SUBACK << 4, 3, 0, 1, qos])
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

    /// Has `epoll` report this link as `index`; from here on nothing waits.
    pub fn watch(&self, epoll: &impl std::os::fd::AsFd, index: usize) -> Outcome {
        self.stream
            .set_nonblocking(true)
            .map_err(|e| format!("cannot stop blocking: {e}"))?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(epoll, &self.stream, data, epoll::EventFlags::IN)
            .map_err(|e| format!("epoll: {e}"))
    }

    /// Reads once and hands on each whole packet: first byte, body, and where answers go.
    pub fn receive(
        &mut self,
        scratch: &mut Scratch,
        mut handle: impl FnMut(u8, &[u8], &mut Vec<u8>) -> Outcome,
    ) -> Outcome {
        let kept = self.partial.len();
        if kept * 2 > scratch.0.len() {
            return Err("the broker sent a packet that nobody published".into());
        }
        let (before, space) = scratch.0.split_at_mut(kept);
        before.copy_from_slice(&self.partial);
        let filled = match self.stream.read(space) {
            Ok(0) => return Err("the broker closed a connection".into()),
            Ok(count) => kept + count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(e) => return Err(format!("cannot receive: {e}")),
        };
        let mut rest = scratch.0.get(..filled).unwrap_or_default();
        while let Some((first, body, after)) = split(rest) {
            handle(first, body, &mut self.out)?;
            rest = after;
        }
        self.partial.clear();
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self, epoll: &impl std::os::fd::AsFd, index: usize) -> Outcome {
        if !self.out.is_empty() {
            match self.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(e) => return Err(format!("cannot send: {e}")),
            }
        }
        let blocked = !self.out.is_empty();
        if blocked != self.blocked {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, blocked);
            let data = epoll::EventData::new_u64(index as u64);
            epoll::modify(epoll, &self.stream, data, flags).map_err(|e| format!("epoll: {e}"))?;
            self.blocked = blocked;
        }
        Ok(())
    }
}

/// A connection from this address of the loopback network, which has ports of its own.
pub fn open(from: Ipv4Addr, port: u16) -> Outcome<TcpStream> {
    let opened = || -> std::io::Result<TcpStream> {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddrV4::new(from, 0))?;
        rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        Ok(stream)
    };
    opened().map_err(|e| format!("cannot connect: {e}"))
}
