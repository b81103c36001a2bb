//! The commands that talk to a running host.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use polyport_testkit::Host;

fn host() -> Host {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .prepare()
}

#[test]
fn status_tells_all_of_a_service() {
    let mut host = host();
    host.start();
    let _open = host.connect("one");
    let status = host.wait_status("the connection counts", |status| {
        status["services"][0]["connections"] == 1
    });
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], host.pid());
    assert!(status["uptime"].is_u64());
    assert_eq!(status["generation"], 1);
    assert!(status["last_error"].is_null());
    let one = &status["services"][0];
    assert_eq!(one["name"], "one");
    assert_eq!(one["plugin"], "echo");
    assert_eq!(one["state"], "ready");
    assert_eq!(one["listen"][0], host.addr("one").to_string());
    assert_eq!(one["hash"].as_str().unwrap().len(), 64);
    assert!(one["started"].as_u64().unwrap() > 1_600_000_000);
    let table = host.command(&["status"]).expect_success().stdout();
    assert!(
        table.contains("echo")
            && table.contains("ready")
            && table.contains(&host.addr("one").to_string()),
        "{table}"
    );
    let mode = std::fs::metadata(host.path().join("control.sock"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn listening_addresses_are_printed_before_ready() {
    let mut host = host();
    host.start();
    let log = host.log();
    let line = format!("one (echo 0.1.0) listens on {}", host.addr("one"));
    let listens = log
        .iter()
        .position(|l| *l == line)
        .unwrap_or_else(|| panic!("{line:?} is not in {log:#?}"));
    assert!(listens < log.iter().position(|line| line == "ready").unwrap());
    assert!(
        log.iter().all(|line| !line.contains("make the first")),
        "there is an account: {log:#?}"
    );
}

#[test]
fn stop_returns_when_the_host_has_ended() {
    let mut host = host();
    host.start();
    host.command(&["stop"]).expect_success();
    assert_eq!(host.wait_exit(), Some(0));
    let again = host.command(&["stop"]).expect_code(1).stderr();
    assert!(
        again.contains("no host is running") && again.contains("control.sock"),
        "{again}"
    );
}

#[test]
fn a_second_host_on_the_same_socket_is_refused() {
    let mut host = host();
    host.start();
    let second = host.command(&["run"]).expect_code(1).stderr();
    assert!(
        second.contains("expected no host to answer there"),
        "{second}"
    );
    assert_eq!(host.status()["services"][0]["state"], "ready");
}

#[test]
fn restart_and_reload_say_the_generation_and_unknown_services_are_refused() {
    let mut host = host();
    host.start();
    assert_eq!(
        host.command(&["reload", "--wait"])
            .expect_success()
            .stdout(),
        "generation 1\n"
    );
    assert_eq!(host.command(&["reload"]).expect_success().stdout(), "");
    assert_eq!(
        host.command(&["restart"]).expect_success().stdout(),
        "generation 2\n"
    );
    let unknown = host.command(&["restart", "ghost"]).expect_code(1).stderr();
    assert!(
        unknown.contains("service \"ghost\": expected one of one"),
        "{unknown}"
    );
    assert_eq!(
        host.command(&["diff"]).expect_success().stdout(),
        "one: untouched\n"
    );
}

#[test]
fn wrong_usage_exits_with_two() {
    let host = host();
    host.command(&["explode"]).expect_code(2);
    host.command(&["status", "--colour"]).expect_code(2);
}

#[test]
fn overrides_reach_the_host_and_commands_find_it_by_them() {
    let mut host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .arg("--set")
        .arg("services.one.settings.greeting=\"overridden\"")
        .arg("--set")
        .arg("host.control=\"elsewhere.sock\"")
        .prepare();
    host.start();
    host.command(&["status"]).expect_code(1);
    host.command(&["status", "--set", "host.control=\"elsewhere.sock\""])
        .expect_success();
    let socket = host.path().join("elsewhere.sock");
    host.command(&["status", "--control", socket.to_str().unwrap()])
        .expect_success();
    host.command(&["stop", "--control", socket.to_str().unwrap()])
        .expect_success();
}

#[test]
fn root_binds_low_ports_and_becomes_the_configured_user() {
    // Only root can become somebody else; as anybody else the refusal is what is tested.
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let mut host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .listen("one", &["127.0.0.1:{port:one}", "127.77.0.1:777"])
        .host_keys("user = \"nobody\"")
        .prepare();
    if !root {
        let log = host.try_start().unwrap_err();
        assert!(log.contains("expected to be started by root"), "{log}");
        return;
    }
    // The folder of the test is private to root.
    for folder in [host.path().to_owned(), host.path().join("plugins")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    host.start();
    let nobody = std::fs::metadata(host.path().join("state")).unwrap().uid();
    assert_ne!(nobody, 0);
    for task in std::fs::read_dir(format!("/proc/{}/task", host.pid())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let uids = format!("Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n");
        assert!(
            status.contains(&uids),
            "a thread kept other rights: {status}"
        );
    }
    assert!(std::net::TcpStream::connect("127.77.0.1:777").is_ok());
    assert_eq!(
        host.command(&["restart"]).expect_success().stdout(),
        "generation 2\n"
    );
    host.command(&["stop"]).expect_success();
}
