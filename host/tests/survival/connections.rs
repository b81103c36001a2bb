//! The rows: a connection of each kind, brought into a state.

use std::fs;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use polyport_testkit::{Host, PASSWORD, PATIENCE, USER};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::LARGE;

/// `alice:wonderland`.
const LOGIN: &str = "Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n";
/// The body of an upload, half of which goes before the change.
const UPLOAD: usize = 1024;

/// A connection in the state that its kind tells.
pub trait Connection {
    /// Does to its end what was under way; an error if it was cut off or came wrong.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Asks for something more.
    fn ask(&mut self) -> Result<()>;
}

/// A kind of connection.
pub struct Kind {
    /// The first cell of its row.
    pub name: &'static str,
    /// Whether something is under way.
    pub busy: bool,
    /// Opens one.
    pub open: fn(&Host) -> Box<dyn Connection>,
}

pub const CONNECTIONS: [Kind; 17] = [
    idle("MQTT by TCP", |host| Box::new(Mqtt::plain(host))),
    idle("MQTT by TLS", |host| {
        Box::new(Mqtt::connect(tls(host, "mqtts")))
    }),
    idle("MQTT by WebSocket", |host| {
        Box::new(WebSocket::connect(host))
    }),
    idle("HTTP, idle", |host| {
        Box::new(Http::idle(plain(host, "files")))
    }),
    busy("HTTP, in a request", |host| {
        Box::new(Http::uploading(plain(host, "files"), "http"))
    }),
    busy("HTTP, in a download", |host| {
        Box::new(Http::downloading(plain(host, "files")))
    }),
    idle("HTTPS, idle", |host| {
        Box::new(Http::idle(tls(host, "https")))
    }),
    busy("HTTPS, in a download", |host| {
        Box::new(Http::downloading(tls(host, "https")))
    }),
    idle("HTTP/2, idle", |host| {
        Box::new(Http2::connect(tls_for(host, "https", &[b"h2"])))
    }),
    idle("JSON, idle", |host| {
        Box::new(Http::idle_at(plain(host, "json"), "/"))
    }),
    busy("JSON, in a request", |host| {
        Box::new(Http::storing(plain(host, "json")))
    }),
    idle("FTP, idle", |host| Box::new(Ftp::login(plain(host, "ftp")))),
    busy("FTP, in a transfer", |host| {
        Box::new(Ftp::transferring(plain(host, "ftp")))
    }),
    idle("FTP over TLS, idle", |host| {
        Box::new(Ftp::login_over_tls(host))
    }),
    busy("FTP over TLS, in a transfer", |host| {
        let mut ftp = Ftp::login_over_tls(host);
        ftp.begin();
        Box::new(ftp)
    }),
    idle("tcp-files, idle", |host| {
        Box::new(Files::login(plain(host, "tcp-files")))
    }),
    busy("tcp-files, in a download", |host| {
        Box::new(Files::downloading(plain(host, "tcp-files")))
    }),
];

const fn idle(name: &'static str, open: fn(&Host) -> Box<dyn Connection>) -> Kind {
    Kind {
        name,
        busy: false,
        open,
    }
}

const fn busy(name: &'static str, open: fn(&Host) -> Box<dyn Connection>) -> Kind {
    Kind {
        name,
        busy: true,
        open,
    }
}

/// Bytes both ways.
trait Bytes: Read + Write {}
impl<T: Read + Write> Bytes for T {}
type Stream = BufReader<Box<dyn Bytes>>;

fn plain(host: &Host, port: &str) -> Stream {
    BufReader::new(Box::new(host.connect(port)))
}

fn tls(host: &Host, port: &str) -> Stream {
    tls_for(host, port, &[])
}

fn tls_for(host: &Host, port: &str, alpn: &[&[u8]]) -> Stream {
    BufReader::new(Box::new(secured(&trust(host, alpn), host.connect(port))))
}

