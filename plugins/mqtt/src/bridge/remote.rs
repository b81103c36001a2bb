//! A bridge's connection to the other broker, up to its CONNACK.

use std::io;
use std::path::Path;
use std::time::Duration;

use polyport_mqtt_core::codec::{FixedHeader, PacketType, Version};
use polyport_sdk::Context;
use polyport_sdk::net::Stream;
use polyport_sdk::tls::{ClientTls, Trust};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::packets::{self, Connack, Connect, Terms};
use crate::config::bridges::Bridge;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// How long CONNACK may take.
const ANSWER: Duration = Duration::from_secs(20);
/// No CONNACK is longer.
const CONNACK_MAX: usize = 256 * 1024;

/// A connection that the other broker accepted.
pub(super) struct Remote {
    pub(super) stream: Stream,
    pub(super) version: Version,
    pub(super) connack: Connack,
    /// What came behind CONNACK.
    pub(super) unread: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(super) enum Failure {
    /// The broker may understand another version.
    Version(String),
    /// Anything else.
    Other(String),
}

impl Failure {
    pub(super) fn text(self) -> String {
        match self {
            Failure::Version(text) | Failure::Other(text) => text,
        }
    }
}

/// How to greet: a version, and whether by the bit that says what bridges are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    version: Version,
    private: bool,
}

/// All manners, in the order of trying.
pub(super) fn manners(bridge: &Bridge) -> Vec<Manner> {
    let versions = bridge
        .protocol_versions
        .iter()
        .map(|one| Version::from(*one));
    let each = versions.flat_map(|version| {
        let private = !version.is_v5() && bridge.try_private;
        [true, false]
            .into_iter()
            .filter(move |bit| private || !bit)
            .map(move |private| Manner { version, private })
    });
    each.collect()
}

/// Who greets, beside what the settings say.
pub(super) struct Greeting<'a> {
    pub(super) client_id: &'a str,
    pub(super) clean: bool,
    /// What this broker is called.
    pub(super) name: &'a str,
    /// QoS 1 and 2 messages taken unacknowledged.
    pub(super) receive_maximum: u16,
}

/// Connects and greets.
pub(super) async fn connect(
    bridge: &Bridge,
    context: &Context,
    address: &str,
    manner: Manner,
    greeting: &Greeting<'_>,
) -> Result<Remote, Failure> {
    let login = login(bridge, context).await.map_err(Failure::Other)?;
    let mut stream = open(bridge, context, address)
        .await
        .map_err(|error| Failure::Other(format!("{address}: {error}")))?;
    let will = bridge.remote_notification_topic.clone();
    let connect = Connect {
        version: manner.version,
        client_id: greeting.client_id.into(),
        clean: greeting.clean,
        keep_alive: bridge.keep_alive,
        login,
        terms: Terms {
            session_expiry: Some(bridge.session_expiry_interval),
            receive_maximum: Some(greeting.receive_maximum),
            maximum_packet_size: Some(bridge.max_packet),
            via: Some(greeting.name.into()),
            bridge: manner.private,
            will: will.map(|topic| (topic, b"0".to_vec())),
        },
    };
    let mut packet = Vec::new();
    connect.encode(&mut packet);
    let answer = timeout(ANSWER, greet(&mut stream, manner.version, &packet)).await;
    let (mut connack, unread) = match answer {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
            let text = format!("{address}: it closed the connection without an answer to CONNECT");
            return Err(Failure::Version(text));
        }
        Ok(Err(error)) => return Err(Failure::Other(format!("{address}: {error}"))),
        Err(_) => {
            let text = format!("{address}: expected CONNACK within {ANSWER:?}, got nothing");
            return Err(Failure::Other(text));
        }
    };
    if connack.code == 0 {
        // 3.1 does not tell: what was to be kept is taken for kept.
        connack.session_present |= manner.version == Version::V31 && !greeting.clean;
        return Ok(Remote {
            stream,
            version: manner.version,
            connack,
            unread,
        });
    }
    let mut text = format!(
        "{address}: it refused the connection: {}",
        packets::reason(connack.code)
    );
    for words in [&connack.reason_string, &connack.server_reference] {
        text.extend(words.iter().map(|words| format!(": {words:?}")));
    }
    Err(match connack.code {
        1 | 0x84 => Failure::Version(text),
        _ => Failure::Other(text),
    })
}

