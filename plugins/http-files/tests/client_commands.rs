//! T34: `polyport client http-files`, against this server, over networks that break, and against a plain one.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use polyport_testkit::{Finished, Host, Relay, free_port};
use support::files_host;

/// Bytes that no two places have in common.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

fn url(addr: SocketAddr, path: &str) -> String {
    format!("http://{addr}{path}")
}

fn client(host: &Host, args: &[&str]) -> Finished {
    host.client(&["http-files"]).args(args).run()
}

/// The names in a folder that downloads leave while they are not complete.
fn leftovers(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part"))
        .collect()
}

#[test]
fn t34_a_download_in_any_number_of_segments_is_the_file() {
    let film = noise(3_000_001);
    let host = files_host()
        .file("files/film.mp4", &film)
        .file("files/empty", "")
        .file("files/one", "1")
        .start();
    let addr = host.addr("files");
    for segments in ["1", "3", "16"] {
        client(
            &host,
            &["get", &url(addr, "/film.mp4"), "-s", segments, "-o", "got"],
        )
        .expect_success();
        assert!(
            fs::read(host.path().join("got")).unwrap() == film,
            "{segments} segments"
        );
    }
    for (name, content) in [("empty", ""), ("one", "1")] {
        client(&host, &["get", &url(addr, &format!("/{name}"))]).expect_success();
        assert_eq!(fs::read_to_string(host.path().join(name)).unwrap(), content);
    }
    let shown = client(&host, &["get", &url(addr, "/film.mp4"), "--progress"]).expect_success();
    assert!(
        shown
            .stderr()
            .contains("film.mp4  100 %  3000.0 of 3000.0 kB"),
        "{shown}"
    );
    assert_eq!(leftovers(host.path()), [""; 0]);
}

#[test]
fn t34_a_break_in_every_segment_costs_only_what_was_on_the_way() {
    let film = noise(8_000_000);
    let host = files_host().file("files/film.mp4", &film).start();
    // HEAD, then four segments of 2 MB, each cut in its middle, one of them twice.
    let relay = Relay::new(
        host.addr("files"),
        &[u64::MAX, 500_000, 900_000, 1_000_000, 1_500_000, 300_000],
    );
    let got = client(
        &host,
        &["get", &url(relay.addr(), "/film.mp4"), "-o", "got"],
    )
    .expect_success();
    assert!(
        got.stderr()
            .contains("in the middle of a file; trying again"),
        "{got}"
    );
    assert!(fs::read(host.path().join("got")).unwrap() == film);
    let passed = relay.passed();
    assert!(passed.len() >= 10, "{passed:?}");
    assert!(
        passed.iter().sum::<u64>() < 9_000_000,
        "parts came twice: {passed:?}"
    );
    assert_eq!(leftovers(host.path()), [""; 0]);
}

#[test]
fn t34_continue_goes_on_where_an_earlier_run_ended_but_not_with_another_file() {
    let film = noise(4_000_000);
    let host = files_host().file("files/film.mp4", &film).start();
    let broken = |relay: &Relay| {
        let args = [
            "get",
            &url(relay.addr(), "/film.mp4"),
            "-s",
            "1",
            "--retries",
            "0",
        ];
        let broken = client(&host, &args).expect_code(1);
        assert!(
            broken.stderr().contains("--continue goes on with them"),
            "{broken}"
        );
        assert_eq!(broken.stderr().lines().count(), 1, "{broken}");
        assert!(!host.path().join("film.mp4").exists());
    };
    let relay = Relay::new(host.addr("files"), &[u64::MAX, 3_000_000]);
    broken(&relay);
    client(&host, &["get", "-c", &url(relay.addr(), "/film.mp4")]).expect_success();
    assert!(fs::read(host.path().join("film.mp4")).unwrap() == film);
    assert!(relay.passed()[3] < 1_200_000, "{:?}", relay.passed());

    fs::remove_file(host.path().join("film.mp4")).unwrap();
    let relay = Relay::new(host.addr("files"), &[u64::MAX, 3_000_000]);
    broken(&relay);
    let other: Vec<u8> = film.iter().rev().copied().collect();
    fs::write(host.path().join("files/film.mp4"), &other).unwrap();
    client(&host, &["get", "-c", &url(relay.addr(), "/film.mp4")]).expect_success();
    assert!(fs::read(host.path().join("film.mp4")).unwrap() == other);
    assert_eq!(leftovers(host.path()), [""; 0]);
}

#[test]
fn t34_a_file_that_changes_meanwhile_is_never_put_together() {
    let host = files_host()
        .file("files/film.mp4", noise(4_000_000))
        .start();
    let relay = Relay::new(host.addr("files"), &[u64::MAX, 1_000_000]);
    let get = host
        .client(&[
            "http-files",
            "get",
            "-s",
            "1",
            &url(relay.addr(), "/film.mp4"),
        ])
        .args(["--retries", "100"])
        .spawn();
    get.wait_line("trying again");
    // Whether it goes on before or after this, the first answer to come is the old file or a refusal.
    fs::write(host.path().join("other"), vec![7; 4_000_000]).unwrap();
    fs::rename(
        host.path().join("other"),
        host.path().join("files/film.mp4"),
    )
    .unwrap();
    let mut get = get;
    let code = get.wait_exit();
    match fs::read(host.path().join("film.mp4")) {
        Ok(got) => assert!(got == noise(4_000_000) && code == Some(0)),
        Err(_) => {
            assert_eq!(code, Some(1));
            get.wait_line("the file changed on the server meanwhile");
        }
    }
}

