//! Listen addresses: `127.0.0.1:1883`, `[::1]:1883`, `ws://127.0.0.1:9001`, `unix:/run/mqtt.sock`,
//! `ws+unix:/run/ws.sock`.
//!
//! A scheme is a word that the host passes on: what it means is the plugin's business. An entry may be a table, with
//! the address and what holds for this listener alone.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User};

use super::limits::{self, Limits};
use super::read::Reader;
use crate::accounts::Network;

/// The keys of an entry that is a table and are its own.
const OWN_KEYS: [&str; 4] = ["address", "mode", "owner", "proxy_protocol"];

/// The keys of an entry that is a table: its own, and those of `limits`.
pub const KEYS: [&str; OWN_KEYS.len() + limits::KEYS.len()] = {
    let mut keys = [""; OWN_KEYS.len() + limits::KEYS.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = if index < OWN_KEYS.len() {
            OWN_KEYS[index]
        } else {
            limits::KEYS[index - OWN_KEYS.len()]
        };
        index += 1;
    }
    keys
};

/// The mode of a Unix socket unless the entry names one.
const MODE: u32 = 0o660;

/// The scheme of an address that names none.
const DEFAULT_SCHEME: &str = "tcp";

/// One entry of a service's `listen`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// "tcp", "unix", or the word that the operator wrote before `://` or `+unix:`.
    pub scheme: String,
    /// What to bind.
    pub address: Address,
    /// The address as written.
    pub text: String,
    /// What holds for this listener alone.
    pub options: Options,
}

/// What a listen entry may say beside its address. It can be changed while the socket is open.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Who may connect to a Unix socket.
    pub access: Access,
    /// The networks of proxies whose PROXY header is believed; all others' is not.
    pub proxies: Vec<Network>,
    /// What differs from the service's limits.
    pub limits: Limits,
}

/// Mode and owner of a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Its permission bits.
    pub mode: u32,
    /// User and group, by number; those of the process where they are missing.
    pub owner: (Option<u32>, Option<u32>),
}

impl Default for Access {
    fn default() -> Self {
        Self {
            mode: MODE,
            owner: (None, None),
        }
    }
}

/// What a socket is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// An IP address and a port; port 0 lets the system choose.
    Tcp(SocketAddr),
    /// The path of a Unix socket, absolute.
    Unix(PathBuf),
}

impl Listen {
    /// Parses one entry; `Err` says what was expected. Relative socket paths begin at `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, String> {
        let listen = |scheme: &str, address| Self {
            scheme: scheme.to_owned(),
            address,
            text: text.to_owned(),
            options: Options::default(),
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(listen("unix", unix(path, folder)?));
        }
        if let Some((scheme, path)) = text.split_once("+unix:") {
            return Ok(listen(known_word(scheme)?, unix(path, folder)?));
        }
        match text.split_once("://") {
            Some((scheme, address)) => Ok(listen(known_word(scheme)?, tcp(address)?)),
            None => Ok(listen(DEFAULT_SCHEME, tcp(text)?)),
        }
    }

    /// What tells it, the entry at `index`, from the others of its service, also among other entries: its address, and
    /// its place where the system chooses the port.
    pub fn name(&self, index: usize) -> String {
        match &self.address {
            Address::Tcp(address) if address.port() == 0 => format!("{index} {address}"),
            Address::Tcp(address) => address.to_string(),
            Address::Unix(path) => path.display().to_string(),
        }
    }

    /// Whether both cannot be bound at once: the same path, or the same port on the same address
    /// or on the wildcard of its family. Two ports chosen by the system never collide.
    pub fn collides(&self, other: &Self) -> bool {
        match (&self.address, &other.address) {
            (Address::Unix(one), Address::Unix(two)) => one == two,
            (Address::Tcp(one), Address::Tcp(two)) => {
                let overlap =
                    one.ip() == two.ip() || one.ip().is_unspecified() || two.ip().is_unspecified();
                one.port() != 0
                    && one.port() == two.port()
                    && one.is_ipv4() == two.is_ipv4()
                    && overlap
            }
            _ => false,
        }
    }
}

impl Options {
    /// Reads the keys of an entry with this address.
    pub fn read(reader: &mut Reader<'_, '_>, address: &Address) -> Self {
        let mode = reader.text("mode").and_then(|(text, place)| {
            let mode = mode(text);
            if mode.is_none() {
                let name = reader.name("mode");
                let expected = "permissions in octal from \"0000\" to \"0777\", such as \"0660\"";
                reader
                    .diagnostics()
                    .expected(place, &name, expected, format!("{text:?}"));
            }
            mode
        });
        let owner = reader.text("owner").and_then(|(text, place)| {
            owner(text)
                .map_err(|expected| {
                    let name = reader.name("owner");
                    reader
                        .diagnostics()
                        .expected(place, &name, expected, format!("{text:?}"));
                })
                .ok()
        });
        for key in ["mode", "owner"] {
            if let (Address::Tcp(_), Some(entry)) = (address, reader.entry(key)) {
                let place = entry.place.clone();
                let name = reader.name(key);
                let got = address.to_string();
                reader
                    .diagnostics()
                    .expected(&place, &name, "a Unix socket as address", got);
            }
        }
        Self {
            access: Access {
                mode: mode.unwrap_or(MODE),
                owner: owner.unwrap_or_default(),
            },
            proxies: reader.networks("proxy_protocol"),
            limits: Limits::read(reader),
        }
    }
}

/// `0660` or `660`.
fn mode(text: &str) -> Option<u32> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
    octal
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o777)
}

