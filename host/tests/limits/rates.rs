//! Bytes a second, up and down, on each connection: measured from below.

use std::time::{Duration, Instant};

use super::*;

const RATE: u64 = 100_000;
const BYTES: usize = 250_000;
/// What passes before the first wait, and what the system has taken without its client.
const AHEAD: usize = 40_000;
/// A file that no sockets hold.
const BIG: u64 = 1 << 30;

/// The least time that the bytes may take.
fn least() -> Duration {
    Duration::from_secs_f64((BYTES - AHEAD) as f64 / RATE as f64)
}

fn curl(arguments: &[&str]) -> Duration {
    let start = Instant::now();
    Client::new("curl")
        .arg("-sS")
        .args(arguments)
        .run()
        .expect_success();
    start.elapsed()
}

#[test]
fn downloads_are_no_faster_than_allowed() {
    let file = vec![b'x'; BYTES];
    let host = all_services(&format!("limits.rate_down = {RATE}"))
        .file("files/big", &file)
        .start();
    let (http, ftp) = (
        format!("http://{}/big", host.addr("files")),
        format!("ftp://{}/big", host.addr("ftp")),
    );
    std::thread::scope(|scope| {
        for url in [&http, &ftp] {
            let out = host.path().join(url.replace(['/', ':'], "-"));
            let file = &file;
            scope.spawn(move || {
                let took = curl(&["-o", out.to_str().unwrap(), url]);
                assert!(took >= least(), "{url}: {took:?}");
                assert!(std::fs::read(&out).unwrap() == *file, "{url}");
            });
        }
        let mut stream = host.connect("tcp-files");
        scope.spawn(move || {
            let start = Instant::now();
            stream
                .write_all(b"{\"cmd\": \"get\", \"file\": \"big\"}")
                .unwrap();
            let mut all = vec![0; BYTES];
            stream.read_exact(&mut all).unwrap();
            assert!(start.elapsed() >= least(), "{:?}", start.elapsed());
        });
    });
}

#[test]
fn uploads_are_no_faster_than_allowed() {
    let host = all_services(&format!("limits.rate_up = \"{}K\"", RATE / 1000))
        .file("files/there", "x")
        .start();
    let local = host.path().join("local");
    std::fs::write(&local, vec![b'y'; BYTES]).unwrap();
    let local = local.to_str().unwrap();
    let (http, ftp) = (
        format!("http://{}/by-http", host.addr("files")),
        format!("ftp://{}/by-ftp", host.addr("ftp")),
    );
    std::thread::scope(|scope| {
        for url in [&http, &ftp] {
            scope.spawn(move || {
                let took = curl(&["-T", local, url]);
                assert!(took >= least(), "{url}: {took:?}");
            });
        }
        let port = host.port("mqtt").to_string();
        scope.spawn(move || {
            // A publisher at QoS 1 has its PUBACK when the broker has read all.
            let start = Instant::now();
            let arguments = ["-p", &port, "-t", "t", "-q", "1", "-f", local];
            Client::new("mosquitto_pub")
                .args(arguments)
                .run()
                .expect_success();
            assert!(start.elapsed() >= least(), "{:?}", start.elapsed());
        });
    });
    for name in ["by-http", "by-ftp"] {
        let stored = std::fs::metadata(host.path().join("files").join(name)).unwrap();
        assert_eq!(stored.len(), BYTES as u64, "{name}");
    }
}

#[test]
fn an_account_has_a_rate_for_all_of_its_connections_together() {
    let file = vec![b'x'; BYTES];
    let host = Host::builder()
        .all_services()
        .file("files/big", &file)
        .accounts(&format!(
            "[slow]\nname = slow\npassword = secret\nallow.1 = all /**\nallow.2 = publish,subscribe #\nrate_down = {RATE}\n"
        ))
        .start();
    let http = format!("http://slow:secret@{}/big", host.addr("files"));
    let ftp = format!("ftp://slow:secret@{}/big", host.addr("ftp"));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for url in [&http, &ftp] {
            scope.spawn(move || curl(&["-o", "/dev/null", url]));
        }
    });
    let took = start.elapsed();
    assert!(took >= least() * 2, "{took:?}");
}

#[test]
fn a_rate_can_be_set_while_bytes_pass() {
    let host = all_services("").start();
    // Far more than sockets take, and sparse.
    let big = std::fs::File::create(host.path().join("files/big")).unwrap();
    big.set_len(BIG).unwrap();
    let mut stream = host.connect("files");
    stream
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut some = vec![0; 100_000];
    stream.read_exact(&mut some).unwrap();
    host.edit_config(|text| {
        text.replacen(
            "[services.files]\n",
            "[services.files]\nlimits.rate_down = \"100K\"\n",
            1,
        )
    });
    reload(&host);
    // What the system has taken already comes at once, and then it is slow: three times in a row, for once may be
    // the machine.
    let (mut read, mut slow) = (0, 0);
    while slow < 3 {
        let start = Instant::now();
        stream.read_exact(&mut some).unwrap();
        read += some.len() as u64;
        assert!(read < BIG / 2, "{read} bytes, and it is not slow yet");
        slow = match start.elapsed() >= Duration::from_millis(500) {
            true => slow + 1,
            false => 0,
        };
    }
}