async fn open(bridge: &Bridge, context: &Context, address: &str) -> io::Result<Stream> {
    let wrong = || io::Error::new(io::ErrorKind::InvalidInput, "not an address");
    let (host, port) = bridge.host_and_port(address).ok_or_else(wrong)?;
    let late = |_| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no answer within {CONNECT:?}"),
        )
    };
    let socket = timeout(CONNECT, TcpStream::connect((host, port)))
        .await
        .map_err(late)??;
    socket.set_nodelay(true)?;
    let stream = context.stream(socket, "bridge");
    let Some(tls) = &bridge.tls else {
        return Ok(stream);
    };
    let (tls, resolving) = (tls.clone(), context.clone());
    let name = tls.server_name.clone().unwrap_or_else(|| host.to_owned());
    // Read anew each time: certificates are renewed.
    let client = tokio::task::spawn_blocking(move || {
        let path =
            |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| resolving.resolve(path));
        let (ca, cert, key) = (path(&tls.ca), path(&tls.cert), path(&tls.key));
        ClientTls::new(&Trust {
            authorities: ca.as_deref(),
            identity: cert.as_deref().zip(key.as_deref()),
            anybody: tls.insecure,
        })
    });
    let client = client.await.map_err(io::Error::other)?;
    client
        .map_err(io::Error::other)?
        .connect(stream, &name)
        .await
}

async fn greet(
    stream: &mut Stream,
    version: Version,
    packet: &[u8],
) -> io::Result<(Connack, Vec<u8>)> {
    stream.write_all(packet).await?;
    stream.flush().await?;
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut read = Vec::new();
    loop {
        if let Some(header) =
            FixedHeader::read(&read).map_err(|error| invalid(error.to_string()))?
        {
            if PacketType::from_first_byte(header.first) != Some(PacketType::Connack) {
                let text = format!(
                    "expected CONNACK, got a packet that begins with {:#04x}",
                    header.first
                );
                return Err(invalid(text));
            }
            if header.frame() > CONNACK_MAX {
                return Err(invalid("CONNACK is too long".into()));
            }
            if let Some(body) = read.get(header.length..header.frame()) {
                let connack = Connack::decode(version, body);
                let connack = connack.map_err(|error| invalid(error.to_string()))?;
                return Ok((connack, read.split_off(header.frame())));
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            other => other?,
        };
    }
}

async fn login(
    bridge: &Bridge,
    context: &Context,
) -> Result<Option<(String, Option<String>)>, String> {
    let Some(user) = bridge.username.clone() else {
        return Ok(None);
    };
    let Some(file) = &bridge.password_file else {
        let password = bridge.password.as_ref().map(|secret| secret.0.clone());
        return Ok(Some((user, password)));
    };
    let file = context.resolve(file);
    let read = tokio::task::spawn_blocking(move || first_line(&file));
    let password = read.await.map_err(|error| error.to_string())??;
    Ok(Some((user, Some(password))))
}

/// The password in a file that nobody else can read.
fn first_line(file: &Path) -> Result<String, String> {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    let failed = |error: io::Error| format!("password_file {}: {error}", file.display());
    let mut opened = std::fs::File::open(file).map_err(failed)?;
    let mode = opened.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(format!(
            "password_file {}: expected mode 0600, which nobody else can read, got {mode:04o}",
            file.display()
        ));
    }
    let mut text = String::new();
    opened.read_to_string(&mut text).map_err(failed)?;
    Ok(text.lines().next().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::bridges::tests::bridge;

    #[test]
    fn each_version_is_tried_and_3_1_1_without_the_bit_last() {
        let tried = |bridge: &Bridge| -> Vec<(Version, bool)> {
            let all = manners(bridge).into_iter();
            all.map(|manner| (manner.version, manner.private)).collect()
        };
        let bridge = bridge(&[]);
        let all = [
            (Version::V5, false),
            (Version::V311, true),
            (Version::V311, false),
        ];
        assert_eq!(tried(&bridge), all);
        let open = Bridge {
            try_private: false,
            ..bridge
        };
        assert_eq!(tried(&open), [all[0], all[2]]);
    }

    #[test]
    fn a_password_file_that_others_can_read_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "secret\nrest").unwrap();
        assert_eq!(first_line(file.path()).unwrap(), "secret");
        let open = std::fs::Permissions::from_mode(0o640);
        std::fs::set_permissions(file.path(), open).unwrap();
        let error = first_line(file.path()).unwrap_err();
        assert!(
            error.contains("got 0640") && !error.contains("secret"),
            "{error}"
        );
    }
}
