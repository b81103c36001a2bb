//! The kit against the real program.

use std::io::{Read, Write};

use polyport_testkit::{Host, Signal};

#[test]
fn a_host_runs_takes_commands_and_ends() {
    let mut host = Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .start();
    let mut stream = host.connect("echo");
    stream.write_all(b"hello\n").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello\nhello\n", "its greeting and its echo");
    drop(stream);

    assert_eq!(host.status()["pid"], host.pid());
    assert!(host.peak_memory() > 1_000_000);
    host.add_account("carol", "a password", &[]);
    assert!(
        host.command(&["user", "list"])
            .expect_success()
            .stdout()
            .contains("carol")
    );

    let (before, mark) = (host.pid(), host.log_mark());
    host.restart();
    assert_ne!(host.pid(), before);
    drop(host.connect("echo"));

    host.edit_config(|text| text.replace("{port:echo}", "") + "unknown = 1\n");
    host.signal(Signal::HUP);
    host.wait_log(mark, "unknown");
    assert_eq!(host.sigterm(), Some(0));
}

#[test]
fn a_host_that_cannot_start_says_why() {
    let mut host = Host::builder().config("[host]\nnonsense = 1\n").prepare();
    let log = host.try_start().expect_err("the key is unknown");
    assert!(log.contains("nonsense"), "{log}");
}
