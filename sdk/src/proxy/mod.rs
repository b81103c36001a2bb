//! The PROXY protocol, versions 1 and 2, as HAProxy's `doc/proxy-protocol.txt` has it: what a proxy says of the
//! client that it speaks for, in front of everything else.
//!
//! Pure: bytes in, a header out. Whom to believe is decided by the host.

mod crc32c;
mod v1;
mod v2;

use std::net::SocketAddr;

pub(crate) use receive::receive;

mod receive;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// The proxy speaks for itself, or does not know: the connection's own addresses hold.
    Own,
    /// The proxy speaks for this client.
    Client {
        /// Its address.
        source: SocketAddr,
        /// The address that it reached.
        destination: SocketAddr,
        /// Whether it reached the proxy by TLS.
        tls: bool,
    },
    /// The proxy speaks for a client on its own machine that came by a Unix socket.
    Unix,
}

/// A header and the number of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) header: Header,
    pub(crate) length: usize,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    #[error("expected a PROXY header, got something else")]
    NoHeader,
    #[error("expected a line that ends within 107 bytes")]
    LongLine,
    #[error("expected addresses and ports of the family named")]
    Addresses,
    #[error("expected command 0 or 1 and a family and transport that exist")]
    Command,
    #[error("expected at most {} bytes of addresses and extensions", v2::LONGEST)]
    Long,
    #[error("expected more bytes for the addresses of the family named")]
    Short,
    #[error("expected extensions that end with the header")]
    Extensions,
    #[error("expected another checksum")]
    Checksum,
}

/// Reads a header off the front of `bytes`; none yet if it goes on. Every byte of an unfinished header belongs to
/// it.
///
/// # Errors
/// Why this is not the beginning of a header.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, Invalid> {
    if begins_alike(bytes, v2::SIGNATURE) {
        v2::parse(bytes)
    } else if begins_alike(bytes, v1::SIGNATURE) {
        v1::parse(bytes)
    } else {
        Err(Invalid::NoHeader)
    }
}

/// Whether one is the beginning of the other.
fn begins_alike(bytes: &[u8], signature: &[u8]) -> bool {
    bytes.iter().zip(signature).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_header_is_told_at_the_first_byte_that_differs() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"\x10\x0c",
            b"PROXI",
            b"\r\n\r\n\x00\r\nQUIT!",
        ] {
            assert_eq!(parse(bytes), Err(Invalid::NoHeader), "{bytes:?}");
        }
        for bytes in [&b""[..], b"P", b"PROXY ", b"\r", b"\r\n\r\n\x00\r\nQUI"] {
            assert_eq!(parse(bytes), Ok(None), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_the_beginning_of_one_or_none(
            bytes in any::<Vec<u8>>(),
            signature in prop_oneof![Just(&b""[..]), Just(v1::SIGNATURE), Just(v2::SIGNATURE)],
        ) {
            let all = [signature, &bytes].concat();
            if let Ok(Some(parsed)) = parse(&all) {
                prop_assert!(parsed.length <= all.len());
                // In pieces it is the same, and none of its beginnings is taken for the whole.
                for end in 0..parsed.length {
                    prop_assert_eq!(parse(&all[..end]), Ok(None));
                }
                prop_assert_eq!(parse(&all[..parsed.length]), Ok(Some(parsed)));
            }
        }

        #[test]
        fn nearly_right_lines_never_panic(line in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9.:a-f]{0,100}(\r\n|\n)?") {
            let _ = parse(line.as_bytes());
        }

        #[test]
        fn an_unfinished_header_is_bounded(bytes in proptest::collection::vec(any::<u8>(), 0..5000)) {
            if parse(&bytes) == Ok(None) {
                prop_assert!(bytes.len() < 16 + v2::LONGEST);
            }
        }
    }
}