/// The certificate that the host has now.
fn trust(host: &Host, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    let pem = fs::read(host.path().join("localhost.cert.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(&pem).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

fn secured(
    trust: &Arc<ClientConfig>,
    mut stream: TcpStream,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut client =
        ClientConnection::new(Arc::clone(trust), "localhost".try_into().unwrap()).unwrap();
    while client.is_handshaking() {
        client.complete_io(&mut stream).unwrap();
    }
    StreamOwned::new(client, stream)
}

fn expect(what: &str, good: bool) -> Result<()> {
    if good {
        Ok(())
    } else {
        Err(Error::other(what.to_owned()))
    }
}

fn line(stream: &mut Stream) -> Result<String> {
    let mut line = String::new();
    let read = stream.read_line(&mut line)?;
    expect("the connection ended", read > 0)?;
    Ok(line)
}

/// Takes so many bytes of the large file.
fn take_large(stream: &mut impl Read, mut left: usize) -> Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    while left > 0 {
        let most = left.min(buffer.len());
        let read = stream.read(&mut buffer[..most])?;
        expect("a download that is cut off", read > 0)?;
        expect("other bytes", buffer[..read].iter().all(|byte| *byte == 7))?;
        left -= read;
    }
    Ok(())
}

/// MQTT 3.1.1, with a clean session.
struct Mqtt(Stream);

/// CONNECT of `alice`.
fn connect_packet() -> Vec<u8> {
    let text = |text: &str| [&[0, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let body = [
        &text("MQTT")[..],
        &[4, 0xc2, 0, 0],
        &text(""),
        &text(USER),
        &text(PASSWORD),
    ]
    .concat();
    [&[0x10, u8::try_from(body.len()).unwrap()], &body[..]].concat()
}

impl Mqtt {
    fn plain(host: &Host) -> Self {
        Self::connect(plain(host, "mqtt"))
    }

    fn connect(mut stream: Stream) -> Self {
        stream.get_mut().write_all(&connect_packet()).unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x20, 2, 0, 0]);
        Self(stream)
    }
}

impl Connection for Mqtt {
    fn ask(&mut self) -> Result<()> {
        self.0.get_mut().write_all(&[0xc0, 0])?;
        let mut answer = [0; 2];
        self.0.read_exact(&mut answer)?;
        expect("no PINGRESP", answer == [0xd0, 0])
    }
}

/// MQTT in the binary frames of a WebSocket (RFC 6455).
struct WebSocket(Stream);

impl WebSocket {
    fn connect(host: &Host) -> Self {
        let mut stream = plain(host, "ws");
        let request = "GET /mqtt HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                       Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\
                       Sec-WebSocket-Protocol: mqtt\r\n\r\n";
        stream.get_mut().write_all(request.as_bytes()).unwrap();
        assert!(line(&mut stream).unwrap().starts_with("HTTP/1.1 101 "));
        while line(&mut stream).unwrap() != "\r\n" {}
        let mut socket = Self(stream);
        socket.send(&connect_packet()).unwrap();
        assert_eq!(socket.receive().unwrap(), [0x20, 2, 0, 0]);
        socket
    }

    /// One frame, masked with zeros.
    fn send(&mut self, packet: &[u8]) -> Result<()> {
        let length = u8::try_from(packet.len()).unwrap();
        let frame = [&[0x82, 0x80 | length, 0, 0, 0, 0], packet].concat();
        self.0.get_mut().write_all(&frame)
    }

    fn receive(&mut self) -> Result<Vec<u8>> {
        let mut head = [0; 2];
        self.0.read_exact(&mut head)?;
        expect("no frame of data", head[0] == 0x82)?;
        let mut packet = vec![0; usize::from(head[1])];
        self.0.read_exact(&mut packet)?;
        Ok(packet)
    }
}

impl Connection for WebSocket {
    fn ask(&mut self) -> Result<()> {
        self.send(&[0xc0, 0])?;
        expect("no PINGRESP", self.receive()? == [0xd0, 0])
    }
}

/// HTTP/1.1 on a connection that is kept.
struct Http {
    stream: Stream,
    /// What it asks for once nothing is under way.
    path: &'static str,
    under_way: Option<UnderWay>,
}

enum UnderWay {
    /// So much of a body is to be sent.
    Sending,
    /// So much of the large file is to come.
    Receiving(usize),
}

impl Http {
    fn idle(stream: Stream) -> Self {
        Self::idle_at(stream, "/small.txt")
    }

    fn idle_at(stream: Stream, path: &'static str) -> Self {
        let mut http = Self {
            stream,
            path,
            under_way: None,
        };
        http.ask().unwrap();
        http
    }

    fn downloading(stream: Stream) -> Self {
        let mut http = Self::idle(stream);
        let request = format!("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n{LOGIN}\r\n");
        http.stream.get_mut().write_all(request.as_bytes()).unwrap();
        assert_eq!(http.head().unwrap(), ("200".to_owned(), LARGE));
        take_large(&mut http.stream, 1).unwrap();
        http.under_way = Some(UnderWay::Receiving(LARGE - 1));
        http
    }

    fn uploading(stream: Stream, name: &str) -> Self {
        Self::idle(stream).sending(
            &format!("/{name}.bin"),
            "application/octet-stream",
            &[b'x'; UPLOAD / 2],
        )
    }

    fn storing(stream: Stream) -> Self {
        let mut half = vec![b'1'; UPLOAD / 2];
        half[0] = b'"';
        Self::idle_at(stream, "/").sending("/survival/one", "application/json", &half)
    }

    /// Sends the head of a PUT and the first half of its body.
    fn sending(mut self, path: &str, media_type: &str, half: &[u8]) -> Self {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\n{LOGIN}Content-Type: {media_type}\r\nContent-Length: {UPLOAD}\r\n\r\n"
        );
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        self.stream.get_mut().write_all(half).unwrap();
        self.under_way = Some(UnderWay::Sending);
        self
    }

    /// The status of an answer and the length of its body.
    fn head(&mut self) -> Result<(String, usize)> {
        let status = line(&mut self.stream)?;
        let mut length = 0;
        loop {
            let field = line(&mut self.stream)?.to_ascii_lowercase();
            if let Some(value) = field.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(Error::other)?;
            }
            if field == "\r\n" {
                let status = status.split(' ').nth(1).unwrap_or_default().to_owned();
                return Ok((status, length));
            }
        }
    }

    fn answer(&mut self) -> Result<String> {
        let (status, length) = self.head()?;
        self.stream.read_exact(&mut vec![0; length])?;
        Ok(status)
    }
}

