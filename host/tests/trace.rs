//! T35: looking at what passes, as far as the host decides: who is seen, what is lost, what is refused.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod echo;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use echo::{connect, echo};
use polyport_testkit::{Host, PATIENCE, Signal};

fn host() -> Host {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "echo", "polyport-echo")
        .start()
}

#[test]
fn t35_a_line_for_each_thing_and_only_of_the_service_and_client_asked_for() {
    let host = host();
    let mut before = connect(&host, "one");
    echo(&mut before, "nobody looks\n");
    let all = host.trace("one", &[]);
    let mut other = connect(&host, "one");
    let address = other.local_addr().unwrap().to_string();
    let some = host.trace("one", &["--connection", &address]);
    echo(&mut connect(&host, "two"), "another service\n");
    echo(&mut before, "from before\nPASS 1\n");
    echo(&mut other, "just this\n");
    for trace in [&all, &some] {
        trace.wait_line(&format!("{address} ->     10  just this"));
        trace.wait_line(&format!("{address} <-     10  just this"));
    }
    let peer = before.local_addr().unwrap();
    all.wait_line(&format!("{peer} ->     12  from before"));
    all.wait_line(&format!("{peer} ->      7  PASS ***"));
    drop(other);
    some.wait_line("-- closed");
    let lines = |trace: &polyport_testkit::Running| trace.lines().join("\n");
    assert!(!lines(&all).contains("nobody looks"));
    assert!(!lines(&all).contains("another service"));
    assert!(!lines(&some).contains("from before"));
}

#[test]
fn t35_ends_after_so_many_lines_or_by_interrupt() {
    let host = host();
    let mut trace = host.trace("one", &["--count", "2"]);
    echo(&mut connect(&host, "one"), "hello\n");
    assert_eq!(trace.wait_exit(), Some(0));
    trace.wait_line("2 lines, 0 events dropped");
    let mut trace = host.trace("one", &[]);
    trace.signal(Signal::INT);
    assert_eq!(trace.wait_exit(), Some(0));
    trace.wait_line("0 lines, 0 events dropped");
}

#[test]
fn t35_a_capture_is_its_owners_alone() {
    let host = host();
    let file = host.path().join("echo.pcap");
    std::fs::write(&file, "older, and readable by all").unwrap();
    let trace = host.trace("one", &["--write", file.to_str().unwrap()]);
    echo(&mut connect(&host, "one"), "again\n");
    trace.wait_line("-- closed");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let content = std::fs::read(&file).unwrap();
    assert_eq!(content[..4], 0xa1b2_c3d4_u32.to_ne_bytes());
    assert_eq!(content.windows(6).filter(|w| w == b"again\n").count(), 2);
}

#[test]
fn t35_what_cannot_be_looked_at_is_said() {
    let host = host();
    let unknown = host.command(&["trace", "three"]).expect_code(1);
    let expected = "service: expected one of \"one\", \"two\", got \"three\"";
    assert!(unknown.stderr().contains(expected), "{unknown}");
    host.edit_config(|text| text.replace("[services.two]", "[services.two]\nenabled = false"));
    host.command(&["reload", "--wait"]).expect_success();
    let ended = host.command(&["trace", "two"]).expect_code(1);
    assert!(ended.stderr().contains("does not run"), "{ended}");
}

/// Asks for a trace and reads no more than its first line.
fn looks_away(host: &Host) -> BufReader<UnixStream> {
    let mut control = UnixStream::connect(host.path().join("control.sock")).unwrap();
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    let command = r#"{"command":"trace","service":"one","connection":null,"bytes":true}"#;
    writeln!(control, "{command}").unwrap();
    let mut control = BufReader::with_capacity(1024, control);
    control.read_line(&mut String::new()).unwrap();
    control
}

#[test]
fn t35_one_who_does_not_read_or_went_away_holds_up_nobody() {
    let host = host();
    let mut stuck = looks_away(&host);
    drop(looks_away(&host));
    let mut stream = connect(&host, "one");
    let block = "x".repeat(63) + "\n";
    let block = block.repeat(16 * 1024);
    // Forty megabytes each way, far more than may wait.
    for _ in 0..40 {
        let mut writing = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| writing.write_all(block.as_bytes()).unwrap());
            let mut back = vec![0; block.len()];
            stream.read_exact(&mut back).unwrap();
            assert!(back == block.as_bytes());
        });
    }
    drop(stream);
    // What is read at last says how much is missing.
    let seen = loop {
        let mut line = String::new();
        stuck.read_line(&mut line).unwrap();
        let seen: serde_json::Value = serde_json::from_str(&line).unwrap();
        if seen["dropped"].as_u64().unwrap() > 0 {
            break seen;
        }
    };
    assert_eq!(seen["connection"], 1);
}

#[test]
fn t35_looking_goes_on_over_a_swap() {
    let host = host();
    let trace = host.trace("one", &[]);
    host.command(&["restart", "one"]).expect_success();
    echo(&mut connect(&host, "one"), "by the new instance\n");
    trace.wait_line("by the new instance");
}
