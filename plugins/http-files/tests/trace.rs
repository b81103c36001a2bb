//! T35: requests and responses as lines, and as a capture file for Wireshark.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use polyport_testkit::tshark;
use support::{HELLO, curl, digest, files_host, fill};

const FILM: u64 = 46 * 65_536;

#[test]
fn t35_each_request_and_response_is_a_line_and_wireshark_reads_the_capture() {
    let host = files_host().file("files/hello.txt", HELLO).start();
    let film = fill(&host.path().join("files/film.bin"), FILM);
    let capture = host.path().join("http.pcap");
    let trace = host.trace("files", &["--write", capture.to_str().unwrap()]);
    let there = tempfile::tempdir().unwrap();
    curl(&host, "/hello.txt")
        .args(["--user", "alice:wonderland"])
        .run()
        .expect_success();
    trace.wait_line("-- closed");
    curl(&host, "/film.bin")
        .arg("--output")
        .arg(there.path().join("film.bin"))
        .run()
        .expect_success();
    trace.wait_line("#2 127.0.0.1");
    polyport_testkit::eventually("the end of the second connection", || {
        let lines = trace.lines();
        let closed = lines.iter().filter(|line| line.ends_with("-- closed"));
        (closed.count() == 2).then_some(())
    });
    let lines = trace.lines().join("\n");
    for expected in [
        "GET /hello.txt HTTP/1.1",
        "HTTP/1.1 200 OK (text/plain; charset=utf-8, 32 bytes)",
        "<-     32  body, 32 bytes",
        "GET /film.bin HTTP/1.1",
        "HTTP/1.1 200 OK (application/octet-stream, 3014656 bytes)",
    ] {
        assert!(lines.contains(expected), "{expected:?} is not in {lines}");
    }
    let body: u64 = trace
        .lines()
        .iter()
        .filter_map(|line| line.split_once("  body, ")?.1.strip_suffix(" bytes"))
        .map(|length| length.parse::<u64>().unwrap())
        .sum();
    assert_eq!(body, 32 + FILM);

    let port = host.port("files");
    let info = ["-Y", "http", "-T", "fields", "-e", "_ws.col.Info"];
    let decoded = tshark(&capture, port, "http", &info).stdout();
    for expected in [
        "GET /hello.txt HTTP/1.1",
        "GET /film.bin HTTP/1.1",
        "200 OK",
    ] {
        assert!(decoded.contains(expected), "{decoded}");
    }
    let objects = there.path().join("objects");
    let export = format!("http,{}", objects.display());
    tshark(&capture, port, "http", &["-q", "--export-objects", &export]);
    assert_eq!(digest(&objects.join("film.bin")), film);
}

#[test]
fn t35_the_bytes_are_shown_when_asked_for_and_only_then() {
    let host = files_host().file("files/hello.txt", HELLO).start();
    for (args, shown) in [(&["--bytes"][..], true), (&[], false)] {
        let trace = host.trace("files", args);
        curl(&host, "/hello.txt?password=secret")
            .args(["--user", "alice:wonderland"])
            .run()
            .expect_success();
        trace.wait_line("-- closed");
        let lines = trace.lines().join("\n");
        assert!(
            lines.contains("GET /hello.txt?password=*** HTTP/1.1"),
            "{lines}"
        );
        let row = "47 45 54 20 2f 68 65 6c  6c 6f 2e 74 78 74 3f 70  GET /hello.txt?p";
        let dumped = lines.contains(row);
        assert_eq!(dumped, shown, "{lines}");
    }
}
