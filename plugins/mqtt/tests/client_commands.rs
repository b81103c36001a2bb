//! T34: `polyport client mqtt pub` and `sub`, against this broker and against mosquitto's programs.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod programs;

use std::io::{Read, Write};
use std::net::TcpListener;

use polyport_testkit::{Client, Host, PATIENCE, free_port};
use programs::mosquitto;

const ACCOUNTS: &str = "\
[anonymous]
services = mqtt
rights = publish, subscribe

[user1]
name = alice
password = wonderland

[user2]
name = listener
password = l
rights.mqtt = subscribe
";

fn broker() -> Host {
    Host::builder().service("mqtt").accounts(ACCOUNTS).start()
}

/// `polyport client mqtt COMMAND -p PORT ARGS`.
fn command(host: &Host, command: &str, args: &[&str]) -> Client {
    let port = host.port("mqtt").to_string();
    host.client(&["mqtt", command, "-h", "127.0.0.1", "-p", &port])
        .args(args)
}

/// Waits until so many filters are subscribed to.
fn wait_subscribed(host: &Host, filters: u64) {
    host.wait_status("the subscription is there", |status| {
        status["services"][0]["metrics"]["subscriptions"] == filters
    });
}

#[test]
fn t34_every_version_and_qos_both_ways_with_mosquittos_programs() {
    let host = broker();
    for (version, theirs) in [("3.1", "31"), ("3.1.1", "311"), ("5", "5")] {
        for qos in ["0", "1", "2"] {
            let topic = format!("both/{version}/{qos}");
            let count = ["-C", "2", "-v", "-t", &topic, "-q", qos, "-V"];
            let mut ours = command(&host, "sub", &count).arg(version).spawn();
            let mut other = mosquitto(&host, "mosquitto_sub")
                .args(count)
                .arg(theirs)
                .spawn();
            wait_subscribed(&host, 2);
            let send = ["-t", &topic, "-q", qos, "-V"];
            command(&host, "pub", &send)
                .args([version, "-m", "from ours"])
                .run()
                .expect_success();
            mosquitto(&host, "mosquitto_pub")
                .args(send)
                .args([theirs, "-m", "from theirs"])
                .run()
                .expect_success();
            for running in [&mut ours, &mut other] {
                running.wait_line(&format!("{topic} from ours"));
                running.wait_line(&format!("{topic} from theirs"));
                assert_eq!(running.wait_exit(), Some(0));
            }
            wait_subscribed(&host, 0);
        }
    }
}

#[test]
fn t34_messages_from_a_file_and_from_lines_and_retained_ones() {
    let host = broker();
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    std::fs::write(host.path().join("message"), &bytes).unwrap();
    command(
        &host,
        "pub",
        &["-t", "kept/file", "-f", "message", "-r", "-q", "1"],
    )
    .run()
    .expect_success();
    let got = command(&host, "sub", &["-t", "kept/#", "-C", "1"])
        .run()
        .expect_success();
    assert_eq!(got.stdout, [&bytes[..], b"\n"].concat());

    let mut all = command(
        &host,
        "sub",
        &["-t", "+/line", "-t", "kept/#", "-R", "-C", "3", "-q", "2"],
    )
    .spawn();
    wait_subscribed(&host, 2);
    command(&host, "pub", &["-t", "a/line", "-l", "-q", "2"])
        .stdin("one\ntwo\r\n\nthree")
        .run()
        .expect_success();
    assert_eq!(all.wait_exit(), Some(0));
    assert_eq!(
        all.lines(),
        ["one", "two", ""],
        "retained ones were left out"
    );
}

#[test]
fn t34_a_subscriber_comes_back_after_a_break_and_misses_nothing() {
    let mut host = broker();
    let keeps = ["-t", "held/#", "-q", "1", "-c", "-i", "keeper"];
    let subscriber = command(&host, "sub", &keeps).spawn();
    wait_subscribed(&host, 1);
    let publish = |host: &Host, text: &str| {
        mosquitto(host, "mosquitto_pub")
            .args(["-t", "held/a", "-q", "1", "-m", text])
            .run()
            .expect_success();
    };
    publish(&host, "before");
    subscriber.wait_line("before");
    host.kill9();
    subscriber.wait_line("trying again");
    host.start();
    publish(&host, "meanwhile");
    subscriber.wait_line("meanwhile");
    publish(&host, "after");
    subscriber.wait_line("after");
    let mut messages: Vec<String> = subscriber
        .lines()
        .into_iter()
        .filter(|line| !line.starts_with("polyport:"))
        .collect();
    // QoS 1 may bring a message again whose acknowledgement the kill swallowed (MQTT 4.3.2).
    messages.dedup();
    assert_eq!(messages, ["before", "meanwhile", "after"]);
}

#[test]
fn t34_what_the_session_holds_comes_at_the_next_run() {
    let host = broker();
    let keeps = ["-t", "held", "-q", "2", "-c", "-i", "keeper", "-C", "1"];
    for version in ["3.1.1", "5"] {
        let mut first = command(&host, "sub", &keeps).args(["-V", version]).spawn();
        wait_subscribed(&host, 1);
        for text in ["one", "two"] {
            command(&host, "pub", &["-t", "held", "-q", "2", "-m", text])
                .run()
                .expect_success();
        }
        assert_eq!(first.wait_exit(), Some(0));
        assert_eq!(first.lines(), ["one"]);
        let second = command(&host, "sub", &keeps).args(["-V", version]).run();
        assert_eq!(second.expect_success().stdout(), "two\n");
    }
}

