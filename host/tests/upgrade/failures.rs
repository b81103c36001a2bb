//! Whatever goes wrong before the new process is ready: the old one goes on as it was, and says why.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use polyport_testkit::{Host, eventually};
use rustix::process::Signal;

use super::{Client, IMPATIENT, PATIENT, Upgradable, generation, keeper, kill, processes};

/// Puts a script in the program's place.
fn put(program: &Path, script: &str) {
    let fresh = program.with_extension("new");
    fs::write(&fresh, script).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(fresh, program).unwrap();
}

/// Upgrades in vain; what is told. Connections and store are as they were, and the next upgrade succeeds.
fn in_vain(host: &Upgradable, client: &mut Client) -> String {
    let sum: u64 = client.ask("add 0").parse().unwrap();
    let told = host.refused();
    assert_eq!(client.ask("add 1"), (sum + 1).to_string());
    assert_eq!(
        Client::connect(host, "one").ask("get"),
        format!("{} first", sum + 1)
    );
    told
}

#[test]
fn a_program_that_cannot_take_over_is_told_and_a_good_one_does() {
    let mut host = Upgradable::start_own(keeper(""));
    let mut client = Client::connect(&host, "one");
    let (program, good) = programs(&host);
    let generation_before = generation(&host);
    for (script, told) in [
        (
            "#!/bin/sh\nexit 3\n",
            "ended before it was ready (exit status: 3)",
        ),
        (
            "#!/bin/sh\nprintf 'what do you want?' >&0\nexec sleep 60\n",
            "expected lengths",
        ),
        (
            // The length of the JSON, of the bytes, the number of files.
            "#!/bin/sh\nprintf '\\0\\0\\0\\041\\0\\0\\0\\0\\0\\0\\0\\0{\"protocol\":99,\"version\":\"9.0.0\"}' >&0\nexec sleep 60\n",
            "polyport 9.0.0 version 99",
        ),
    ] {
        put(&program, script);
        let said = upgrade_by(&host, &good).1;
        assert!(said.contains(told), "expected {told:?}, got {said:?}");
        assert!(client.ask("add 1").parse::<u64>().is_ok());
    }
    fs::remove_file(&program).unwrap();
    let (code, said) = upgrade_by(&host, &good);
    assert!(
        code == Some(1) && said.contains("expected a program, got No such file"),
        "{said}"
    );
    fs::write(&program, "text").unwrap();
    let (_, said) = upgrade_by(&host, &good);
    assert!(
        said.contains("expected a program, got a file that is not executable"),
        "{said}"
    );
    fs::remove_file(&program).unwrap();
    fs::rename(&good, &program).unwrap();
    let sum = client.ask("add 0");
    host.upgrade();
    host.first_ended();
    assert_eq!(client.ask("add 0"), sum);
    assert_eq!(generation(&host), generation_before);
}

#[test]
fn a_program_that_says_nothing_is_given_up() {
    let host = Upgradable::start_own(keeper("ready_timeout = \"4s\""));
    let mut client = Client::connect(&host, "one");
    let (program, good) = programs(&host);
    put(&program, "#!/bin/sh\nexec sleep 60\n");
    let (_, said) = upgrade_by(&host, &good);
    let told = "expected a word of the new process within 4s, got nothing";
    assert!(said.contains(told), "{said}");
    assert_eq!(client.ask("add 1"), "1");
}

/// The program of a host that has its own, and a copy that stays as it is.
fn programs(host: &Host) -> (PathBuf, PathBuf) {
    let (program, good) = (host.path().join("polyport"), host.path().join("good"));
    fs::copy(&program, &good).unwrap();
    (program, good)
}

