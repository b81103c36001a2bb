//! The first release, kept as source in `fixtures/first-release`: its plugin in today's host, and today's
//! plugin in its host.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use polyport_testkit::{Host, PATIENCE, target_dir};

/// Builds the frozen workspace, once, and gives the folder of its artifacts.
fn first_release() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let target = target_dir().join("first-release");
        let manifest = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/first-release/Cargo.toml"
        );
        let built = Command::new(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--locked",
                "--manifest-path",
                manifest,
                "--target-dir",
            ])
            .arg(&target)
            .status()
            .unwrap();
        assert!(
            built.success(),
            "the first release cannot be built any more"
        );
        target.join("debug")
    })
}

#[test]
fn its_plugin_loads_in_todays_host() {
    let host = Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .plugin("first", "echo", "polyport-echo")
        .prepare();
    let library = first_release().join("libpolyport_first.so");
    std::fs::copy(library, host.path().join("plugins/libpolyport_first.so")).unwrap();
    host.edit_config(|text| {
        text.replacen(
            "[services.first]\nplugin = \"echo\"",
            "[services.first]\nplugin = \"first\"",
            1,
        )
    });
    let mut host = host;
    host.start();
    let mut line = String::new();
    BufReader::new(host.connect("first"))
        .read_line(&mut line)
        .unwrap();
    assert_eq!(
        line,
        "log/1 metrics/1 accounts/1 control/1 anonymous=false\n"
    );
    let status = host.wait_status("the client was counted", |status| {
        status["services"][1]["metrics"]["clients"] == 1
    });
    assert_eq!(status["services"][1]["state"], "ready");
    assert!(
        host.log()
            .iter()
            .any(|line| line.contains("first: started")),
        "{:#?}",
        host.log()
    );
    assert_eq!(host.sigterm(), Some(0));
}

#[test]
fn todays_plugin_loads_in_its_host() {
    let mut child = Command::new(first_release().join("polyport-first-host"))
        .arg(polyport_testkit::library("polyport-echo"))
        .arg("polyport_entry_polyport_echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let address = said
        .find_map(|line| line.strip_prefix("listens on ").map(str::to_owned))
        .expect("it started");
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).unwrap();
    assert_eq!(line, "hello\n");
    drop(child.stdin.take());
    assert!(said.any(|line| line == "stopped"));
    assert!(child.wait().unwrap().success());
}