impl Connection for Http {
    fn finish(&mut self) -> Result<()> {
        match self.under_way.take() {
            None => Ok(()),
            Some(UnderWay::Receiving(left)) => take_large(&mut self.stream, left),
            Some(UnderWay::Sending) => {
                let mut half = vec![b'1'; UPLOAD / 2];
                half[UPLOAD / 2 - 1] = b'"';
                self.stream.get_mut().write_all(&half)?;
                expect("no 201", self.answer()? == "201")
            }
        }
    }

    fn ask(&mut self) -> Result<()> {
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: localhost\r\n{LOGIN}\r\n",
            self.path
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        expect("no 200", self.answer()? == "200")
    }
}

/// HTTP/2, which is asked by PING (RFC 9113 6.7).
struct Http2(Stream);

impl Http2 {
    fn connect(mut stream: Stream) -> Self {
        stream
            .get_mut()
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
            .unwrap();
        let mut http = Self(stream);
        http.ask().unwrap();
        http
    }
}

impl Connection for Http2 {
    fn ask(&mut self) -> Result<()> {
        self.0
            .get_mut()
            .write_all(b"\0\0\x08\x06\0\0\0\0\0survival")?;
        loop {
            let mut head = [0; 9];
            self.0.read_exact(&mut head)?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            self.0.read_exact(&mut payload)?;
            if (head[3], head[4]) == (6, 1) {
                return expect("another PING", payload == b"survival");
            }
        }
    }
}

/// A control connection, and the data connection of a transfer.
struct Ftp {
    control: Stream,
    data: Option<Box<dyn Bytes>>,
    /// With it data connections have TLS.
    trust: Option<Arc<ClientConfig>>,
}

impl Ftp {
    fn login(control: Stream) -> Self {
        let mut ftp = Self {
            control,
            data: None,
            trust: None,
        };
        ftp.reply("220").unwrap();
        ftp.log_in();
        ftp
    }

