//! How a client command's connections are made: in clear, or by TLS to a server that an authority vouches for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Arguments, Failure, connect};
use crate::tls::Trust;
use crate::tls::client::client_config;

/// How connections are made. Those made by one take up each other's TLS sessions.
#[derive(Debug, Clone, Default)]
pub struct Transport {
    tls: Option<Arc<ClientConfig>>,
}

impl Transport {
    /// The option to be declared where [`Transport::read`] is used.
    pub const CAFILE: &'static str = "--cafile FILE";

    /// By TLS if `tls`: to servers that one of the authorities in the file of `--cafile` vouches for, else one of
    /// the system's.
    ///
    /// # Errors
    /// [`Failure::Usage`] for `--cafile` without TLS, [`Failure::Failed`] for a file that cannot be used.
    pub fn read(options: &Arguments, tls: bool) -> Result<Self, Failure> {
        let file = options.value("--cafile");
        if !tls {
            return match file {
                Some(_) => Err(Failure::usage("--cafile: expected a connection by TLS")),
                None => Ok(Self::default()),
            };
        }
        let trust = Trust {
            authorities: file.map(std::path::Path::new),
            ..Trust::default()
        };
        let config = client_config(&trust).map_err(Failure::Failed)?;
        Ok(Self {
            tls: Some(Arc::new(config)),
        })
    }

    /// Whether it is by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Connects, and holds the handshake if it is by TLS. Reads and writes that take longer than `limit` fail.
    ///
    /// # Errors
    /// [`Failure::Broken`] as [`connect()`], [`Failure::Failed`] for a server that cannot be trusted.
    pub fn connect(&self, host: &str, port: u16, limit: Duration) -> Result<Link, Failure> {
        self.secure(connect(host, port, limit)?, host)
    }

    /// Holds the handshake with the server `host` on a connection that is open, if it is by TLS.
    ///
    /// # Errors
    /// As [`Transport::connect`].
    pub fn secure(&self, stream: TcpStream, host: &str) -> Result<Link, Failure> {
        let Some(config) = &self.tls else {
            return Ok(Link(Inner::Plain(stream)));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::Usage(format!("expected the name of a server, got {host:?}")))?;
        let connection = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| Failure::Failed(format!("{host}: {error}")))?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            if let Err(error) = stream.conn.complete_io(&mut stream.sock) {
                return Err(match error.get_ref().map(ToString::to_string) {
                    Some(reason) if error.kind() == io::ErrorKind::InvalidData => {
                        Failure::Failed(format!("{host}: {reason}"))
                    }
                    _ => Failure::broken(host)(error),
                });
            }
        }
        Ok(Link(Inner::Tls(Box::new(stream))))
    }
}

/// A connection of a client command.
#[derive(Debug)]
pub struct Link(Inner);

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    /// The socket, for its addresses and time limits.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        match &self.0 {
            Inner::Plain(stream) => stream,
            Inner::Tls(stream) => &stream.sock,
        }
    }

    /// The socket itself, of a connection that has no TLS yet.
    ///
    /// # Errors
    /// The connection, if it has TLS.
    pub fn into_socket(self) -> Result<TcpStream, Self> {
        match self.0 {
            Inner::Plain(stream) => Ok(stream),
            tls @ Inner::Tls(_) => Err(Self(tls)),
        }
    }

    /// Tells the server that nothing more comes.
    ///
    /// # Errors
    /// The socket's.
    pub fn finish(&mut self) -> io::Result<()> {
        if let Inner::Tls(stream) = &mut self.0 {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.socket().shutdown(Shutdown::Write)
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(stream) => stream.read(buffer),
            Inner::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(stream) => stream.write(bytes),
            Inner::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Inner::Plain(stream) => stream.flush(),
            Inner::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(typed: &[&str], tls: bool) -> Result<Transport, Failure> {
        let typed = typed.iter().map(|word| (*word).to_owned()).collect();
        Transport::read(&Arguments::read(typed, &[Transport::CAFILE]).unwrap(), tls)
    }

    #[test]
    fn authorities_are_for_tls_and_must_be_there() {
        assert!(!read(&[], false).unwrap().is_tls());
        let file = tempfile::NamedTempFile::new().unwrap();
        let name = file.path().to_str().unwrap();
        let in_clear = read(&["--cafile", name], false);
        assert!(matches!(in_clear, Err(Failure::Usage(_))), "{in_clear:?}");
        for (text, wrong) in [
            ("", "expected certificates in PEM, got none"),
            ("-----BEGIN CERTIFICATE-----\nAAAA", "section end"),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "expected certificates in PEM, got none",
            ),
        ] {
            std::fs::write(file.path(), text).unwrap();
            let Err(Failure::Failed(error)) = read(&["--cafile", name], true) else {
                panic!("{text:?} is no authority");
            };
            assert!(error.starts_with(name) && error.contains(wrong), "{error}");
        }
    }
}
