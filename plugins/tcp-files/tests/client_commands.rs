//! T34: `polyport client tcp-files`, against this server and over connections that break.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::net::SocketAddr;

use polyport_testkit::{Builder, Finished, Host, Relay, free_port};

const ACCOUNTS: &str = "\
[user1]
name = xzz
password = 123456
home = files

[anonymous]
services = tcp-files
rights = read
";

fn builder() -> Builder {
    Host::builder().service("tcp-files").accounts(ACCOUNTS)
}

fn client(host: &Host, args: &[&str]) -> Finished {
    let client = host.client(&["tcp-files"]).args(args);
    client.env("POLYPORT_PASSWORD", "123456").run()
}

fn url(addr: SocketAddr, path: &str) -> String {
    format!("tcp://{addr}/{path}")
}

/// Bytes of which every eight are their own position.
fn film(len: u64) -> Vec<u8> {
    (0..len / 8).flat_map(u64::to_le_bytes).collect()
}

#[test]
fn t34_login_and_download_with_and_without_an_account() {
    let host = builder()
        .file("files/film ä.rmvb", film(2_000_000))
        .file("files/empty", "")
        .start();
    let addr = host.addr("tcp-files");
    let passed = client(&host, &["login", &url(addr, ""), "-u", "xzz"]).expect_success();
    assert_eq!(passed.stdout(), "passed\n");
    let wrong = client(&host, &["login", &url(addr, ""), "-u", "xzz:1"]).expect_code(1);
    assert_eq!(
        wrong.stderr(),
        "polyport: login of \"xzz\": 201 wrong user or password\n"
    );
    for account in [&["-u", "xzz"][..], &[]] {
        let get = ["get", &url(addr, "film%20ä.rmvb"), "--progress"];
        let got = client(&host, &[&get[..], account].concat()).expect_success();
        assert!(
            got.stderr()
                .contains("film ä.rmvb  100 %  2000.0 of 2000.0 kB"),
            "{got}"
        );
        assert!(fs::read(host.path().join("film ä.rmvb")).unwrap() == film(2_000_000));
        fs::remove_file(host.path().join("film ä.rmvb")).unwrap();
    }
    client(&host, &["get", &url(addr, "empty"), "-o", "nothing"]).expect_success();
    assert_eq!(fs::read(host.path().join("nothing")).unwrap(), b"");
}

#[test]
fn t34_a_download_goes_on_after_a_break_in_this_run_and_in_a_later_one() {
    let host = builder().file("files/film", film(3_000_000)).start();
    let relay = Relay::new(host.addr("tcp-files"), &[1_000_000, 700_000]);
    let got = client(&host, &["get", &url(relay.addr(), "film")]).expect_success();
    assert_eq!(got.stderr().matches("trying again").count(), 2, "{got}");
    assert!(fs::read(host.path().join("film")).unwrap() == film(3_000_000));
    assert!(
        relay.passed().iter().sum::<u64>() < 3_100_000,
        "{:?}",
        relay.passed()
    );

    let relay = Relay::new(host.addr("tcp-files"), &[2_000_000]);
    let once = [
        "get",
        &url(relay.addr(), "film"),
        "-o",
        "again",
        "--retries",
        "0",
    ];
    let broken = client(&host, &once).expect_code(1);
    assert!(
        broken.stderr().contains("--continue goes on with them"),
        "{broken}"
    );
    assert_eq!(broken.stderr().lines().count(), 1, "{broken}");
    assert!(!host.path().join("again").exists());
    client(&host, &[&once[..], &["-c"]].concat()).expect_success();
    assert!(fs::read(host.path().join("again")).unwrap() == film(3_000_000));
    assert!(
        *relay.passed().last().unwrap() < 1_100_000,
        "{:?}",
        relay.passed()
    );

    // A part of a file of another size is not gone on with.
    let relay = Relay::new(host.addr("tcp-files"), &[2_000_000]);
    let once = [
        "get",
        &url(relay.addr(), "film"),
        "-o",
        "third",
        "--retries",
        "0",
    ];
    client(&host, &once).expect_code(1);
    let other = vec![7; 2_500_000];
    fs::write(host.path().join("files/film"), &other).unwrap();
    client(&host, &[&once[..], &["-c"]].concat()).expect_success();
    assert!(fs::read(host.path().join("third")).unwrap() == other);
}

#[test]
fn t34_wrong_usage_exits_with_2_and_failures_with_1() {
    let host = builder().start();
    let addr = host.addr("tcp-files");
    for (args, said) in [
        (&["get"][..], "expected a URL, got nothing"),
        (&["get", "ftp://h/x"], "expected tcp://HOST[:PORT]/PATH"),
        (&["get", "tcp://h/"], "does not end in a file's name"),
        (&["login", "tcp://h/"], "-u: expected a user"),
        (&["put", "x"], "expected login or get"),
    ] {
        let run = client(&host, args).expect_code(2);
        assert!(run.stderr().contains(said), "{run}");
        assert_eq!(run.stderr().lines().count(), 1, "{run}");
    }
    let missing = client(&host, &["get", &url(addr, "none")]).expect_code(1);
    assert_eq!(
        missing.stderr(),
        "polyport: /none: 300 file does not exist\n"
    );
    let port = free_port();
    let refused = format!("tcp://127.0.0.1:{port}/x");
    let refused = client(&host, &["get", &refused, "--retries", "0"]).expect_code(1);
    assert_eq!(
        refused.stderr(),
        format!("polyport: 127.0.0.1:{port}: Connection refused (os error 111)\n")
    );
}
