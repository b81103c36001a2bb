//! A thousand bad logins a second from 64 addresses: who is logged in does not notice, and who logs
//! in is served.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use polyport_testkit::{Host, PASSWORD, PATIENCE, USER, figure};
use socket2::{Domain, Socket, Type};

const ADDRESSES: u8 = 64;
const EACH_A_SECOND: u64 = 16;
/// Connections that an address keeps open.
const OPEN: usize = 12;
const LASTS: Duration = Duration::from_secs(6);

/// `USER:PASSWORD` in Base64.
fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"))
}

/// Sends a request from `source` on a connection of its own.
fn send(server: SocketAddr, source: Ipv4Addr, credentials: &str) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into())?;
    socket.connect(&server.into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET /a.txt HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Basic {credentials}\r\n\r\n"
    )?;
    Ok(stream)
}

/// The status of its answer.
fn status(server: SocketAddr, source: Ipv4Addr, credentials: &str) -> std::io::Result<u16> {
    let mut line = String::new();
    BufReader::new(send(server, source, credentials)?).read_line(&mut line)?;
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    status.ok_or_else(|| std::io::Error::other(format!("status line {line:?}")))
}

fn flood(bans: &str) -> (Vec<Duration>, Duration) {
    let host = Host::builder()
        .service("files")
        .host_keys(&format!("[host.ban]\n{bans}"))
        .file("files/a.txt", "hello")
        .start();
    host.add_account("bob", "secret", &["--home", "files"]);
    host.command(&["reload", "--wait"]).expect_success();
    let server = host.addr("files");
    let alice = basic(USER, PASSWORD);
    assert_eq!(status(server, Ipv4Addr::LOCALHOST, &alice).unwrap(), 200);
    let (over, sent) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 1..=ADDRESSES {
            let (over, sent) = (&over, &sent);
            scope.spawn(move || {
                let source = Ipv4Addr::new(127, 0, 1, number);
                let begin = Instant::now();
                let mut open = VecDeque::new();
                for count in 0.. {
                    if over.load(Ordering::Relaxed) {
                        return;
                    }
                    // Some for one user, some for users that do not exist, never the same password.
                    let user = if count % 2 == 0 { USER } else { "nobody" };
                    let credentials = basic(user, &format!("{number} {count}"));
                    if let Ok(stream) = send(server, source, &credentials) {
                        sent.fetch_add(1, Ordering::Relaxed);
                        // Nobody waits for the answer, but for a while the connection stands.
                        open.push_back(stream);
                    }
                    if open.len() > OPEN {
                        open.pop_front();
                    }
                    let due = begin + Duration::from_millis(1000 * (count + 1) / EACH_A_SECOND);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            });
        }
        let begin = Instant::now();
        let mut times = Vec::new();
        let mut bob = None;
        while begin.elapsed() < LASTS {
            let asked = Instant::now();
            assert_eq!(status(server, Ipv4Addr::LOCALHOST, &alice).unwrap(), 200);
            times.push(asked.elapsed());
            if bob.is_none() && begin.elapsed() > LASTS / 2 {
                let asked = Instant::now();
                let status = status(server, Ipv4Addr::new(127, 0, 0, 2), &basic("bob", "secret"));
                assert_eq!(status.unwrap(), 200);
                bob = Some(asked.elapsed());
            }
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        figure(
            "bad logins a second",
            sent.load(Ordering::Relaxed) / LASTS.as_secs(),
        );
        times.sort();
        (times, bob.unwrap())
    })
}

#[test]
fn a_flood_of_bad_logins_leaves_others_unharmed() {
    // Without bans every one of them is a hash; with them only the first of each address.
    for (name, bans) in [
        ("without bans", "enabled = false"),
        (
            "with bans",
            "exempt = []\naddress_failures = 3\nuser_failures = 65535",
        ),
    ] {
        let (times, bob) = flood(bans);
        let (median, slowest) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        figure(
            &format!("request of a user who is logged in, {name}, median"),
            format!("{median:?}"),
        );
        figure(
            &format!("request of a user who is logged in, {name}, 99 %"),
            format!("{slowest:?}"),
        );
        figure(&format!("new login, {name}"), format!("{bob:?}"));
        assert!(median < Duration::from_millis(200), "{median:?}");
        assert!(slowest < Duration::from_secs(2), "{slowest:?}");
        assert!(bob < Duration::from_secs(15), "{bob:?}");
    }
}