/// `upgrade --wait` by another copy of the program than the one that is to be started; exit code and error.
fn upgrade_by(host: &Host, program: &Path) -> (Option<i32>, String) {
    let output = std::process::Command::new(program)
        .args(["upgrade", "--wait", "-c"])
        .arg(host.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    (output.status.code(), said)
}

#[test]
fn a_broken_configuration_and_a_service_that_does_not_start_are_refused() {
    let builder = keeper("")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("two", "mode = \"behave\"");
    let mut host = Upgradable::start(builder);
    // Nobody reads the files before the new process does.
    host.edit_config(|text| text.replace("quiet_time = \"50ms\"", "quiet_time = \"1m\""));
    host.command(&["reload", "--wait"]).expect_success();
    let mut client = Client::connect(&host, "one");
    let text = fs::read_to_string(host.config()).unwrap();
    for (from, to, told) in [
        (
            "quiet_time",
            "quiet_tim",
            "unknown key, did you mean \"quiet_time\"?",
        ),
        (
            "mode = \"behave\"",
            "mode = \"panic-at-start\"",
            "start panics as asked",
        ),
        (
            "mode = \"behave\"",
            "mode = \"fail-at-start\"",
            "start fails as asked",
        ),
        (
            "take = \"good\"",
            "take = \"error\"",
            "the take-over fails as asked",
        ),
        (
            "take = \"good\"",
            "take = \"panic\"",
            "the take-over panics as asked",
        ),
        (
            "take = \"good\"",
            "take = \"never\"",
            "its successor: expected it to be ready",
        ),
        (
            "plugin = \"misbehaving\"",
            "plugin = \"missing\"",
            "missing",
        ),
    ] {
        let wrong = text.replace(from, to);
        let wrong = match to.contains("never") {
            true => wrong.replace(PATIENT, IMPATIENT),
            false => wrong,
        };
        fs::write(host.config(), wrong).unwrap();
        let said = in_vain(&host, &mut client);
        assert!(said.contains(told), "expected {told:?}, got {said:?}");
    }
    fs::write(host.config(), &text).unwrap();
    host.upgrade();
    host.first_ended();
    assert!(client.ask("add 0").parse::<u64>().unwrap() > 0);
}

#[test]
fn a_freeze_that_fails_leaves_all_as_it_was() {
    let host = Upgradable::start(keeper(""));
    let mut client = Client::connect(&host, "one");
    for (outcome, told) in [
        ("error", "the freeze fails as asked"),
        ("panic", "the freeze panics as asked"),
        ("never", "expected it to be frozen in time"),
    ] {
        host.edit_config(|text| {
            let text = match outcome {
                "never" => text.replace(PATIENT, IMPATIENT),
                _ => text.to_owned(),
            };
            let (before, after) = text.split_once("freeze = \"").unwrap();
            let (_, after) = after.split_once('"').unwrap();
            format!("{before}freeze = \"{outcome}\"{after}")
        });
        host.command(&["reload", "--wait"]).expect_success();
        let said = in_vain(&host, &mut client);
        assert!(said.contains(told), "expected {told:?}, got {said:?}");
    }
}

#[test]
fn a_new_process_that_is_killed_before_it_serves_changes_nothing() {
    let builder = keeper("")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("two", "mode = \"behave\"");
    let host = Upgradable::start(builder);
    host.edit_config(|text| text.replace("quiet_time = \"50ms\"", "quiet_time = \"1m\""));
    host.command(&["reload", "--wait"]).expect_success();
    let mut client = Client::connect(&host, "one");
    host.edit_config(|text| text.replace("mode = \"behave\"", "mode = \"never-ready\""));
    let (old, told) = std::thread::scope(|scope| {
        let asking = scope.spawn(|| host.command(&["upgrade", "--wait"]).expect_code(1).stderr());
        let new = eventually("the new process has said hello", || host.started().pop());
        // A reload waits for the end of the upgrade, a look does not.
        let reload = scope.spawn(|| host.command(&["reload", "--wait"]).stderr());
        assert_eq!(Client::connect(&host, "one").ask("get"), "0 first");
        let old = host.serving();
        kill(new, Signal::KILL);
        assert!(reload.join().unwrap().contains("expected it to be ready"));
        (old, asking.join().unwrap())
    });
    assert!(
        told.contains("ended before it was ready (signal: 9 (SIGKILL))"),
        "{told}"
    );
    assert_eq!(host.serving(), old);
    assert_eq!(client.ask("add 1"), "1");
}

#[test]
fn the_end_of_the_old_process_ends_an_upgrade_under_way() {
    let builder = keeper("ready_timeout = \"30s\"")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("two", "mode = \"behave\"");
    let mut host = Upgradable::start(builder);
    host.edit_config(|text| text.replace("quiet_time = \"50ms\"", "quiet_time = \"1m\""));
    host.command(&["reload", "--wait"]).expect_success();
    host.edit_config(|text| text.replace("mode = \"behave\"", "mode = \"never-ready\""));
    host.command(&["upgrade"]).expect_success();
    let new = eventually("the new process has said hello", || host.started().pop());
    assert_eq!(host.sigterm(), Some(0));
    eventually("the new process is gone", || {
        (!processes(host.path()).contains(&new)).then_some(())
    });
    assert!(!host.path().join("state/control.sock").exists());
}

#[test]
fn kill_9_of_both_at_any_time_leaves_a_state_to_start_from() {
    let mut host = Upgradable::start(keeper(""));
    for delay in [0, 100, 300, 600, 1000, 1500] {
        let mut client = Client::connect(&host, "one");
        let sum: u64 = client.ask("add 1").parse().unwrap();
        host.command(&["upgrade"]).expect_success();
        std::thread::sleep(Duration::from_millis(delay));
        host.kill9();
        eventually("nobody is left", || {
            let left = processes(host.path());
            left.iter().for_each(|pid| kill(*pid, Signal::KILL));
            // A process has a folder no more a moment before the last of its sockets is closed.
            let answers = UnixStream::connect(host.path().join("control.sock")).is_ok()
                || TcpStream::connect(host.addr("one")).is_ok();
            (left.is_empty() && !answers).then_some(())
        });
        host.start();
        assert_eq!(generation(&host), 1);
        let again = Client::connect(&host, "one").ask("get");
        assert_eq!(again, format!("{sum} first"));
    }
}
