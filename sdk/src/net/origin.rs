//! Where a client comes from and what its connection proved of it.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::Arc;

/// Where a client comes from and what its connection proved of it. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Origin {
    peer: SmallPeer,
    secure: bool,
    /// Boxed: few have one, and each connection would carry its length.
    certificate: Option<Box<Arc<[u8]>>>,
}

impl Origin {
    /// Of a connection without TLS. What passes over a Unix socket cannot be overheard, so that counts as secure.
    #[must_use]
    pub fn new(peer: Peer) -> Self {
        Self {
            peer: peer.into(),
            secure: peer == Peer::Unix,
            certificate: None,
        }
    }

    /// Of a client that a trusted proxy speaks for, or another instance; `secure` says how it reached those.
    pub(crate) fn told(peer: Peer, secure: bool) -> Self {
        Self {
            peer: peer.into(),
            secure,
            certificate: None,
        }
    }

    /// As this, with what the stream's TLS proved: after a handshake that the plugin asked for.
    #[must_use]
    pub fn over(self, stream: &super::Stream) -> Self {
        match stream.tls() {
            Some(facts) => self.over_tls(facts.certificate.clone()),
            None => self,
        }
    }

    /// As this, for a client that asks to be taken for nobody: its certificate plays no part.
    #[must_use]
    pub fn without_certificate(self) -> Self {
        Self {
            certificate: None,
            ..self
        }
    }

    pub(crate) fn over_tls(self, certificate: Option<Arc<[u8]>>) -> Self {
        Self {
            secure: true,
            certificate: certificate.map(Box::new),
            ..self
        }
    }

    /// Its address; behind a proxy that tells it, the client's own.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer.get()
    }

    /// Whether nobody on the way can overhear a password: TLS, or a Unix socket.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.secure
    }

    /// The certificate that the client proved to own, in DER.
    #[must_use]
    pub fn certificate(&self) -> Option<&[u8]> {
        self.certificate
            .as_deref()
            .map(|certificate| &**certificate)
    }
}

/// Where a client comes from, or which of our addresses it reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address and port.
    Ip(SocketAddr),
    /// A Unix socket.
    Unix,
}

impl Peer {
    /// The IP address, if there is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }

    /// The port; 0 for a Unix socket.
    #[must_use]
    pub fn port(&self) -> u16 {
        match self {
            Self::Ip(address) => address.port(),
            Self::Unix => 0,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix => f.write_str("unix"),
        }
    }
}

/// A [`Peer`] in half the room, for what is kept of each of many connections.
#[derive(Debug, Clone)]
pub struct SmallPeer(Small);

#[derive(Debug, Clone)]
enum Small {
    V4(SocketAddrV4),
    V6(Box<SocketAddrV6>),
    Unix,
}

impl SmallPeer {
    /// In full.
    #[must_use]
    pub fn get(&self) -> Peer {
        match &self.0 {
            Small::V4(address) => Peer::Ip((*address).into()),
            Small::V6(address) => Peer::Ip((**address).into()),
            Small::Unix => Peer::Unix,
        }
    }
}

impl From<Peer> for SmallPeer {
    fn from(peer: Peer) -> Self {
        Self(match peer {
            Peer::Ip(SocketAddr::V4(address)) => Small::V4(address),
            Peer::Ip(SocketAddr::V6(address)) => Small::V6(Box::new(address)),
            Peer::Unix => Small::Unix,
        })
    }
}

impl fmt::Display for SmallPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_peer_is_the_same_in_half_the_room() {
        let addresses = ["192.0.2.1:1883", "[2001:db8::1]:1883", "[fe80::1%3]:9"];
        let mut peers: Vec<Peer> = addresses
            .iter()
            .map(|address| Peer::Ip(address.parse().unwrap()))
            .collect();
        peers.push(Peer::Unix);
        for peer in peers {
            let small = SmallPeer::from(peer);
            assert_eq!(small.get(), peer);
            assert_eq!(small.to_string(), peer.to_string());
        }
        assert_eq!(size_of::<SmallPeer>() * 2, size_of::<Peer>());
    }
}
