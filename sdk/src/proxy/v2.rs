//! Version 2: binary (section 2.2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c::crc32c;
use super::{Header, Invalid, Parsed};

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";

/// Signature, version and command, family, length.
const FIXED: usize = 16;
/// The most bytes after those. The specification allows 65,535; what proxies send fits in hundreds.
pub(super) const LONGEST: usize = 4096;

/// Extensions that are looked at: the others are passed over (section 2.2.7: "may be ignored").
const PP2_TYPE_CRC32C: u8 = 0x03;
const PP2_TYPE_SSL: u8 = 0x20;
/// Bit of the SSL extension's first byte: the client came by TLS.
const PP2_CLIENT_SSL: u8 = 0x01;

const LOCAL: u8 = 0;
const PROXY: u8 = 1;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, Invalid> {
    let Some((&[command, family, high, low], _)) = bytes
        .get(SIGNATURE.len()..)
        .and_then(|rest| rest.split_first_chunk::<4>())
    else {
        return Ok(None);
    };
    let (version, command) = (command >> 4, command & 0x0f);
    if version != 2 || command > PROXY {
        return Err(Invalid::Command);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > LONGEST {
        return Err(Invalid::Long);
    }
    let Some(whole) = bytes.get(..FIXED + length) else {
        return Ok(None);
    };
    let header = read(whole, command, family)?;
    Ok(Some(Parsed {
        header,
        length: whole.len(),
    }))
}

/// Reads a header that is there to its end.
fn read(whole: &[u8], command: u8, family: u8) -> Result<Header, Invalid> {
    let body = &whole[FIXED..];
    // Section 2.2: the upper half is the family, the lower the transport; a receiver of streams can use STREAM.
    let (addresses, length) = match (command, family) {
        // A health check of the proxy: what family it names does not matter.
        (LOCAL, _) | (_, 0x00) => return Ok(Header::Own),
        (_, 0x11) => (ipv4(body), 12),
        (_, 0x21) => (ipv6(body), 36),
        (_, 0x31) => (body.get(..216).map(|_| None), 216),
        _ => return Err(Invalid::Command),
    };
    let addresses = addresses.ok_or(Invalid::Short)?;
    let tls = extensions(whole, FIXED + length)?;
    Ok(match addresses {
        Some((source, destination)) => Header::Client {
            source,
            destination,
            tls,
        },
        None => Header::Unix,
    })
}

type Addresses = Option<Option<(SocketAddr, SocketAddr)>>;

fn ipv4(body: &[u8]) -> Addresses {
    let (source, rest) = body.split_first_chunk::<4>()?;
    let (destination, rest) = rest.split_first_chunk::<4>()?;
    let ip = |octets: &[u8; 4]| IpAddr::V4(Ipv4Addr::from(*octets));
    ports(ip(source), ip(destination), rest)
}

fn ipv6(body: &[u8]) -> Addresses {
    let (source, rest) = body.split_first_chunk::<16>()?;
    let (destination, rest) = rest.split_first_chunk::<16>()?;
    let ip = |octets: &[u8; 16]| IpAddr::V6(Ipv6Addr::from(*octets));
    ports(ip(source), ip(destination), rest)
}

fn ports(source: IpAddr, destination: IpAddr, rest: &[u8]) -> Addresses {
    let (&[a, b, c, d], _) = rest.split_first_chunk::<4>()?;
    Some(Some((
        SocketAddr::new(source, u16::from_be_bytes([a, b])),
        SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    )))
}

/// Walks over the extensions (section 2.2.7); whether one says that the client came by TLS.
fn extensions(whole: &[u8], start: usize) -> Result<bool, Invalid> {
    let mut tls = false;
    let mut at = start;
    while let Some(rest) = whole.get(at..).filter(|rest| !rest.is_empty()) {
        let (&[kind, high, low], rest) =
            rest.split_first_chunk::<3>().ok_or(Invalid::Extensions)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(..length).ok_or(Invalid::Extensions)?;
        match kind {
            PP2_TYPE_SSL => tls |= value.first().is_some_and(|bits| bits & PP2_CLIENT_SSL != 0),
            PP2_TYPE_CRC32C => check(whole, at + 3, value)?,
            _ => {}
        }
        at += 3 + length;
    }
    Ok(tls)
}

/// Section 2.2.7.3: the checksum is that of the whole header with the checksum's own bytes as zero.
fn check(whole: &[u8], at: usize, value: &[u8]) -> Result<(), Invalid> {
    let expected: [u8; 4] = value.try_into().map_err(|_| Invalid::Checksum)?;
    let parts = [&whole[..at], &[0; 4], &whole[at + 4..]];
    if crc32c(&parts) == u32::from_be_bytes(expected) {
        Ok(())
    } else {
        Err(Invalid::Checksum)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    fn parsed(bytes: &[u8]) -> Result<Header, Invalid> {
        super::super::parse(bytes).map(|parsed| {
            let parsed = parsed.expect("it is whole");
            assert_eq!(parsed.length, bytes.len());
            parsed.header
        })
    }

    const V4: [u8; 12] = [192, 168, 0, 1, 192, 168, 0, 11, 0xdc, 0x04, 0x01, 0xbb];

    fn client(tls: bool) -> Result<Header, Invalid> {
        Ok(Header::Client {
            source: "192.168.0.1:56324".parse().unwrap(),
            destination: "192.168.0.11:443".parse().unwrap(),
            tls,
        })
    }

    #[test]
    fn each_family_is_understood() {
        assert_eq!(parsed(&header(0x21, 0x11, &V4)), client(false));
        let mut v6 = [0; 36];
        v6[15] = 1;
        v6[31] = 2;
        v6[32..].copy_from_slice(&[0, 80, 1, 187]);
        assert_eq!(
            parsed(&header(0x21, 0x21, &v6)),
            Ok(Header::Client {
                source: "[::1]:80".parse().unwrap(),
                destination: "[::2]:443".parse().unwrap(),
                tls: false
            })
        );
        assert_eq!(parsed(&header(0x21, 0x31, &[7; 216])), Ok(Header::Unix));
        for bytes in [
            header(0x21, 0x00, b""),
            header(0x21, 0x00, b"anything"),
            header(0x20, 0x00, b""),
            header(0x20, 0x11, &V4),
        ] {
            assert_eq!(parsed(&bytes), Ok(Header::Own), "{bytes:?}");
        }
    }

    #[test]
    fn extensions_are_passed_over_and_tls_is_noticed() {
        let with = |more: &[u8]| header(0x21, 0x11, &[&V4[..], more].concat());
        assert_eq!(parsed(&with(b"\x02\x00\x03a.b\x04\x00\x00")), client(false));
        // PP2_TYPE_SSL with verify and a version inside; the client bit decides.
        let ssl = |bits: u8| {
            with(&[
                0x20, 0, 12, bits, 0, 0, 0, 0, 0x21, 0, 4, b'T', b'L', b'S', b'1',
            ])
        };
        assert_eq!(parsed(&ssl(1)), client(true));
        assert_eq!(parsed(&ssl(6)), client(false));
        for wrong in [&b"\x02"[..], b"\x02\x00", b"\x02\x00\x04abc"] {
            assert_eq!(parsed(&with(wrong)), Err(Invalid::Extensions), "{wrong:?}");
        }
    }

    #[test]
    fn a_checksum_is_held_to_where_there_is_one() {
        let mut bytes = header(
            0x21,
            0x11,
            &[&V4[..], b"\x03\x00\x04\0\0\0\0\x04\x00\x01x"].concat(),
        );
        let at = FIXED + V4.len() + 3;
        let sum = crc32c(&[&bytes]).to_be_bytes();
        bytes[at..at + 4].copy_from_slice(&sum);
        assert_eq!(parsed(&bytes), client(false));
        bytes[FIXED] ^= 1;
        assert_eq!(parsed(&bytes), Err(Invalid::Checksum));
        let short = header(0x21, 0x11, &[&V4[..], b"\x03\x00\x02ab"].concat());
        assert_eq!(parsed(&short), Err(Invalid::Checksum));
    }

    #[test]
    fn what_the_specification_does_not_allow_is_refused() {
        assert_eq!(parsed(&header(0x11, 0x11, &V4)), Err(Invalid::Command));
        assert_eq!(parsed(&header(0x22, 0x11, &V4)), Err(Invalid::Command));
        assert_eq!(parsed(&header(0x21, 0x12, &V4)), Err(Invalid::Command));
        assert_eq!(parsed(&header(0x21, 0x41, &V4)), Err(Invalid::Command));
        assert_eq!(parsed(&header(0x21, 0x11, &V4[..11])), Err(Invalid::Short));
        assert_eq!(parsed(&header(0x21, 0x21, &V4)), Err(Invalid::Short));
        assert_eq!(parsed(&header(0x21, 0x31, &[0; 215])), Err(Invalid::Short));
        assert_eq!(
            parsed(&header(0x21, 0x11, &[0; LONGEST + 1])),
            Err(Invalid::Long)
        );
    }

    proptest! {
        #[test]
        fn any_body_is_read_without_a_panic(
            command in 0x20u8..0x22, family in prop_oneof![Just(0x11u8), Just(0x21), Just(0x31), any::<u8>()],
            body in proptest::collection::vec(any::<u8>(), 0..300),
        ) {
            let _ = parse(&header(command, family, &body));
        }
    }
}
