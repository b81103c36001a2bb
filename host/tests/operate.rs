//! Commands to a running service, as far as the host decides: who is asked, how the answer looks, what ends it.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod echo;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use echo::{connect, echo, greeted};
use polyport_testkit::{Host, PATIENCE, eventually};

fn host() -> Host {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .start()
}

/// The rows of `clients` as JSON, once there are so many.
fn clients(host: &Host, args: &[&str], count: usize) -> Vec<serde_json::Value> {
    let all: Vec<&str> = ["echo", "clients", "--json"]
        .iter()
        .chain(args)
        .copied()
        .collect();
    eventually("the clients", || {
        let shown = host.command(&all).expect_success().stdout();
        let rows: Vec<serde_json::Value> = shown
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        Some(rows).filter(|rows| rows.len() == count)
    })
}

#[test]
fn rows_are_a_table_or_json_and_options_reach_the_plugin() {
    let host = host();
    assert_eq!(
        host.command(&["echo", "clients"]).expect_success().stdout(),
        "PEER  LINES\n"
    );
    let mut busy = connect(&host, "one");
    let idle = connect(&host, "one");
    echo(&mut busy, "a\nb\n");
    let peer = |stream: &TcpStream| stream.local_addr().unwrap().to_string();
    let rows = clients(&host, &["--least", "2"], 1);
    assert_eq!(rows, [serde_json::json!({"peer": peer(&busy), "lines": 2})]);
    let table = host.command(&["echo", "clients"]).expect_success().stdout();
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("PEER "), "{table}");
    assert!(
        table.contains(&format!("{}      2", peer(&busy))),
        "{table}"
    );
    assert!(
        table.contains(&format!("{}      0", peer(&idle))),
        "{table}"
    );
    drop((busy, idle));
    clients(&host, &[], 0);
}

#[test]
fn what_cannot_be_a_command_is_wrong_usage() {
    let host = host();
    for (args, expected) in [
        (
            &["echo", "dance"][..],
            "expected one of clients, listen, got \"dance\"",
        ),
        (&["echo", "clients", "--lots"], "unknown option \"--lots\""),
        (&["echo", "clients", "x"], "expected no more, got \"x\""),
        (
            &["echo", "clients", "--least", "x"],
            "--least: expected 0 to",
        ),
        (
            &["echo", "clients", "--service", "two"],
            "--service: expected one of \"one\", got \"two\"",
        ),
        (&["echo"], "polyport [OPTIONS] echo COMMAND"),
        // A word that is neither a command nor a plugin is answered as ever.
        (&["statsu"], "similar subcommand exists: 'status'"),
        (&["dance", "now"], "unrecognized subcommand 'dance'"),
    ] {
        let said = host.command(args).expect_code(2).stderr();
        assert!(said.contains(expected), "{args:?}: {said}");
    }
    let help = host.command(&["echo", "--help"]).expect_success().stdout();
    for expected in [
        "clients  list who is connected",
        "--least LINES",
        "--json",
        "--service NAME",
    ] {
        assert!(help.contains(expected), "{expected}: {help}");
    }
}

#[test]
fn a_service_is_named_where_a_plugin_has_several() {
    let host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "echo", "polyport-echo")
        .start();
    let said = host.command(&["echo", "clients"]).expect_code(2).stderr();
    assert!(
        said.contains("expected --service NAME, one of \"one\", \"two\", got none"),
        "{said}"
    );
    let _client = connect(&host, "two");
    clients(&host, &["--service", "two"], 1);
    clients(&host, &["--service=one"], 0);
}

#[test]
fn what_does_not_run_or_takes_no_commands_says_so() {
    let mut host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("newer", "newer", "polyport-newer")
        .prepare();
    let said = host.command(&["echo", "clients"]).expect_code(1).stderr();
    assert!(said.contains("no host is running"), "{said}");
    host.start();
    let said = host.command(&["newer", "clients"]).expect_code(1).stderr();
    assert_eq!(
        said,
        "polyport: service \"newer\": its plugin takes no commands: it does not offer operate/1; build it with a newer SDK\n"
    );
    host.change(|text| text.replacen("[services.one]\n", "[services.one]\nenabled = false\n", 1));
    let said = host.command(&["echo", "clients"]).expect_code(1).stderr();
    assert_eq!(said, "polyport: service \"one\" does not run\n");
}

#[test]
fn a_command_that_follows_goes_on_with_the_next_instance() {
    let host = host();
    let mut listen = host.beside(&["echo", "listen"]).spawn();
    let mut client = connect(&host, "one");
    let said = |client: &mut TcpStream, text: &str| {
        eventually("the line", || {
            echo(client, text);
            let seen = listen.lines();
            seen.iter()
                .any(|line| line.ends_with(text.trim_end()))
                .then_some(())
        });
    };
    said(&mut client, "before\n");
    host.change(|text| format!("{text}greeting = \"HELLO\"\n"));
    listen.wait_line("service \"one\" was replaced; what passed in between is not shown");
    let mut client = greeted(&host, "one", "HELLO\n");
    said(&mut client, "after\n");
    host.change(|text| text.replacen("[services.one]\n", "[services.one]\nenabled = false\n", 1));
    host.edit_config(|text| text.split("\n[services.one]").next().unwrap().into());
    host.command(&["reload", "--wait"]).expect_success();
    listen.wait_line("polyport: service \"one\" ended");
    assert_eq!(listen.wait_exit(), Some(1));
}

#[test]
fn who_does_not_read_holds_up_nobody_and_is_told_what_he_lost() {
    let host = host();
    let mut stuck = UnixStream::connect(host.path().join("control.sock")).unwrap();
    stuck.set_read_timeout(Some(PATIENCE)).unwrap();
    let ask =
        r#"{"command":"operate","plugin":"echo","service":null,"request":{"command":"listen"}}"#;
    writeln!(stuck, "{ask}").unwrap();
    let mut stuck = BufReader::new(stuck);
    let mut line = String::new();
    stuck.read_line(&mut line).unwrap();
    assert!(line.contains("\"follows\":true"), "{line}");
    let mut client = connect(&host, "one");
    let long = format!("{}\n", "x".repeat(3_000));
    for _ in 0..2_000 {
        echo(&mut client, &long);
    }
    // Others are answered meanwhile.
    clients(&host, &[], 1);
    let told = stuck
        .lines()
        .map(Result::unwrap)
        .find(|line| line.contains("\"note\""))
        .unwrap();
    assert!(told.contains("lines were left out"), "{told}");
}
