use std::io::{IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream as BlockingTcp};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, OnceLock};

use polyport_abi::RVec;
use polyport_abi::log::LevelCell;
use polyport_abi::tls::{Certificate, ClientCert, MinVersion};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption as ClientResumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::{Origin, Peer};

const TLS12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];
const TLS13: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS13];

type Client = StreamOwned<ClientConnection, BlockingTcp>;

/// A host that offers `tls/1`.
struct Offer {
    table: TlsV1,
    material: Mutex<Vec<u8>>,
}

extern "C" fn material(ctx: *const ()) -> RVec<u8> {
    let material = crate::export::static_ref(ctx.cast::<Mutex<Vec<u8>>>().cast_mut());
    material.unwrap().lock().unwrap().clone().into()
}

impl Offer {
    fn new(first: &Material) -> &'static Self {
        let offer = Box::leak(Box::new(Self {
            table: TlsV1 {
                ctx: std::ptr::null(),
                revision: Box::leak(Box::new(LevelCell {
                    value: AtomicU64::new(1),
                })),
                material,
            },
            material: Mutex::new(serde_json::to_vec(first).unwrap()),
        }));
        offer.table.ctx = std::ptr::from_ref(&offer.material).cast();
        offer
    }

    fn set(&self, material: Option<&Material>) {
        *self.material.lock().unwrap() =
            material.map_or_else(Vec::new, |material| serde_json::to_vec(material).unwrap());
        self.table.revision.value.fetch_add(1, Ordering::Release);
    }
}

fn authority() -> &'static CertifiedIssuer<'static, KeyPair> {
    static AUTHORITY: OnceLock<CertifiedIssuer<'static, KeyPair>> = OnceLock::new();
    AUTHORITY.get_or_init(|| {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    })
}

fn certificate(names: &[&str]) -> Certificate {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let params = CertificateParams::new(names.clone()).unwrap();
    Certificate {
        chain: params.signed_by(&key, authority()).unwrap().pem(),
        key: key.serialize_pem(),
        names,
    }
}

fn of(certificates: &[&Certificate]) -> Material {
    Material {
        certificates: certificates.iter().map(|&one| one.clone()).collect(),
        client_ca: String::new(),
        client_cert: ClientCert::None,
        min_version: MinVersion::Tls12,
        alpn: None,
    }
}

/// A client's rules; sessions are shared by the connections made with one.
struct Rules {
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    certificate: Option<Certificate>,
    alpn: &'static [&'static str],
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            versions: rustls::ALL_VERSIONS,
            certificate: None,
            alpn: &[],
        }
    }
}

impl Rules {
    fn config(self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(authority().der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.certificate {
            None => builder.with_no_client_auth(),
            Some(own) => builder
                .with_client_auth_cert(
                    vec![CertificateDer::from_pem_slice(own.chain.as_bytes()).unwrap()],
                    PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap(),
                )
                .unwrap(),
        };
        config.alpn_protocols = self
            .alpn
            .iter()
            .map(|word| word.as_bytes().into())
            .collect();
        config.resumption = ClientResumption::in_memory_sessions(16);
        Arc::new(config)
    }
}

fn connect(config: &Arc<ClientConfig>, name: &str, socket: BlockingTcp) -> Client {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    StreamOwned::new(
        ClientConnection::new(Arc::clone(config), name).unwrap(),
        socket,
    )
}

/// The names of the certificate that the client was shown: as its bytes, which tell one from another.
fn shown(client: &Client) -> Vec<u8> {
    client.conn.peer_certificates().unwrap()[0].to_vec()
}

fn der(certificate: &Certificate) -> Vec<u8> {
    CertificateDer::from_pem_slice(certificate.chain.as_bytes())
        .unwrap()
        .to_vec()
}

async fn sockets() -> (Stream, BlockingTcp) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = tokio::task::spawn_blocking(move || BlockingTcp::connect(address).unwrap());
    let (served, _) = listener.accept().await.unwrap();
    (served.into(), client.await.unwrap())
}

/// One connection: what became of the server's end, and what the client's script gives.
async fn session<T: Send + 'static>(
    tls: &Tls,
    config: &Arc<ClientConfig>,
    name: &'static str,
    of: Option<TlsSession>,
    script: impl FnOnce(Client) -> T + Send + 'static,
) -> (io::Result<Stream>, tokio::task::JoinHandle<T>) {
    let (stream, socket) = sockets().await;
    let config = Arc::clone(config);
    let client = tokio::task::spawn_blocking(move || script(connect(&config, name, socket)));
    let accepted = match of {
        None => tls.accept(stream).await,
        Some(of) => tls.accept_resumed(stream, of).await,
    };
    (accepted, client)
}

