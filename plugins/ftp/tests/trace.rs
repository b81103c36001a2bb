//! T35: commands and replies as lines, data connections as well, and a capture file for Wireshark.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use polyport_testkit::{Client, tshark};
use support::{files, write_noise};

#[test]
fn t35_commands_replies_and_data_are_lines_and_wireshark_reads_the_capture() {
    let host = support::builder().start();
    write_noise(&files(&host).join("film.bin"), 2_500_000);
    let capture = host.path().join("ftp.pcap");
    let trace = host.trace("ftp", &["--write", capture.to_str().unwrap()]);
    let there = tempfile::tempdir().unwrap();
    let port = host.port("ftp");
    Client::new("curl")
        .args(["--silent", "--show-error", "--user", "xzz:123456"])
        .arg(format!("ftp://127.0.0.1:{port}/film.bin"))
        .arg("--output")
        .arg(there.path().join("film.bin"))
        .run()
        .expect_success();
    trace.wait_line("221 ");
    trace.wait_line("(data)");
    polyport_testkit::eventually("the ends of both connections", || {
        let lines = trace.lines();
        let closed = lines.iter().filter(|line| line.ends_with("-- closed"));
        (closed.count() == 2).then_some(())
    });
    let lines = trace.lines().join("\n");
    for expected in [
        "  220 ",
        "  USER xzz",
        "  331 ",
        "  PASS ***",
        "  230 ",
        "  EPSV",
        "  RETR film.bin",
        "  150 ",
        "  226 ",
    ] {
        assert!(lines.contains(expected), "{expected:?} is not in {lines}");
    }
    assert!(!lines.contains("123456"), "{lines}");
    let data: u64 = trace
        .lines()
        .iter()
        .filter_map(|line| line.split_once("  data, ")?.1.strip_suffix(" bytes"))
        .map(|length| length.parse::<u64>().unwrap())
        .sum();
    assert_eq!(data, 2_500_000);

    let commands = [
        "-Y",
        "ftp.request",
        "-T",
        "fields",
        "-e",
        "ftp.request.command",
    ];
    let decoded = tshark(&capture, port, "ftp", &commands).stdout();
    for expected in ["USER", "PASS", "RETR", "QUIT"] {
        assert!(decoded.lines().any(|line| line == expected), "{decoded}");
    }
    let data = ["-Y", "ftp-data", "-T", "fields", "-e", "tcp.len"];
    let decoded = tshark(&capture, port, "ftp", &data).stdout();
    let lengths = decoded.lines().map(|line| line.parse::<u64>().unwrap());
    assert_eq!(lengths.sum::<u64>(), 2_500_000, "tshark knows what it is");
    let follow = tshark(&capture, port, "ftp", &["-q", "-z", "follow,tcp,raw,1"]).stdout();
    let content: String = follow
        .lines()
        .map(str::trim)
        .filter(|line| line.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .collect();
    let film = std::fs::read(there.path().join("film.bin")).unwrap();
    assert!(
        content == hex(&film),
        "what sendfile sent is in the capture"
    );
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
