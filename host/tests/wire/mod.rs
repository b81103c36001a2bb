//! Clients of every service that say exactly the bytes a test wants said.
//!
//! Polite clients clean paths up and hide what broke; attacks need those that do neither.

#![allow(dead_code, reason = "each test file uses a part of these clients")]

pub mod ftp;
pub mod http;
pub mod mqtt;
pub mod tcp_files;

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use polyport_testkit::PATIENCE;
use socket2::{Domain, Socket, Type};

/// Bytes of a file that nobody reads to its end; sparse, so that it takes no room.
pub const ENDLESS: u64 = 64 << 30;

/// Connects with a small receive buffer, so that what is cut off is seen soon.
pub fn connect(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads at a walking pace until the stream ends or breaks; how much came. Panics when it goes on
/// for longer than [`PATIENCE`].
pub fn read_slowly(stream: &mut impl Read, from: &str) -> u64 {
    let begin = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return total,
            Ok(read) => total += read as u64,
            Err(error) if is_broken(&error) => return total,
            Err(error) => panic!("{from}: {error} after {total} bytes"),
        }
        assert!(begin.elapsed() < PATIENCE, "{from} was not cut off");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether the other end has gone, as opposed to keeping silent.
pub fn is_broken(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected
    )
}