fn greet(mut client: Client) -> io::Result<Client> {
    client.write_all(b"hello")?;
    client.flush()?;
    Ok(client)
}

#[tokio::test]
async fn every_way_over_a_stream_works_over_tls() {
    let one = certificate(&["one.test"]);
    let tls = Tls::over(&Offer::new(&of(&[&one])).table, &[]);
    for versions in [TLS12, TLS13] {
        let rules = Rules {
            versions,
            ..Rules::default()
        };
        let (stream, client) = session(&tls, &rules.config(), "one.test", None, |mut client| {
            let mut answer = [0; 5];
            for word in [b"one..", b"two..", b"three"] {
                client.write_all(word).unwrap();
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, word);
            }
            let mut rest = Vec::new();
            // Ends with the server's farewell, not with a cut.
            client.read_to_end(&mut rest).unwrap();
            client.conn.send_close_notify();
            client.flush().unwrap();
            rest
        })
        .await;
        let mut stream = stream.unwrap();
        let mut buffer = [0; 64];
        assert!(stream.is_tls());
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
        stream.write_all(b"one..").await.unwrap();
        stream.readable().await.unwrap();
        while let Err(error) = stream.try_read(&mut buffer) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            stream.readable().await.unwrap();
        }
        let slices = [IoSlice::new(b"tw"), IoSlice::new(b"o..")];
        assert_eq!(stream.write_vectored(&slices).await.unwrap(), 5);
        stream.readable().await.unwrap();
        while let Err(error) = stream.receive_now(&mut buffer) {
            assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
            stream.readable().await.unwrap();
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"not three!").unwrap();
        let mut offset = 4;
        assert_eq!(stream.send_file(&file, &mut offset, 5).await.unwrap(), 5);
        assert_eq!(offset, 9);
        stream.write_all(b"end").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(client.await.unwrap(), b"end");
    }
}

#[tokio::test]
async fn much_in_both_directions_arrives_whole() {
    const SIZE: usize = 24 * 1024 * 1024;
    let bytes = |from: usize| (from..SIZE + from).map(|n| (n * 7 / 3) as u8);
    let one = certificate(&["one.test"]);
    let tls = Tls::over(&Offer::new(&of(&[&one])).table, &[]);
    let config = Rules::default().config();
    let (stream, client) = session(&tls, &config, "one.test", None, move |mut client| {
        let mut got = vec![0; SIZE];
        client.read_exact(&mut got).unwrap();
        client.write_all(&bytes(1).collect::<Vec<_>>()).unwrap();
        client.conn.send_close_notify();
        client.flush().unwrap();
        got
    })
    .await;
    let mut stream = stream.unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes(0).collect::<Vec<_>>()).unwrap();
    let mut offset = 0;
    while offset < SIZE as u64 {
        let left = SIZE - offset as usize;
        assert!(stream.send_file(&file, &mut offset, left).await.unwrap() > 0);
    }
    // Reading takes the last records of the file along.
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.unwrap();
    assert!(got.into_iter().eq(bytes(1)));
    assert!(client.await.unwrap().into_iter().eq(bytes(0)));
}

