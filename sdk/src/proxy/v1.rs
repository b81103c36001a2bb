//! Version 1: a line of text (section 2.1).

use std::net::{IpAddr, SocketAddr};

use super::{Header, Invalid, Parsed};

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line with its end: the worst case that section 2.1 counts out.
const LONGEST: usize = 107;

pub(super) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, Invalid> {
    let within = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return match bytes.len() {
            0..LONGEST => Ok(None),
            _ => Err(Invalid::LongLine),
        };
    };
    let line = std::str::from_utf8(&within[SIGNATURE.len().min(end)..end])
        .map_err(|_| Invalid::Addresses)?;
    let header = match line.split_once(' ') {
        // What follows UNKNOWN is to be ignored.
        None if line == "UNKNOWN" => Header::Own,
        Some(("UNKNOWN", _)) => Header::Own,
        Some((family @ ("TCP4" | "TCP6"), rest)) => {
            client(rest, family == "TCP4").ok_or(Invalid::Addresses)?
        }
        _ => return Err(Invalid::Addresses),
    };
    Ok(Some(Parsed {
        header,
        length: end + 2,
    }))
}

/// `SOURCE DESTINATION PORT PORT`, with one blank between.
fn client(text: &str, is_ipv4: bool) -> Option<Header> {
    let mut words = text.split(' ');
    let mut address = || -> Option<IpAddr> {
        let address: IpAddr = words.next()?.parse().ok()?;
        (address.is_ipv4() == is_ipv4).then_some(address)
    };
    let (source, destination) = (address()?, address()?);
    let mut port = || -> Option<u16> {
        let word = words.next()?;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit())
            && (word.len() == 1 || !word.starts_with('0'));
        plain.then(|| word.parse().ok()).flatten()
    };
    let (from, to) = (port()?, port()?);
    words.next().is_none().then_some(Header::Client {
        source: SocketAddr::new(source, from),
        destination: SocketAddr::new(destination, to),
        tls: false,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(line: &str) -> Result<Option<Header>, Invalid> {
        Ok(super::super::parse(line.as_bytes())?.map(|parsed| parsed.header))
    }

    #[test]
    fn the_lines_of_the_specification_are_understood() {
        // Section 2.1: the example, and the worst cases of each family.
        let example = "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n";
        assert_eq!(
            super::super::parse(example.as_bytes()),
            Ok(Some(Parsed {
                header: Header::Client {
                    source: "192.168.0.1:56324".parse().unwrap(),
                    destination: "192.168.0.11:443".parse().unwrap(),
                    tls: false,
                },
                length: 47,
            }))
        );
        for line in [
            "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ] {
            assert!(
                matches!(header(line), Ok(Some(Header::Client { .. }))),
                "{line}"
            );
        }
        for line in [
            "PROXY UNKNOWN\r\n",
            "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
        ] {
            assert_eq!(header(line), Ok(Some(Header::Own)), "{line}");
        }
    }

    #[test]
    fn what_the_specification_does_not_allow_is_refused() {
        for line in [
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443 1\r\n",
            "PROXY TCP4  192.168.0.1 192.168.0.11 56324 443\r\n",
            "PROXY TCP4 ::1 ::1 56324 443\r\n",
            "PROXY TCP6 192.168.0.1 192.168.0.11 56324 443\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 056 443\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 +56 443\r\n",
            "PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n",
            "PROXY TCP4 localhost 192.168.0.11 1 443\r\n",
            "PROXY UDP4 192.168.0.1 192.168.0.11 1 443\r\n",
            "PROXY tcp4 192.168.0.1 192.168.0.11 1 443\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWNS\r\n",
        ] {
            assert_eq!(header(line), Err(Invalid::Addresses), "{line}");
        }
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        assert_eq!(header(&long), Err(Invalid::LongLine));
        assert_eq!(header("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), Ok(None));
    }

    proptest! {
        #[test]
        fn every_pair_of_addresses_is_understood(
            v6 in any::<bool>(), one in any::<u128>(), two in any::<u128>(), ports in any::<(u16, u16)>(),
        ) {
            let address = |bits: u128| -> IpAddr {
                if v6 { std::net::Ipv6Addr::from_bits(bits).into() }
                else { std::net::Ipv4Addr::from_bits(bits as u32).into() }
            };
            let family = if v6 { "TCP6" } else { "TCP4" };
            let line = format!("PROXY {family} {} {} {} {}\r\n", address(one), address(two), ports.0, ports.1);
            prop_assert_eq!(header(&line), Ok(Some(Header::Client {
                source: SocketAddr::new(address(one), ports.0),
                destination: SocketAddr::new(address(two), ports.1),
                tls: false,
            })));
        }
    }
}
