//! How many connections services have, of whom, and how fast they come: counted here, for all instances that a
//! service has had, so that a swap forgets nobody.
//!
//! What an operator wrote is `config::limits`; instances ask by `limits/1` who is let in.

mod bucket;
mod counts;
pub mod descriptors;
mod rules;

use std::net::{IpAddr, Ipv6Addr};

pub use counts::{Admission, Counts, Refused};
pub use rules::{Rules, connections, problems, rules};

/// What counts as one address: an IPv4 address, or the 64 leading bits of an IPv6 one, which is what a single
/// customer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source(IpAddr);

impl From<IpAddr> for Source {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
            address => address,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_of_ipv4_or_a_network_of_ipv6() {
        let source = |text: &str| Source::from(text.parse::<IpAddr>().unwrap());
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_eq!(source("2001:db8::1"), source("2001:db8::ffff:0:1"));
        assert_ne!(source("2001:db8::1"), source("2001:db8:0:1::1"));
    }
}
