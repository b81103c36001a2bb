//! Where a client command connects to.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::Failure;

/// How long a connection may take to come about.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// `scheme://[user[:password]@]host[:port]/path`, as far as the commands use it (RFC 3986).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// User, percent-decoded.
    pub user: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<String>,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// From the slash after the authority on, as written; `/` when there is none. Without the fragment.
    pub path: String,
}

impl Address {
    /// Reads a URL of `scheme` with its default port.
    ///
    /// # Errors
    /// [`Failure::Usage`] for anything else.
    pub fn read(url: &str, scheme: &str, port: u16) -> Result<Self, Failure> {
        let wrong = || Failure::Usage(format!("expected {scheme}://HOST[:PORT]/PATH, got {url:?}"));
        let rest = url
            .strip_prefix(scheme)
            .and_then(|rest| rest.strip_prefix("://"))
            .ok_or_else(wrong)?;
        if url.contains(|c: char| c.is_control() || c == ' ') {
            return Err(wrong());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = match rest.find(['/', '?']) {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        let (credentials, host_port) = match authority.rsplit_once('@') {
            Some((credentials, host_port)) => (Some(credentials), host_port),
            None => (None, authority),
        };
        let (user, password) = match credentials.map(|text| text.split_once(':').ok_or(text)) {
            None => (None, None),
            Some(Ok((user, password))) => (Some(decoded(user)?), Some(decoded(password)?)),
            Some(Err(user)) => (Some(decoded(user)?), None),
        };
        let (host, port_text) = match host_port.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
                (
                    host,
                    after
                        .strip_prefix(':')
                        .or((after.is_empty()).then_some(""))
                        .ok_or_else(wrong)?,
                )
            }
            None => host_port.split_once(':').unwrap_or((host_port, "")),
        };
        let port = match port_text {
            "" => port,
            text => text.parse().map_err(|_| wrong())?,
        };
        if host.is_empty() {
            return Err(wrong());
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            user,
            password,
            host: host.into(),
            port,
            path: format!("{slash}{path}"),
        })
    }

    /// `host:port`, an IPv6 address in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// The path without its query, percent-decoded.
    ///
    /// # Errors
    /// [`Failure::Usage`] when that is no text of one line.
    pub fn decoded_path(&self) -> Result<String, Failure> {
        let path = decoded(self.path.split('?').next().unwrap_or_default())?;
        if path.contains(|c: char| c.is_control()) {
            return Err(Failure::Usage(format!(
                "expected a path without control characters, got {path:?}"
            )));
        }
        Ok(path)
    }

    /// The name that a download of this path has on the disk: its last segment.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the path ends in none.
    pub fn file_name(&self) -> Result<String, Failure> {
        let path = self.decoded_path()?;
        match path.rsplit('/').next() {
            Some(name) if !matches!(name, "" | "." | "..") => Ok(name.into()),
            _ => Err(Failure::Usage(format!(
                "{path:?} does not end in a file's name: say where to put it with -o FILE"
            ))),
        }
    }
}

fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn decoded(text: &str) -> Result<String, Failure> {
    let wrong = || Failure::Usage(format!("expected percent-encoded UTF-8, got {text:?}"));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high * 16 + low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

/// Connects to the first address of `host` that answers. Reads and writes that take longer than `limit` fail.
///
/// # Errors
/// [`Failure::Broken`], one line that names host and port.
pub fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, Failure> {
    let name = authority(host, port);
    let addresses = (host, port)
        .to_socket_addrs()
        .map_err(Failure::broken(&name))?;
    let mut error = std::io::Error::other("the name has no address");
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => {
                let set = stream
                    .set_nodelay(true)
                    .and_then(|()| stream.set_read_timeout(Some(limit)))
                    .and_then(|()| stream.set_write_timeout(Some(limit)));
                set.map_err(Failure::broken(&name))?;
                return Ok(stream);
            }
            Err(refused) => error = refused,
        }
    }
    Err(Failure::broken(&name)(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_url() {
        let all = Address::read("ftp://a%40b:c:d@[::1]:21/x%20y?z#f", "ftp", 2121).unwrap();
        assert_eq!(
            (all.user.as_deref(), all.password.as_deref()),
            (Some("a@b"), Some("c:d"))
        );
        assert_eq!(
            (all.authority().as_str(), all.path.as_str()),
            ("[::1]:21", "/x%20y?z")
        );
        assert_eq!(all.file_name().unwrap(), "x y");
        let least = Address::read("http://host", "http", 80).unwrap();
        assert_eq!(
            (least.authority().as_str(), least.path.as_str()),
            ("host:80", "/")
        );
        assert!(least.file_name().is_err() && least.user.is_none());
    }

    #[test]
    fn what_is_no_url_is_wrong_usage() {
        for bad in [
            "host/x",
            "https://host/",
            "http://",
            "http://h:99999/",
            "http://[::1/",
            "http://h/a b",
            "http://u%zz@h/",
        ] {
            let read = Address::read(bad, "http", 80);
            assert!(matches!(read, Err(Failure::Usage(_))), "{bad:?}: {read:?}");
        }
        let line_end = Address::read("http://h/a%0d%0ab", "http", 80).unwrap();
        assert!(line_end.decoded_path().is_err());
    }
}
