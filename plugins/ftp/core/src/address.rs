//! Host-port arguments: RFC 959 `h1,h2,h3,h4,p1,p2` and RFC 2428 `|proto|addr|port|`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// RFC 2428 network protocol numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetworkProtocol {
    /// 1
    Ipv4,
    /// 2
    Ipv6,
}

impl NetworkProtocol {
    /// The protocol of an address, IPv4-mapped IPv6 counting as IPv4.
    pub fn of(address: IpAddr) -> Self {
        if address.to_canonical().is_ipv4() {
            Self::Ipv4
        } else {
            Self::Ipv6
        }
    }

    /// The number on the wire.
    pub fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 1,
            Self::Ipv6 => 2,
        }
    }
}

/// Why an EPRT or EPSV argument was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAddress {
    /// Not of the standard's form.
    Syntax,
    /// A network protocol other than 1 and 2: reply 522.
    Protocol,
}

/// Parses PORT's `h1,h2,h3,h4,p1,p2`.
pub fn parse_host_port(argument: &str) -> Option<SocketAddr> {
    let mut numbers = [0_u8; 6];
    let mut fields = argument.trim().split(',');
    for number in &mut numbers {
        *number = decimal(fields.next()?.trim())?;
    }
    if fields.next().is_some() {
        return None;
    }
    let [a, b, c, d, high, low] = numbers;
    Some(SocketAddr::new(
        Ipv4Addr::new(a, b, c, d).into(),
        u16::from_be_bytes([high, low]),
    ))
}

/// Writes the argument of the 227 reply.
pub fn format_host_port(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("{a},{b},{c},{d},{high},{low}")
}

/// Parses EPRT's `|1|132.235.1.2|6275|`; any printable ASCII character may delimit.
///
/// # Errors
/// [`BadAddress`], telling 501 from 522.
pub fn parse_extended(argument: &str) -> Result<SocketAddr, BadAddress> {
    let delimiter = argument.chars().next().ok_or(BadAddress::Syntax)?;
    if !delimiter.is_ascii_graphic() {
        return Err(BadAddress::Syntax);
    }
    let fields: Vec<&str> = argument.split(delimiter).collect();
    let ["", protocol, address, port, ""] = fields[..] else {
        return Err(BadAddress::Syntax);
    };
    let address: IpAddr = match parse_protocol(protocol)? {
        NetworkProtocol::Ipv4 => address
            .parse::<Ipv4Addr>()
            .map_err(|_| BadAddress::Syntax)?
            .into(),
        NetworkProtocol::Ipv6 => address
            .parse::<Ipv6Addr>()
            .map_err(|_| BadAddress::Syntax)?
            .into(),
    };
    Ok(SocketAddr::new(
        address,
        decimal(port).ok_or(BadAddress::Syntax)?,
    ))
}

/// Parses a network protocol number.
///
/// # Errors
/// [`BadAddress::Syntax`] for what is no number, [`BadAddress::Protocol`] for another number.
pub fn parse_protocol(argument: &str) -> Result<NetworkProtocol, BadAddress> {
    match decimal::<u32>(argument).ok_or(BadAddress::Syntax)? {
        1 => Ok(NetworkProtocol::Ipv4),
        2 => Ok(NetworkProtocol::Ipv6),
        _ => Err(BadAddress::Protocol),
    }
}

/// A decimal number of digits only: no sign, no space.
fn decimal<T: std::str::FromStr>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_port_both_ways() {
        let address = parse_host_port("192,168,0,112,167,162").unwrap();
        assert_eq!(address, "192.168.0.112:42914".parse().unwrap());
        assert_eq!(
            format_host_port(Ipv4Addr::new(192, 168, 0, 112), 42914),
            "192,168,0,112,167,162"
        );
        for bad in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,6,7",
            "256,2,3,4,5,6",
            "a,2,3,4,5,6",
            "1,2,3,4,5,+6",
        ] {
            assert_eq!(parse_host_port(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn extended_addresses_of_rfc_2428_section_2() {
        assert_eq!(
            parse_extended("|1|132.235.1.2|6275|"),
            Ok("132.235.1.2:6275".parse().unwrap())
        );
        assert_eq!(
            parse_extended("|2|1080::8:800:200C:417A|5282|"),
            Ok("[1080::8:800:200c:417a]:5282".parse().unwrap())
        );
        assert_eq!(
            parse_extended("!2!::1!5282!"),
            Ok("[::1]:5282".parse().unwrap())
        );
        assert_eq!(parse_extended("|3|x|1|"), Err(BadAddress::Protocol));
        for bad in [
            "",
            "|",
            "|1|::1|5282|",
            "|1|1.2.3.4|99999|",
            "|1|1.2.3.4|21",
            " 1 1.2.3.4 21 ",
            "é1é",
        ] {
            assert_eq!(parse_extended(bad), Err(BadAddress::Syntax), "{bad:?}");
        }
    }
}
