//! Tokens, limits of sessions and passwords over TLS only, through the doors of every service.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod wire;

use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use polyport_testkit::{Host, PATIENCE};
use wire::ftp::Ftp;
use wire::http::{Http, Response};
use wire::is_broken;
use wire::mqtt::{Level, Mqtt};
use wire::tcp_files::TcpFiles;

/// Longer than the second that is promised: machines that run tests are busy.
const BOUND: Duration = Duration::from_secs(10);

fn host(accounts: &str) -> Host {
    Host::builder()
        .all_services()
        .accounts(accounts)
        .file("files/pub/a.txt", "public")
        .file("files/own/b.txt", "own")
        .start()
}

/// Makes a token; `arguments` come behind the user.
fn add_token(host: &Host, user: &str, arguments: &[&str]) -> String {
    let arguments = [&["user", "token", "add", user][..], arguments].concat();
    let token = host.command(&arguments).expect_success().stdout();
    host.command(&["reload", "--wait"]).expect_success();
    token.trim_end().to_owned()
}

fn get(client: &mut Http, target: &str) -> Response {
    client.request("GET", target, &[], b"").unwrap()
}

fn mqtt_code(host: &Host, level: Level, id: &str, user: &str, password: &str) -> u8 {
    Mqtt::try_login(host.addr("mqtt"), level, id, user, password)
        .unwrap()
        .1
}

fn ftp_code(host: &Host, user: &str, password: &str) -> u16 {
    let mut ftp = Ftp::connect(host.addr("ftp"));
    let asked = ftp.command(format!("USER {user}"));
    match asked.code {
        331 => ftp.command(format!("PASS {password}")).code,
        refused => refused,
    }
}

fn tcp_reads(host: &Host, user: &str, password: &str, name: &str) -> bool {
    let mut client = TcpFiles::login(host.addr("tcp-files"), user, password);
    client.get(name).is_ok_and(|(_, bytes)| !bytes.is_empty())
}

#[test]
fn a_token_opens_every_door_as_far_as_its_scope_and_its_account_allow() {
    let host =
        host("[a]\npassword = x\nallow.1 = list,read /**\nallow.2 = publish,subscribe t/#\n");
    let token = add_token(
        &host,
        "a",
        &[
            "--name",
            "ci",
            "--expires",
            "30d",
            "--scope",
            "all /pub/**",
            "--scope",
            "mqtt: publish t/in",
        ],
    );
    let password =
        |target: &str| get(&mut Http::login(host.addr("files"), "a", "x"), target).status;
    assert_eq!((password("/pub/a.txt"), password("/own/b.txt")), (200, 200));
    let files = host.addr("files");
    let bearer = Http::bearer(files, &token);
    for (client, how) in [
        (Http::login(files, "a", &token), "Basic"),
        (bearer, "Bearer"),
    ] {
        let mut client = client;
        assert_eq!(get(&mut client, "/pub/a.txt").body, b"public", "{how}");
        assert_eq!(get(&mut client, "/own/b.txt").status, 403, "{how}");
        // The scope allows it, the account does not.
        let put = client.request("PUT", "/pub/new.txt", &[], b"x").unwrap();
        assert_eq!(put.status, 403, "{how}");
    }
    let mut ftp = Ftp::login(host.addr("ftp"), "a", &token);
    assert_eq!(ftp.download("RETR pub/a.txt").unwrap().1, b"public");
    assert_eq!(ftp.download("RETR own/b.txt").unwrap().1, b"");
    assert!(tcp_reads(&host, "a", &token, "pub/a.txt"));
    assert!(!tcp_reads(&host, "a", &token, "own/b.txt"));
    let mut mqtt = Mqtt::login(host.addr("mqtt"), Level::V5, "c", "a", &token);
    assert_eq!(mqtt.subscribe("t/in").unwrap(), 0x87);
    assert_eq!(mqtt.publish("t/in", "x").unwrap() & 0x80, 0);
    assert_eq!(mqtt.publish("t/out", "x").unwrap(), 0x87);
    // Of somebody else, or wrong, it is a wrong password.
    assert_eq!(ftp_code(&host, "b", &token), 530);
    assert_eq!(
        get(&mut Http::login(files, "b", &token), "/pub/a.txt").status,
        401
    );
    let mut wrong = Http::bearer(files, &format!("{}1", &token[..token.len() - 1]));
    assert_eq!(get(&mut wrong, "/pub/a.txt").status, 401);
}

