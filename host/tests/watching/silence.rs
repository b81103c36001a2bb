//! Changes that no event tells of, or whose events are lost.

use std::fs::File;

use polyport_testkit::{Client, Signal};

use super::*;

#[test]
fn events_that_overflow_the_queue() {
    let host = started();
    let limit = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let limit: u32 = limit.trim().parse().unwrap();
    fs::write(host.config(), greeting_with(&host, "before")).unwrap();
    await_greeting(&host, "before");
    let text = greeting_with(&host, "after");
    let mark = host.log_mark();
    host.signal(Signal::STOP);
    // Each is made, closed and removed: half as much again as fits.
    for junk in 0..limit / 2 {
        let junk = host.path().join(format!("junk{junk}"));
        File::create(&junk).unwrap();
        fs::remove_file(&junk).unwrap();
    }
    fs::write(host.config(), text).unwrap();
    host.signal(Signal::CONT);
    host.wait_log(mark, "the system lost events of files");
    await_greeting(&host, "after");
}

/// What is written by way of memory raises no event before it is closed.
#[test]
fn a_change_without_an_event_is_found_by_looking_again() {
    let host = started();
    let script = r#"
import mmap, sys, time
with open(sys.argv[1], "r+b") as file:
    text = mmap.mmap(file.fileno(), 0)
    at = text.find(b"first")
    text[at:at + 5] = b"quiet"
    print("changed", flush=True)
    time.sleep(60)
"#;
    let python = Client::new("python3").args(["-c", script]);
    let writer = python.arg(host.config()).spawn();
    writer.wait_line("changed");
    await_greeting(&host, "quiet");
    // No event told of it. The line may come after the greeting.
    host.wait_log(0, SILENT);
}

/// As on a network folder, or where others use up what the system has of it.
#[test]
fn a_system_without_events_is_looked_at_every_few_seconds() {
    let Some(host) = started_in_namespaces(
        &["--user", "--map-root-user"],
        "echo 0 > /proc/sys/user/max_inotify_instances",
    ) else {
        return;
    };
    host.wait_log(0, "changes of files: no events: ");
    draft(&host, "seen");
    shell(&host, "mv draft polyport.toml");
    await_greeting(&host, "seen");
    host.wait_log(0, SILENT);
    let log = host.log();
    let told = log.iter().filter(|line| line.contains("no events: "));
    assert_eq!(told.count(), 1, "said once");
}

/// As a container is given a single file: what happens to it happens in another folder.
#[test]
fn a_file_that_is_mounted_alone() {
    let Some(host) = started_in_namespaces(
        &["--user", "--map-root-user", "--mount"],
        "cp polyport.toml outside; mount --bind outside polyport.toml",
    ) else {
        return;
    };
    draft(&host, "outside");
    shell(&host, "cat draft > outside");
    await_greeting_by_event(&host, "outside");
}

/// A host in namespaces of its own, where `first` was done before; none where there are none.
fn started_in_namespaces(namespaces: &[&str], first: &str) -> Option<Host> {
    let works = Command::new("unshare")
        .args(namespaces)
        .arg("true")
        .status();
    if !works.is_ok_and(|status| status.success()) {
        println!("skipped: no namespaces here");
        return None;
    }
    let script = format!("{first}; exec \"$@\"");
    let under = [&["unshare"], namespaces, &["sh", "-euc", &script, "sh"]].concat();
    let host = Host::builder()
        .under(&under)
        .plugin("one", "echo", "polyport-echo")
        .settings("one", "greeting = \"first\"")
        .host_keys("log = { level = \"info,polyport::watch=debug\" }")
        .prepare();
    Some(start(host))
}
