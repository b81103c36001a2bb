//! How a data connection comes about.

use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::warn;

/// Connections that may wait to be accepted; strangers could take a place.
const BACKLOG: u32 = 8;

/// Listens on a free port of the range, beginning at one that cannot be guessed.
pub(super) fn listen(local: IpAddr, ports: RangeInclusive<u16>) -> io::Result<TcpListener> {
    let (low, high) = (u64::from(*ports.start()), u64::from(*ports.end()));
    let count = high - low + 1;
    // every RandomState has keys of its own
    let first = std::hash::RandomState::new().build_hasher().finish() % count;
    for step in 0..count {
        let port = low + (first + step) % count;
        let address = SocketAddr::new(local, u16::try_from(port).unwrap_or(u16::MAX));
        match bind(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
            other => return other,
        }
    }
    Err(io::Error::other(format!("all of {low}-{high} are in use")))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    // a port whose last connection is in TIME_WAIT can be used again
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Waits for the client; connections from elsewhere are closed (RFC 2577 section 4).
pub(super) async fn accept(listener: TcpListener, client: IpAddr) -> io::Result<TcpStream> {
    loop {
        let (stream, from) = listener.accept().await?;
        if from.ip().to_canonical() == client.to_canonical() {
            return Ok(stream);
        }
        warn!("data connection of {client} was tried from {from}");
    }
}

/// Connects to the client, from the address it reached.
pub(super) async fn connect(local: IpAddr, client: SocketAddr) -> io::Result<TcpStream> {
    // a client on an IPv6 socket may name its IPv4 address, and the other way round
    let client = match local {
        IpAddr::V4(_) => SocketAddr::new(client.ip().to_canonical(), client.port()),
        IpAddr::V6(_) => client,
    };
    let socket = socket(client)?;
    if local.is_ipv4() == client.is_ipv4() {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(client).await
}

fn socket(address: SocketAddr) -> io::Result<TcpSocket> {
    if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}