#[test]
fn a_token_that_is_removed_or_expires_ends_its_sessions_and_no_others() {
    let host = host("[a]\npassword = x\n");
    for ends in ["removed", "expired"] {
        let token = add_token(&host, "a", &["--name", ends, "--expires", "1h"]);
        let open = |password: &str, id: &str| {
            (
                Ftp::login(host.addr("ftp"), "a", password),
                Mqtt::login(host.addr("mqtt"), Level::V311, id, "a", password),
                TcpFiles::login(host.addr("tcp-files"), "a", password),
                Http::login(host.addr("files"), "a", password),
            )
        };
        let (mut ftp, mut mqtt, mut tcp, mut http) = open(&token, "by-token");
        let mut others = open("x", "by-password");
        assert_eq!(get(&mut http, "/pub/a.txt").status, 200);
        assert_eq!(get(&mut others.3, "/pub/a.txt").status, 200);
        if ends == "removed" {
            let remove = ["user", "token", "remove", "a", ends];
            host.command(&remove).expect_success();
        } else {
            let end = |text: &str| {
                let (before, after) = text.split_once("expires=").unwrap();
                let rest = after.find(['\n', ' ']).map_or("", |at| &after[at..]);
                format!("{before}expires=2001-01-01{rest}")
            };
            host.edit_accounts(end);
        }
        let begin = Instant::now();
        let reply = ftp.reply();
        let ended = |error: &std::io::Error| error.kind() != std::io::ErrorKind::WouldBlock;
        assert!(match &reply {
            Ok(reply) => reply.code == 421,
            Err(error) => ended(error),
        });
        let ended = mqtt.read();
        assert!(ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
        let ended = tcp.stream.read(&mut [0; 16]);
        assert!(ended.is_ok_and(|read| read == 0));
        while get(&mut http, "/pub/a.txt").status != 401 {
            assert!(begin.elapsed() < BOUND, "{ends}: HTTP still answers");
            thread::sleep(Duration::from_millis(20));
        }
        assert!(begin.elapsed() < BOUND, "{ends}: {:?}", begin.elapsed());
        assert_eq!(others.0.command("NOOP").code, 200, "{ends}");
        assert_eq!(others.1.publish("t", "x").unwrap() & 0x80, 0, "{ends}");
        assert_eq!(others.2.get("pub/a.txt").unwrap().1, b"public", "{ends}");
        assert_eq!(get(&mut others.3, "/pub/a.txt").status, 200, "{ends}");
    }
}

#[test]
fn sessions_are_counted_over_all_services() {
    let host = host("[a]\npassword = x\nmax_sessions = 2\n[b]\npassword = x\n");
    let ftp = Ftp::login(host.addr("ftp"), "a", "x");
    let mqtt = Mqtt::login(host.addr("mqtt"), Level::V5, "one", "a", "x");
    assert_ne!(mqtt_code(&host, Level::V5, "two", "a", "x"), 0);
    assert!(ftp_code(&host, "a", "x") >= 400);
    assert!(!tcp_reads(&host, "a", "x", "pub/a.txt"));
    let mut http = Http::login(host.addr("files"), "a", "x");
    assert!(get(&mut http, "/pub/a.txt").status >= 400);
    // Others have their own count.
    assert_eq!(ftp_code(&host, "b", "x"), 230);
    drop(ftp);
    // A connection that was kept open between requests takes no place.
    let begin = Instant::now();
    while get(&mut http, "/pub/a.txt").status != 200 {
        assert!(
            begin.elapsed() < PATIENCE,
            "the place of the FTP session is not free"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let mut second = Http::login(host.addr("json"), "a", "x");
    assert_eq!(get(&mut second, "/nothing").status, 404);
    let mut tcp = TcpFiles::login(host.addr("tcp-files"), "a", "x");
    assert_eq!(tcp.get("pub/a.txt").unwrap().1, b"public");
    assert!(get(&mut http, "/pub/a.txt").status >= 400);
    drop((mqtt, tcp));
    let begin = Instant::now();
    while get(&mut http, "/pub/a.txt").status != 200 {
        assert!(
            begin.elapsed() < PATIENCE,
            "the places of MQTT and TCP are not free"
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_service_that_needs_tls_takes_no_password_in_clear_and_ends_who_gave_one() {
    let host = host("[a]\npassword = x\n[s]\npassword = x\nrequire_tls = yes\n[anonymous]\n");
    // Of one account: who has its password is refused as well, here without words for it.
    assert_ne!(mqtt_code(&host, Level::V311, "s", "s", "x"), 0);
    assert_eq!(ftp_code(&host, "s", "x") / 100, 5);
    let mut http = Http::login(host.addr("files"), "s", "x");
    assert!(get(&mut http, "/pub/a.txt").status >= 400);
    let mut mqtt = Mqtt::login(host.addr("mqtt"), Level::V311, "a", "a", "x");
    let mut tcp = TcpFiles::login(host.addr("tcp-files"), "a", "x");
    let generation = host.status()["generation"].as_u64().unwrap();
    host.edit_config(|text| {
        text.replace(
            "plugin = \"mqtt\"\n",
            "plugin = \"mqtt\"\nrequire_tls = true\n",
        )
        .replace(
            "plugin = \"tcp-files\"\n",
            "plugin = \"tcp-files\"\nrequire_tls = true\n",
        )
    });
    host.wait_status("a new generation", |status| {
        status["generation"].as_u64() > Some(generation)
    });
    let ended = mqtt.read();
    assert!(ended.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock));
    match tcp.stream.read(&mut [0; 16]) {
        Ok(0) => {}
        Err(error) if is_broken(&error) => {}
        other => panic!("{other:?}"),
    }
    assert_ne!(mqtt_code(&host, Level::V311, "a", "a", "x"), 0);
    // The others are as they were, and so are those who give no password.
    let mut http = Http::login(host.addr("files"), "a", "x");
    assert_eq!(get(&mut http, "/pub/a.txt").status, 200);
    let mut nobody = TcpFiles::connect(host.addr("tcp-files"));
    assert_eq!(nobody.get("pub/a.txt").unwrap().1, b"public");
}

#[test]
fn rules_know_the_id_of_a_client() {
    let host = host("[a]\npassword = x\nallow.1 = publish,subscribe dev/%c/#\n");
    for level in [Level::V311, Level::V5] {
        let mut mqtt = Mqtt::login(host.addr("mqtt"), level, "d1", "a", "x");
        assert_eq!(mqtt.subscribe("dev/d1/#").unwrap(), 1);
        assert!(mqtt.subscribe("dev/d2/#").unwrap() >= 0x80);
        let mut sly = Mqtt::login(host.addr("mqtt"), level, "+", "a", "x");
        assert!(sly.subscribe("dev/+/#").unwrap() >= 0x80);
        assert!(sly.subscribe("dev/d1/#").unwrap() >= 0x80);
    }
}
