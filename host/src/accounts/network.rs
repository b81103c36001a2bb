//! Networks an account may come from: `192.168.1.0/24`, `2001:db8::/32`, `10.0.0.1`, `any`,
//! `loopback`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and the number of leading bits that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// This machine, by both families.
    pub const LOOPBACK: [Self; 2] = [
        Self {
            address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
            prefix: 8,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::LOCALHOST),
            prefix: 128,
        },
    ];

    /// Every address of both families.
    const ANY: [Self; 2] = [
        Self {
            address: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            prefix: 0,
        },
        Self {
            address: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            prefix: 0,
        },
    ];

    /// The networks that one word of a `from` list stands for.
    pub fn parse(word: &str) -> Option<Vec<Self>> {
        match word {
            "any" => return Some(Self::ANY.to_vec()),
            "loopback" => return Some(Self::LOOPBACK.to_vec()),
            _ => {}
        }
        let (address, prefix) = match word.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (word, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(digits) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            Some(_) => return None,
        };
        (prefix <= bits).then(|| vec![Self { address, prefix }])
    }

    /// Whether `address`, with IPv4 in its plain form, is in this network.
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

/// Whether a peer is in one of `networks`. A peer without an address came by a Unix socket: it is
/// on this machine, and counts as both loopback addresses.
pub fn admits(networks: &[Network], peer: Option<IpAddr>) -> bool {
    let among = |address| networks.iter().any(|network| network.contains(address));
    match peer {
        Some(address) => among(address.to_canonical()),
        None => among(IpAddr::V4(Ipv4Addr::LOCALHOST)) || among(IpAddr::V6(Ipv6Addr::LOCALHOST)),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admitted(word: &str, peer: &str) -> bool {
        admits(&Network::parse(word).unwrap(), Some(peer.parse().unwrap()))
    }

    #[test]
    fn prefixes_count_their_bits() {
        assert!(admitted("192.168.1.0/24", "192.168.1.255"));
        assert!(!admitted("192.168.1.0/24", "192.168.2.0"));
        assert!(admitted("192.168.1.77/24", "192.168.1.1"));
        assert!(admitted("10.0.0.1", "10.0.0.1"));
        assert!(!admitted("10.0.0.1", "10.0.0.2"));
        assert!(admitted("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(!admitted("2001:db8::/32", "2001:db9::1"));
        assert!(admitted("any", "203.0.113.9") && admitted("any", "2001:db8::1"));
        assert!(!admitted("0.0.0.0/0", "2001:db8::1"));
    }

    #[test]
    fn a_mapped_address_is_its_v4_address() {
        assert!(admitted("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(!admitted("::/0", "::ffff:127.0.0.1"));
    }

    #[test]
    fn a_unix_socket_is_this_machine() {
        assert!(admits(&Network::LOOPBACK, None));
        assert!(admits(&Network::parse("::1").unwrap(), None));
        assert!(!admits(&Network::parse("10.0.0.0/8").unwrap(), None));
    }

    #[test]
    fn other_words_are_refused() {
        for wrong in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/ 8",
            "10.0.0",
            "host",
            "/8",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_network_reads_back_and_holds_its_address(address in any::<IpAddr>(), prefix in 0u8..=32) {
            let network = Network::parse(&format!("{address}/{prefix}")).unwrap();
            prop_assert_eq!(Network::parse(&network[0].to_string()).unwrap(), network.clone());
            prop_assert!(network[0].contains(address));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[0-9a-f.:/]{0,30}") {
            let _ = Network::parse(&text);
            let _ = Network::parse(&near);
        }
    }
}