    fn login_over_tls(host: &Host) -> Self {
        let mut clear = host.connect("ftp");
        let mut byte = [0];
        let mut said = |clear: &mut TcpStream| {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                clear.read_exact(&mut byte).unwrap();
                line.push(byte[0]);
            }
            line
        };
        assert!(said(&mut clear).starts_with(b"220 "));
        clear.write_all(b"AUTH TLS\r\n").unwrap();
        assert!(said(&mut clear).starts_with(b"234 "));
        let trust = trust(host, &[]);
        let control = BufReader::new(Box::new(secured(&trust, clear)) as Box<dyn Bytes>);
        let mut ftp = Self {
            control,
            data: None,
            trust: Some(trust),
        };
        ftp.log_in();
        ftp.command("PBSZ 0", "200").unwrap();
        ftp.command("PROT P", "200").unwrap();
        ftp
    }

    fn transferring(control: Stream) -> Self {
        let mut ftp = Self::login(control);
        ftp.begin();
        ftp
    }

    fn log_in(&mut self) {
        self.command(&format!("USER {USER}"), "331").unwrap();
        self.command(&format!("PASS {PASSWORD}"), "230").unwrap();
        self.command("TYPE I", "200").unwrap();
    }

    /// Has the first byte of the large file come.
    fn begin(&mut self) {
        let reply = self.command("EPSV", "229").unwrap();
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        self.control
            .get_mut()
            .write_all(b"RETR large.bin\r\n")
            .unwrap();
        let mut data: Box<dyn Bytes> = match &self.trust {
            None => Box::new(stream),
            Some(trust) => Box::new(secured(trust, stream)),
        };
        self.reply("150").unwrap();
        take_large(&mut data, 1).unwrap();
        self.data = Some(data);
    }

    fn reply(&mut self, code: &str) -> Result<String> {
        let reply = line(&mut self.control)?;
        expect(
            &format!("expected {code}, got {reply:?}"),
            reply.starts_with(&format!("{code} ")),
        )?;
        Ok(reply)
    }

    fn command(&mut self, command: &str, code: &str) -> Result<String> {
        self.control
            .get_mut()
            .write_all(format!("{command}\r\n").as_bytes())?;
        self.reply(code)
    }
}

impl Connection for Ftp {
    fn finish(&mut self) -> Result<()> {
        if let Some(mut data) = self.data.take() {
            take_large(&mut data, LARGE - 1)?;
            expect("more than the file", matches!(data.read(&mut [0]), Ok(0)))?;
            self.reply("226")?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<()> {
        self.command("PWD", "257").map(drop)
    }
}

/// The length-prefixed file protocol.
struct Files {
    stream: Stream,
    left: usize,
}

impl Files {
    fn login(mut stream: Stream) -> Self {
        let login = format!(
            "{{\"action_type\": \"auth\", \"username\": \"{USER}\", \"password\": \"{PASSWORD}\"}}"
        );
        stream.get_mut().write_all(login.as_bytes()).unwrap();
        let mut answer = [0; 1024];
        stream.read_exact(&mut answer).unwrap();
        assert!(answer.starts_with(b"{\"status_code\": 200,"));
        Self { stream, left: 0 }
    }

    fn downloading(stream: Stream) -> Self {
        let mut files = Self::login(stream);
        files.begin("large.bin").unwrap();
        take_large(&mut files.stream, 1).unwrap();
        files.left = LARGE - 1;
        files
    }

    /// Asks for a file, up to its first byte.
    fn begin(&mut self, file: &str) -> Result<()> {
        let request = format!("{{\"cmd\": \"get\", \"file\": \"{file}\"}}");
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut header = vec![0; u32::from_le_bytes(length) as usize];
        self.stream.read_exact(&mut header)?;
        expect("no file", header.starts_with(b"{\"filename\""))
    }
}

impl Connection for Files {
    fn finish(&mut self) -> Result<()> {
        take_large(&mut self.stream, std::mem::take(&mut self.left))
    }

    fn ask(&mut self) -> Result<()> {
        self.begin("small.txt")?;
        let mut content = [0; 5];
        self.stream.read_exact(&mut content)?;
        expect("other bytes", &content == b"hello")
    }
}