#[test]
fn t34_what_has_no_size_is_fetched_whole() {
    let host = files_host().file("files/folder/a.txt", "inside").start();
    let archive = url(host.addr("files"), "/folder/?archive=tar.gz");
    let nameless = client(&host, &["get", &archive]).expect_code(2);
    assert!(nameless.stderr().contains("-o FILE"), "{nameless}");
    client(&host, &["get", &archive, "-o", "folder.tar.gz"]).expect_success();
    let unpacked = polyport_testkit::Client::new("tar")
        .args(["-xzOf", "folder.tar.gz"])
        .current_dir(host.path())
        .run();
    assert_eq!(unpacked.expect_success().stdout(), "inside");
    assert_eq!(leftovers(host.path()), [""; 0]);
}

#[test]
fn t34_uploads_and_lists_with_an_account() {
    let host = files_host().start();
    let base = url(host.addr("files"), "/");
    let bytes = noise(1_000_000);
    fs::write(host.path().join("ä b.bin"), &bytes).unwrap();
    let alice = ["-u", "alice:wonderland"];
    client(&host, &[&["put", "ä b.bin", &base][..], &alice].concat()).expect_success();
    assert!(fs::read(host.path().join("files/ä b.bin")).unwrap() == bytes);
    let relay = Relay::new(host.addr("files"), &[400_000]);
    let again = url(relay.addr(), "/again");
    let put = host.client(&["http-files", "put", "ä b.bin", &again, "-u", "alice"]);
    let put = put
        .env("POLYPORT_PASSWORD", "wonderland")
        .run()
        .expect_success();
    assert!(put.stderr().contains("trying again"), "{put}");
    assert!(fs::read(host.path().join("files/again")).unwrap() == bytes);

    fs::create_dir(host.path().join("files/folder")).unwrap();
    let list = client(&host, &["list", &base]).expect_success().stdout();
    let names: Vec<&str> = list
        .lines()
        .map(|line| {
            line.splitn(3, "  ")
                .last()
                .unwrap()
                .split("Z  ")
                .last()
                .unwrap()
        })
        .collect();
    assert_eq!(names.len(), 3, "{list}");
    for expected in ["folder/", "ä b.bin", "again"] {
        assert!(
            list.lines()
                .any(|line| line.ends_with(&format!("Z  {expected}"))),
            "{list}"
        );
    }
    let json = client(&host, &["list", "--json", &base])
        .expect_success()
        .json();
    assert_eq!(json["entries"].as_array().unwrap().len(), 3);

    let refused = client(&host, &["put", "ä b.bin", &base]).expect_code(1);
    assert!(refused.stderr().contains(": 401 Unauthorized"), "{refused}");
    fs::write(host.path().join("wrong"), "nothing\n").unwrap();
    let wrong = ["list", &base, "-u", "alice", "--password-file", "wrong"];
    let wrong = client(&host, &wrong).expect_code(1);
    assert_eq!(wrong.stderr(), "polyport: /: 401 Unauthorized\n");
}

#[test]
fn t34_chunks_and_ends_by_closing_are_understood() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut request = String::new();
            while !request.ends_with("\r\n\r\n") && stream.read_line(&mut request).unwrap() > 0 {}
            let (fields, body) = match request.split(' ').nth(1).unwrap() {
                "/chunked" => (
                    "Transfer-Encoding: chunked\r\n",
                    "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
                ),
                "/torn" => ("Transfer-Encoding: chunked\r\n", "3\r\nab"),
                "/closed" => ("", "abcde"),
                _ => ("Content-Length: x\r\n", ""),
            };
            let body = if request.starts_with("HEAD") {
                ""
            } else {
                body
            };
            let answer = format!("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n{fields}\r\n{body}");
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let host = Host::builder().library("polyport-http-files").prepare();
    for name in ["chunked", "closed"] {
        client(&host, &["get", &url(addr, &format!("/{name}"))]).expect_success();
        assert_eq!(fs::read_to_string(host.path().join(name)).unwrap(), "abcde");
    }
    let torn = client(&host, &["get", "--retries", "1", &url(addr, "/torn")]).expect_code(1);
    assert!(torn.stderr().contains("in the middle of a file"), "{torn}");
    assert!(!host.path().join("torn").exists() && leftovers(host.path()).is_empty());
    let bad = client(&host, &["get", &url(addr, "/bad")]).expect_code(1);
    assert!(
        bad.stderr()
            .contains("expected a Content-Length, got \"x\""),
        "{bad}"
    );
}

#[test]
fn t34_wrong_usage_exits_with_2_and_failures_with_1() {
    let host = files_host().start();
    let addr = host.addr("files");
    for (args, said) in [
        (&["get"][..], "expected a URL, got nothing"),
        (&["get", "ftp://h/x"], "expected http://HOST[:PORT]/PATH"),
        (
            &["get", "http://h/x", "-s", "17"],
            "-s: expected 1 to 16, got \"17\"",
        ),
        (&["get", "http://h/x", "http://h/y"], "expected no more"),
        (&["get", "http://h/"], "does not end in a file's name"),
        (&["put", "x"], "expected a URL, got nothing"),
        (&["delete", "http://h/x"], "expected get, put or list"),
    ] {
        let run = client(&host, args).expect_code(2);
        assert!(run.stderr().contains(said), "{run}");
        assert_eq!(run.stderr().lines().count(), 1, "{run}");
    }
    let missing = client(&host, &["get", &url(addr, "/none")]).expect_code(1);
    assert_eq!(missing.stderr(), "polyport: /none: 404 Not Found\n");
    let port = free_port();
    let refused = format!("http://127.0.0.1:{port}/x");
    let refused = client(&host, &["get", "--retries", "0", &refused]).expect_code(1);
    assert_eq!(
        refused.stderr(),
        format!("polyport: 127.0.0.1:{port}: Connection refused (os error 111)\n")
    );
}