#[test]
fn t34_pings_keep_a_silent_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let host = Host::builder().library("polyport-mqtt").prepare();
    let subscriber = host
        .client(&[
            "mqtt",
            "sub",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-t",
            "a",
            "-k",
            "5",
            "-i",
            "x",
        ])
        .spawn();
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut connect = [0; 15];
    stream.read_exact(&mut connect).unwrap();
    assert_eq!(connect, *b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x05\x00\x01x");
    stream.write_all(&[0x20, 2, 0, 0]).unwrap();
    let mut subscribe = [0; 8];
    stream.read_exact(&mut subscribe).unwrap();
    assert_eq!(subscribe, *b"\x82\x06\x00\x01\x00\x01a\x00");
    let mut ping = [0; 2];
    stream.read_exact(&mut ping).unwrap();
    assert_eq!(ping, [0xc0, 0]);
    // Nobody answers it: the connection counts as lost.
    subscriber.wait_line("no answer to a ping; trying again");
}

#[test]
fn t34_passwords_from_file_environment_and_option() {
    let host = broker();
    std::fs::write(host.path().join("secret"), "wonderland\n").unwrap();
    let base = ["-t", "a", "-m", "b", "-q", "1", "-u", "alice"];
    let run = |args: &[&str], variable: Option<&str>| {
        let client = command(&host, "pub", &base).args(args);
        match variable {
            Some(value) => client.env("POLYPORT_PASSWORD", value).run(),
            None => client.run(),
        }
    };
    run(&["--password-file", "secret"], Some("wrong")).expect_success();
    run(&[], Some("wonderland")).expect_success();
    run(&["-P", "wonderland"], None).expect_success();
    for (version, said) in [
        ("3.1.1", "bad user name or password (0x04)"),
        ("5", "bad user name or password (0x86)"),
    ] {
        let wrong = run(&["-V", version], Some("wrong")).expect_code(1);
        assert!(wrong.stderr().contains(said), "{wrong}");
        assert_eq!(wrong.stderr().lines().count(), 1, "{wrong}");
    }
    let unknown = run(&[], None).expect_code(2);
    assert!(
        unknown.stderr().contains("no terminal to ask on"),
        "{unknown}"
    );
}

#[test]
fn t34_refusals_are_told_in_one_line() {
    let host = broker();
    let may_not = command(
        &host,
        "pub",
        &[
            "-t", "a", "-m", "b", "-q", "1", "-V", "5", "-u", "listener", "-P", "l",
        ],
    )
    .run()
    .expect_code(1);
    assert_eq!(
        may_not.stderr(),
        "polyport: a: the broker refused the message: not authorized (0x87)\n"
    );
    let port = free_port().to_string();
    for which in ["pub", "sub"] {
        let mut args = vec!["mqtt", which, "-h", "127.0.0.1", "-p", &port, "-t", "a"];
        if which == "pub" {
            args.extend(["-m", "b"]);
        }
        let refused = host.client(&args).run().expect_code(1);
        assert_eq!(
            refused.stderr(),
            format!("polyport: 127.0.0.1:{port}: Connection refused (os error 111)\n")
        );
    }
}

#[test]
fn t34_wrong_usage_exits_with_2_and_says_why() {
    let host = Host::builder().library("polyport-mqtt").prepare();
    for (args, said) in [
        (&["pub"][..], "-t: expected a topic"),
        (&["pub", "-t", "a/#", "-m", "b"], "without + and #"),
        (&["pub", "-t", "a"], "one of -m, -f and -l"),
        (&["pub", "-t", "a", "-m", "b", "-l"], "one of -m, -f and -l"),
        (
            &["pub", "-t", "a", "-m", "b", "-q", "3"],
            "-q: expected 0 to 2, got \"3\"",
        ),
        (
            &["pub", "-t", "a", "-m", "b", "--colour"],
            "unknown option \"--colour\"",
        ),
        (&["sub"], "-t: expected a topic filter"),
        (&["sub", "-t", "a#"], "got \"a#\""),
        (&["sub", "-t", "a", "-c"], "expected an -i ID"),
        (&["sub", "-t", "a", "-V", "4"], "expected 3.1, 3.1.1 or 5"),
        (&["sub", "-t", "a", "b"], "expected no more, got \"b\""),
        (&["dance"], "expected pub or sub, got \"dance\""),
    ] {
        let run = host.client(&["mqtt"]).args(args).run().expect_code(2);
        assert!(run.stderr().contains(said), "{run}");
        assert_eq!(run.stderr().lines().count(), 1, "{run}");
    }
    let help = host.client(&["mqtt", "--help"]).run().expect_success();
    assert!(help.stdout().starts_with("pub -t TOPIC"), "{help}");
    let nothing = host.client(&["mqtt"]).run().expect_code(2);
    assert_eq!(nothing.stderr(), help.stdout());
}

#[test]
fn t34_another_broker_is_spoken_to_as_well() {
    let port = free_port().to_string();
    let broker = Client::new("/usr/sbin/mosquitto")
        .args(["-p", &port])
        .spawn();
    broker.wait_line("running");
    let host = Host::builder().library("polyport-mqtt").prepare();
    let run = |command: &str, args: &[&str]| {
        let client = host.client(&["mqtt", command, "-h", "127.0.0.1", "-p", &port, "-t", "a"]);
        client.args(args).run().expect_success()
    };
    for version in ["3.1", "3.1.1", "5"] {
        for qos in ["0", "1", "2"] {
            run("pub", &["-V", version, "-q", qos, "-r", "-m", qos]);
            let got = run("sub", &["-V", version, "-q", qos, "-C", "1", "-v"]);
            assert_eq!(got.stdout(), format!("a {qos}\n"));
        }
    }
}
