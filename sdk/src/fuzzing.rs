//! The decoders of this crate for the fuzz targets of a plugin, which are a crate of their own.

use std::net::{IpAddr, SocketAddr};

use crate::proxy::{Header, parse};

/// Reads a PROXY header: no beginning of one is taken for the whole, what follows is not part of it, and what it says
/// of a client is written as version 2 has it.
pub fn proxy(bytes: &[u8]) {
    let Ok(Some(parsed)) = parse(bytes) else {
        return;
    };
    for end in 0..parsed.length {
        assert_eq!(parse(&bytes[..end]), Ok(None), "cut at {end}");
    }
    assert_eq!(parse(&bytes[..parsed.length]), Ok(Some(parsed)));
    let Header::Client {
        source,
        destination,
        tls,
    } = parsed.header
    else {
        return;
    };
    let addresses = addresses(source, destination);
    if bytes.starts_with(b"P") {
        let family = if source.is_ipv4() { 0x11 } else { 0x21 };
        let start = &b"\r\n\r\n\x00\r\nQUIT\n\x21"[..];
        let header = [start, &[family, 0, addresses.len() as u8], &addresses[..]].concat();
        let again = parse(&header).ok().flatten();
        assert_eq!(again.map(|again| again.header), Some(parsed.header));
        assert!(!tls, "version 1 does not tell");
    } else {
        assert_eq!(bytes.get(16..16 + addresses.len()), Some(&addresses[..]));
    }
}

fn addresses(source: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let ports = [source.port(), destination.port()].map(u16::to_be_bytes);
    [
        octets(source.ip()),
        octets(destination.ip()),
        ports.concat(),
    ]
    .concat()
}
