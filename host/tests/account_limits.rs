//! What an account may use up, over all services together: bytes a second and bytes stored.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod wire;

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use polyport_testkit::Host;
use wire::ftp::Ftp;
use wire::http::Http;
use wire::tcp_files::TcpFiles;

/// Bytes a second of the account that is slowed.
const RATE: usize = 200 * 1024;

fn host(accounts: &str) -> Host {
    Host::builder()
        .all_services()
        .accounts(accounts)
        .file("files/big", vec![b'x'; RATE * 3 / 2])
        .file("home/a/old", vec![b'x'; 30_000])
        .start()
}

fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

fn by_http(files: SocketAddr, user: &str) {
    let mut client = Http::login(files, user, "x");
    let answer = client.request("GET", "/big", &[], b"").unwrap();
    assert_eq!(
        (answer.status, answer.body.len()),
        (200, RATE * 3 / 2),
        "{user}"
    );
}

fn by_tcp(tcp: SocketAddr, user: &str) {
    let mut client = TcpFiles::login(tcp, user, "x");
    assert_eq!(client.get("big").unwrap().1.len(), RATE * 3 / 2, "{user}");
}

#[test]
fn a_rate_is_shared_by_all_sessions_of_an_account_and_nobody_else() {
    let host =
        host("[slow]\npassword = x\nrate_down = 200K\nrate_up = 200K\n[fast]\npassword = x\n");
    let (files, tcp) = (host.addr("files"), host.addr("tcp-files"));
    let mut fast = Duration::ZERO;
    let slow = timed(|| {
        thread::scope(|scope| {
            scope.spawn(|| by_http(files, "slow"));
            scope.spawn(|| by_tcp(tcp, "slow"));
            // The quickest of some: any one may be held up on a busy machine.
            let both = || timed(|| by_http(files, "fast")) + timed(|| by_tcp(tcp, "fast"));
            fast = (0..3).map(|_| both()).min().unwrap_or_default();
        });
    });
    // Three seconds' worth, but for what passes at once at the beginning.
    assert!(slow > Duration::from_millis(2300), "{slow:?}");
    assert!(fast < slow / 2, "{fast:?} beside {slow:?}");
    let stored = timed(|| {
        let mut ftp = Ftp::login(host.addr("ftp"), "slow", "x");
        let replies = ftp.upload("STOR up", &[b'x'; RATE]).unwrap();
        assert_eq!(replies.last().unwrap().code, 226, "{replies:?}");
    });
    assert!(stored > Duration::from_millis(600), "{stored:?}");
}

#[test]
fn a_quota_is_shared_by_all_services_and_counts_what_was_there() {
    let host = host("[a]\npassword = x\nhome = home/a\nquota = 100000\n");
    let mut http = Http::login(host.addr("files"), "a", "x");
    let mut put = |name: &str, bytes: usize| {
        let answer = http.request("PUT", name, &[], &vec![b'x'; bytes]);
        answer.unwrap().status
    };
    let store = |name: &str, bytes: usize| {
        let mut ftp = Ftp::login(host.addr("ftp"), "a", "x");
        let replies = ftp.upload(format!("STOR {name}"), &vec![b'x'; bytes]);
        replies.unwrap().last().unwrap().code
    };
    assert_eq!(put("/one", 40_000), 201);
    assert_eq!(store("two", 40_000), 552);
    assert_eq!(store("two", 25_000), 226);
    assert_eq!(put("/three", 10_000), 507);
    // In the place of a file that is as large there is room.
    assert_eq!(put("/one", 40_000), 204);
    assert_eq!(store("two", 25_000), 226);
    let mut ftp = Ftp::login(host.addr("ftp"), "a", "x");
    assert_eq!(ftp.command("DELE one").code, 250);
    assert_eq!(put("/three", 40_000), 201);
    assert_eq!(put("/four", 10_000), 507);
    for absent in ["one", "four"] {
        assert!(
            !host.path().join("home/a").join(absent).exists(),
            "{absent}"
        );
    }
}