#[tokio::test]
async fn a_cut_is_no_end() {
    let one = certificate(&["one.test"]);
    let tls = Tls::over(&Offer::new(&of(&[&one])).table, &[]);
    let (stream, client) = session(&tls, &Rules::default().config(), "one.test", None, greet).await;
    let mut stream = stream.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(stream.read(&mut buffer).await.unwrap(), 5);
    let client = client.await.unwrap().unwrap();
    client.sock.shutdown(Shutdown::Write).unwrap();
    let error = stream.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn the_certificate_is_chosen_by_name() {
    let (one, two) = (certificate(&["one.test"]), certificate(&["*.two.test"]));
    let tls = Tls::over(&Offer::new(&of(&[&one, &two])).table, &[]);
    for (name, expected) in [("one.test", &one), ("a.two.test", &two)] {
        let config = Rules::default().config();
        let (stream, client) = session(&tls, &config, name, None, |client| {
            shown(&greet(client).unwrap())
        })
        .await;
        stream.unwrap();
        assert_eq!(client.await.unwrap(), der(expected), "{name}");
    }
    // One label, no more: the first certificate is shown, which is not made for it.
    let config = Rules::default().config();
    let (_, client) = session(&tls, &config, "a.b.two.test", None, greet).await;
    let error = client.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn new_material_counts_from_the_next_handshake_on() {
    let (one, two) = (certificate(&["one.test"]), certificate(&["one.test"]));
    let offer = Offer::new(&of(&[&one]));
    let tls = Tls::over(&offer.table, &[]);
    let ask = |mut client: Client| {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        client.read_exact(&mut answer).unwrap();
        shown(&client)
    };
    let config = Rules::default().config();
    let (before, client) = session(&tls, &config, "one.test", None, ask).await;
    let mut before = before.unwrap();
    before.write_all(b"ab").await.unwrap();
    offer.set(Some(&of(&[&two])));
    let fresh = Rules::default().config();
    let (after, later) = session(&tls, &fresh, "one.test", None, ask).await;
    after.unwrap().write_all(b"abcd").await.unwrap();
    assert_eq!(later.await.unwrap(), der(&two));
    before.write_all(b"cd").await.unwrap();
    assert_eq!(client.await.unwrap(), der(&one));
    // What cannot be used changes nothing.
    let broken = Certificate {
        key: one.key.clone(),
        ..two.clone()
    };
    offer.set(Some(&of(&[&broken])));
    let (still, later) = session(&tls, &fresh, "one.test", None, ask).await;
    still.unwrap().write_all(b"abcd").await.unwrap();
    assert_eq!(later.await.unwrap(), der(&two));
    offer.set(None);
    assert!(!tls.is_configured());
}

#[tokio::test]
async fn client_certificates_as_the_service_demands() {
    let one = certificate(&["one.test"]);
    let own = certificate(&["client.test"]);
    let cases = [
        (ClientCert::None, true, Some(false)),
        (ClientCert::Optional, false, Some(false)),
        (ClientCert::Optional, true, Some(true)),
        (ClientCert::Required, true, Some(true)),
        (ClientCert::Required, false, None),
    ];
    for (demand, has, expected) in cases {
        let material = Material {
            client_ca: authority().pem(),
            client_cert: demand,
            ..of(&[&one])
        };
        let tls = Tls::over(&Offer::new(&material).table, &[]);
        let rules = Rules {
            certificate: has.then(|| own.clone()),
            ..Rules::default()
        };
        let (stream, client) = session(&tls, &rules.config(), "one.test", None, greet).await;
        let client = client.await.unwrap();
        let origin = stream
            .ok()
            .map(|stream| Origin::new(Peer::Unix).over(&stream));
        let proven = origin.map(|origin| origin.certificate().map(<[u8]>::to_vec));
        let expected = expected.map(|is_known| is_known.then(|| der(&own)));
        assert_eq!(proven, expected, "{demand:?}, has one: {has}");
        drop(client);
    }
}

#[tokio::test]
async fn an_old_version_is_refused_and_the_protocol_agreed_on() {
    let one = certificate(&["one.test"]);
    let material = Material {
        min_version: MinVersion::Tls13,
        ..of(&[&one])
    };
    let tls = Tls::over(&Offer::new(&material).table, &["h2", "http/1.1"]);
    let old = Rules {
        versions: TLS12,
        ..Rules::default()
    };
    let (stream, client) = session(&tls, &old.config(), "one.test", None, greet).await;
    assert_eq!(stream.unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(client.await.unwrap().is_err());
    let new = Rules {
        alpn: &["http/1.1", "h2"],
        ..Rules::default()
    };
    let (stream, client) = session(&tls, &new.config(), "one.test", None, greet).await;
    let stream = stream.unwrap();
    assert_eq!(stream.alpn(), Some(&b"h2"[..]));
    assert_eq!(stream.tls_version(), Some("TLSv1.3"));
    drop(client.await.unwrap());
}

#[tokio::test]
async fn a_connection_is_held_to_the_session_of_another() {
    let one = certificate(&["one.test"]);
    let offer = Offer::new(&of(&[&one]));
    let tls = Tls::over(&offer.table, &[]);
    for versions in [TLS12, TLS13] {
        let rules = || Rules {
            versions,
            ..Rules::default()
        };
        let talk = |mut client: Client| {
            // The tickets of TLS 1.3 come after the handshake: with the first bytes.
            let mut answer = [0; 2];
            client.read_exact(&mut answer).map(|()| client)
        };
        let config = rules().config();
        let (control, client) = session(&tls, &config, "one.test", None, talk).await;
        let mut control = control.unwrap();
        control.write_all(b"ok").await.unwrap();
        let client = client.await.unwrap().unwrap();
        let of_control = control.tls_session().unwrap();
        // Also after the certificate was replaced.
        offer.set(Some(&of(&[&certificate(&["one.test"])])));
        for round in 0..2 {
            let (data, other) = session(&tls, &config, "one.test", Some(of_control), talk).await;
            let mut data = data.unwrap_or_else(|error| panic!("{versions:?} {round}: {error}"));
            data.write_all(b"ok").await.unwrap();
            other.await.unwrap().unwrap();
        }
        // Who is refused gets nothing that would let it in the next time.
        let config = rules().config();
        for _ in 0..3 {
            let (fresh, other) = session(&tls, &config, "one.test", Some(of_control), talk).await;
            assert_eq!(fresh.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
            drop(other.await.unwrap());
        }
        // Another client's session will not do.
        let config = rules().config();
        let (another, other) = session(&tls, &config, "one.test", None, talk).await;
        another.unwrap().write_all(b"ok").await.unwrap();
        other.await.unwrap().unwrap();
        let (data, other) = session(&tls, &config, "one.test", Some(of_control), talk).await;
        assert_eq!(data.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        drop(other.await.unwrap());
        drop(client);
    }
}

#[tokio::test]
async fn a_session_ends_with_the_authority_that_let_it_in() {
    let one = certificate(&["one.test"]);
    let own = certificate(&["client.test"]);
    let material = Material {
        client_ca: authority().pem(),
        client_cert: ClientCert::Optional,
        ..of(&[&one])
    };
    let offer = Offer::new(&material);
    let tls = Tls::over(&offer.table, &[]);
    let rules = Rules {
        certificate: Some(own),
        ..Rules::default()
    };
    let config = rules.config();
    let talk = |mut client: Client| {
        let mut answer = [0; 2];
        client.read_exact(&mut answer).map(|()| client)
    };
    let (stream, client) = session(&tls, &config, "one.test", None, talk).await;
    stream.unwrap().write_all(b"ok").await.unwrap();
    client.await.unwrap().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    offer.set(Some(&Material {
        client_ca: other.pem(),
        ..material
    }));
    let (stream, client) = session(&tls, &config, "one.test", None, talk).await;
    assert_eq!(stream.unwrap_err().kind(), io::ErrorKind::InvalidData);
    drop(client.await.unwrap());
}

#[tokio::test]
async fn a_client_that_says_nothing_is_given_up() {
    let one = certificate(&["one.test"]);
    let tls = Tls::over(&Offer::new(&of(&[&one])).table, &[]);
    let (stream, client) = sockets().await;
    let limit = Duration::from_millis(50);
    let held = tls.hold(stream, None, limit).await;
    assert_eq!(held.unwrap_err().kind(), io::ErrorKind::TimedOut);
    drop(client);
}

#[test]
fn schemes_with_tls_have_one_without() {
    let schemes = [("wss", "ws"), ("mqtts", "tcp")];
    let cases = [
        ("tls", Some("tcp")),
        ("tls+unix", Some("unix")),
        ("wss", Some("ws")),
        ("wss+unix", Some("ws+unix")),
        ("mqtts", Some("tcp")),
        ("ws", None),
        ("tcp", None),
        ("unix", None),
        ("https", None),
    ];
    for (scheme, expected) in cases {
        let inner = inner_scheme(scheme, &schemes);
        assert_eq!(inner.as_deref(), expected, "{scheme}");
    }
}

#[tokio::test]
async fn the_oldest_handshake_makes_room() {
    let places = Places::default();
    let first = places.take();
    let others: Vec<_> = (1..accept::MAX_UNDER_WAY).map(|_| places.take()).collect();
    let last = places.take();
    first.lost().await;
    drop(first);
    let next = places.take();
    others[0].lost().await;
    for place in [&others[1], &last, &next] {
        let lost = timeout(Duration::ZERO, place.lost()).await;
        assert!(lost.is_err());
    }
}