/// `user`, `user:group` or `:group`, by name or number.
fn owner(text: &str) -> Result<(Option<u32>, Option<u32>), &'static str> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    if user.is_empty() && group.is_empty() {
        return Err("\"user\", \"user:group\" or \":group\"");
    }
    let number = |name: &str, found: &dyn Fn(&str) -> Option<u32>| match name {
        "" => Some(None),
        name => name.parse().ok().or_else(|| found(name)).map(Some),
    };
    let user = number(user, &|name| {
        Some(User::from_name(name).ok()??.uid.as_raw())
    });
    let group = number(group, &|name| {
        Some(Group::from_name(name).ok()??.gid.as_raw())
    });
    Ok((
        user.ok_or("a user of this machine")?,
        group.ok_or("a group of this machine")?,
    ))
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

fn known_word(scheme: &str) -> Result<&str, String> {
    let starts_with_letter = scheme.starts_with(|c: char| c.is_ascii_lowercase());
    if !starts_with_letter
        || !scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b))
    {
        return Err("a scheme of lowercase letters before \"://\"".to_owned());
    }
    Ok(scheme)
}

fn unix(path: &str, folder: &Path) -> Result<Address, String> {
    // 108 bytes with the terminating zero: sun_path of unix(7).
    let absolute = folder.join(path);
    if path.is_empty() || path.contains('\0') {
        return Err("a path after \"unix:\"".to_owned());
    }
    if absolute.as_os_str().len() > 107 {
        return Err("a socket path of at most 107 bytes".to_owned());
    }
    Ok(Address::Unix(absolute))
}

fn tcp(text: &str) -> Result<Address, String> {
    if let Ok(address) = text.parse() {
        return Ok(Address::Tcp(address));
    }
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    Err(if text.parse::<IpAddr>().is_ok() {
        "an address and a port, such as \"127.0.0.1:1883\" or \"[::1]:1883\"".to_owned()
    } else if port.parse::<u16>().is_err() {
        "an address with a port from 0 to 65535, such as \"127.0.0.1:1883\"".to_owned()
    } else if host.is_empty() || host == "*" {
        format!(
            "an IP address before the port: all of them are \"0.0.0.0:{port}\" and \"[::]:{port}\""
        )
    } else if host == "localhost" {
        format!(
            "an IP address, not a name: this machine is \"127.0.0.1:{port}\" and \"[::1]:{port}\""
        )
    } else {
        "an IP address, not a name, such as \"127.0.0.1:1883\" or \"[::1]:1883\"".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Listen, String> {
        Listen::parse(text, Path::new("/etc/polyport"))
    }

    #[test]
    fn every_form_is_understood() {
        let cases = [
            ("127.0.0.1:1883", "tcp", "127.0.0.1:1883"),
            ("tcp://127.0.0.1:1883", "tcp", "127.0.0.1:1883"),
            ("[::1]:1883", "tcp", "[::1]:1883"),
            ("ws://[::]:9001", "ws", "[::]:9001"),
            ("unix:/run/mqtt.sock", "unix", "unix:/run/mqtt.sock"),
            (
                "unix:state/mqtt.sock",
                "unix",
                "unix:/etc/polyport/state/mqtt.sock",
            ),
            ("ws+unix:/run/ws.sock", "ws", "unix:/run/ws.sock"),
        ];
        for (text, scheme, address) in cases {
            let listen = parse(text).unwrap();
            assert_eq!(
                (listen.scheme.as_str(), listen.address.to_string().as_str()),
                (scheme, address),
                "{text}"
            );
            assert_eq!(listen.to_string(), text);
        }
    }

    #[test]
    fn a_wrong_form_says_what_to_write() {
        let cases = [
            ("localhost:80", "this machine is \"127.0.0.1:80\""),
            ("*:80", "\"0.0.0.0:80\" and \"[::]:80\""),
            (":80", "\"0.0.0.0:80\""),
            ("127.0.0.1", "an address and a port"),
            ("::1", "an address and a port"),
            ("127.0.0.1:70000", "a port from 0 to 65535"),
            ("80", "a port from 0 to 65535"),
            ("example.org:80", "not a name"),
            ("WS://127.0.0.1:80", "lowercase"),
            ("unix:", "a path"),
            ("", "a port"),
        ];
        for (text, part) in cases {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(
            parse(&format!("unix:/{}", "x".repeat(120)))
                .unwrap_err()
                .contains("107 bytes")
        );
    }

    #[test]
    fn collisions_are_those_of_the_system() {
        let collide = |one: &str, two: &str| parse(one).unwrap().collides(&parse(two).unwrap());
        assert!(collide("127.0.0.1:80", "ws://127.0.0.1:80"));
        assert!(collide("0.0.0.0:80", "127.0.0.1:80"));
        assert!(collide("unix:a", "unix:/etc/polyport/a"));
        assert!(!collide("0.0.0.0:80", "[::]:80"));
        assert!(!collide("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!collide("127.0.0.1:0", "127.0.0.1:0"));
        assert!(!collide("127.0.0.1:80", "unix:a"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "(ws|tls|unix|tcp)?[+:/]{0,3}[0-9.:\\[\\]*]{0,20}") {
            let _ = parse(&text);
            let _ = parse(&near);
        }

        #[test]
        fn every_socket_address_comes_back(ip in any::<IpAddr>(), port in any::<u16>()) {
            let address = SocketAddr::new(ip, port);
            prop_assert_eq!(parse(&address.to_string()).unwrap().address, Address::Tcp(address));
        }
    }
}
