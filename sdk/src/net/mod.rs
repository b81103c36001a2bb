//! Streams and addresses of clients.

mod origin;
mod pace;
mod plain;
mod stream;

pub use origin::{Origin, Peer, SmallPeer};
pub use pace::Pacer;
pub(crate) use plain::Plain;
pub use stream::Stream;
/// Whether this is what browsers send as `Origin` (RFC 6454): `http` or `https`, a host, and a port if it is not the
/// usual one.
#[must_use]
pub fn is_web_origin(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, rest)| {
        let plain = |c: char| c.is_ascii_graphic() && !c.is_ascii_uppercase();
        matches!(scheme, "http" | "https")
            && !rest.is_empty()
            && rest.chars().all(plain)
            && !rest.contains(['/', '?', '#', '@', '*', ','])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "http://localhost:3000",
            "https://app.example",
            "http://[::1]:80",
        ] {
            assert!(is_web_origin(good), "{good}");
        }
        for bad in [
            "app.example",
            "https://",
            "https://App.example",
            "https://a/b",
            "ftp://a",
            "https://*.a",
        ] {
            assert!(!is_web_origin(bad), "{bad}");
        }
    }
}
