//! What users notice of a flood of bad logins: the time that their requests take, with it and
//! without.
//!
//! The flood goes to FTP, HTTP and MQTT in turns. Server and load run on one core each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use polyport_testkit::Host;

use super::flood::{self, Attempts, Flood, Ports, connect_from};
use super::harness::{Core, on_core};
use super::report::circumstances;
use super::usage::cpu_seconds;
use crate::Outcome;

const LASTS: Duration = Duration::from_secs(10);
const RATE: u32 = 1000;

/// Accounts that log in for the first time while it lasts.
const NEWCOMERS: usize = 40;

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shipped thresholds, but for this machine as well.
const BANS: &str = "exempt = []";
const NO_BANS: &str = "enabled = false";

struct Case {
    name: &'static str,
    flood: Option<Flood>,
    bans: &'static str,
}

const CASES: [Case; 5] = [
    Case {
        name: "no flood",
        flood: None,
        bans: BANS,
    },
    Case {
        name: "1 address",
        flood: Some(Flood {
            addresses: 1,
            rate: RATE,
        }),
        bans: BANS,
    },
    Case {
        name: "64 addresses",
        flood: Some(Flood {
            addresses: 64,
            rate: RATE,
        }),
        bans: BANS,
    },
    Case {
        name: "1 address, no bans",
        flood: Some(Flood {
            addresses: 1,
            rate: RATE,
        }),
        bans: NO_BANS,
    },
    Case {
        name: "64 addresses, no bans",
        flood: Some(Flood {
            addresses: 64,
            rate: RATE,
        }),
        bans: NO_BANS,
    },
];

/// The value of an `Authorization` field.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// CONNECT of MQTT 3.1.1 with a clean session. The texts are short.
pub fn mqtt_connect(user: &str, password: &str) -> Vec<u8> {
    let text = |text: &str| [&[0, u8::try_from(text.len()).unwrap_or(0)], text.as_bytes()].concat();
    let body = [
        &text("MQTT")[..],
        &[4, 0xc2, 0, 0],
        &text(""),
        &text(user),
        &text(password),
    ]
    .concat();
    [&[0x10, u8::try_from(body.len()).unwrap_or(0)], &body[..]].concat()
}

/// All cases, as a table.
pub fn bench() -> Outcome<String> {
    let mut text = format!("{}.\n\n", circumstances()?);
    text.push_str(
        "| flood | bad logins | answered | closed | CPU | GET, anonymous | GET, known login | GET, new login | MQTT publish |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for case in &CASES {
        let row = run(case).map_err(|error| format!("{}: {error}", case.name))?;
        print!("{row}");
        text.push_str(&row);
    }
    Ok(text)
}

fn host(bans: &str) -> Outcome<Host> {
    let mut accounts = String::from("[anonymous]\n\n[alice]\npassword = wonderland\n");
    for number in 0..NEWCOMERS {
        accounts.push_str(&format!("\n[new{number}]\npassword = wonderland\n"));
    }
    let builder = Host::builder()
        .service("files")
        .service("ftp")
        .service("mqtt");
    let mut host = builder
        .host_keys(&format!(
            "log.level = \"error\"\nlog.access = \"off\"\n[host.ban]\n{bans}"
        ))
        .file("files/a.txt", "hello")
        .accounts(&accounts)
        .prepare();
    // As polyport itself writes passwords: argon2id.
    host.command(&["user", "hash", "--all"]).expect_success();
    on_core(Core::Server, || {
        let started = host.try_start();
        started.map_err(|log| format!("polyport did not get ready:\n{log}"))
    })?;
    Ok(host)
}

fn run(case: &Case) -> Outcome<String> {
    let host = host(case.bans)?;
    let ports = Ports {
        http: host.port("files"),
        ftp: host.port("ftp"),
        mqtt: host.port("mqtt"),
    };
    // Proves alice's password before the flood.
    get(&mut http(ports.http)?, Some("alice"))?;
    let (attempts, over) = (Attempts::default(), AtomicBool::new(false));
    let cpu = cpu_seconds(host.pid());
    let begin = Instant::now();
    let times = on_core(Core::Load, || {
        thread::scope(|scope| {
            let flood = case
                .flood
                .map(|flood| flood::start(scope, flood, ports, &attempts, &over));
            // So that it is under way.
            thread::sleep(Duration::from_millis(500));
            let users = [
                scope.spawn(|| anonymous(ports)),
                scope.spawn(|| known(ports)),
                scope.spawn(|| new(ports)),
                scope.spawn(|| publish(ports)),
            ];
            let times = users.map(|user| user.join().unwrap_or_else(|_| Err("panic".into())));
            over.store(true, Ordering::Relaxed);
            for sender in flood.into_iter().flatten() {
                sender.join().unwrap_or_else(|_| Err("panic".into()))?;
            }
            Ok(times)
        })
    })?;
    let (cpu, seconds) = (cpu_seconds(host.pid()) - cpu, begin.elapsed().as_secs_f64());
    let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed) as f64;
    let sent = count(&attempts.sent);
    let share = |number| {
        if sent > 0.0 {
            format!("{:.0} %", 100.0 * count(number) / sent)
        } else {
            "-".into()
        }
    };
    let mut row = format!(
        "| {} | {:.0}/s | {} | {} | {:.0} % |",
        case.name,
        sent / seconds,
        share(&attempts.answered),
        share(&attempts.closed),
        100.0 * cpu / seconds,
    );
    for times in times {
        row.push_str(&format!(" {} |", quantiles(times?)));
    }
    row.push('\n');
    Ok(row)
}

/// The median and what 99 of 100 stay below, in milliseconds.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: usize| {
        let time = times.get(times.len() * share / 100).or(times.last());
        time.map_or(0.0, |time| time.as_secs_f64() * 1000.0)
    };
    format!("{:.2} / {:.2} ms", at(50), at(99))
}

/// Repeats something at a pace while the case lasts.
fn repeat(pause: Duration, mut request: impl FnMut() -> Outcome) -> Outcome<Vec<Duration>> {
    let begin = Instant::now();
    let mut times = Vec::new();
    while begin.elapsed() < LASTS {
        let asked = Instant::now();
        request()?;
        times.push(asked.elapsed());
        thread::sleep(pause);
    }
    Ok(times)
}

/// On one connection.
fn anonymous(ports: Ports) -> Outcome<Vec<Duration>> {
    let mut stream = http(ports.http)?;
    repeat(Duration::from_millis(10), || get(&mut stream, None))
}

/// Each on a connection of its own, with a password that was proven before.
fn known(ports: Ports) -> Outcome<Vec<Duration>> {
    repeat(Duration::from_millis(20), || {
        get(&mut http(ports.http)?, Some("alice"))
    })
}

/// Accounts that nobody has seen since the start.
fn new(ports: Ports) -> Outcome<Vec<Duration>> {
    let begin = Instant::now();
    let mut times = Vec::new();
    for number in 0..NEWCOMERS {
        if begin.elapsed() > 2 * LASTS {
            break;
        }
        let asked = Instant::now();
        get(&mut http(ports.http)?, Some(&format!("new{number}")))?;
        times.push(asked.elapsed());
        let pause = LASTS / u32::try_from(NEWCOMERS).unwrap_or(1);
        thread::sleep(pause.saturating_sub(asked.elapsed()));
    }
    Ok(times)
}

/// QoS 1, on one connection.
fn publish(ports: Ports) -> Outcome<Vec<Duration>> {
    let failed = |error: std::io::Error| format!("publish: {error}");
    let mut stream = connect(ports.mqtt)?;
    stream
        .write_all(&mqtt_connect("alice", "wonderland"))
        .map_err(failed)?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).map_err(failed)?;
    if answer != [0x20, 2, 0, 0] {
        return Err(format!("CONNACK {answer:02x?}"));
    }
    repeat(Duration::from_millis(10), || {
        stream
            .write_all(b"\x32\x06\x00\x01t\x00\x01x")
            .map_err(failed)?;
        stream.read_exact(&mut answer).map_err(failed)?;
        match answer {
            [0x40, 2, 0, 1] => Ok(()),
            other => Err(format!("PUBACK {other:02x?}")),
        }
    })
}

/// From an address that the flood does not come from.
fn connect(port: u16) -> Outcome<TcpStream> {
    let connected = || {
        let stream = connect_from(Ipv4Addr::LOCALHOST, port)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    };
    connected().map_err(|error: std::io::Error| format!("port {port}: {error}"))
}

fn http(port: u16) -> Outcome<BufReader<TcpStream>> {
    connect(port).map(BufReader::new)
}

/// One request that must succeed.
fn get(stream: &mut BufReader<TcpStream>, user: Option<&str>) -> Outcome {
    let login = user.map(|user| format!("Authorization: {}\r\n", basic(user, "wonderland")));
    let request = format!(
        "GET /a.txt HTTP/1.1\r\nHost: x\r\n{}\r\n",
        login.unwrap_or_default()
    );
    let mut exchange = || -> std::io::Result<String> {
        stream.get_mut().write_all(request.as_bytes())?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        let body = &mut [0; 5];
        if head.starts_with("HTTP/1.1 200 ") {
            stream.read_exact(body)?;
        }
        Ok(head)
    };
    let head = exchange().map_err(|error| format!("GET: {error}"))?;
    match head.starts_with("HTTP/1.1 200 ") {
        true => Ok(()),
        false => Err(format!(
            "GET as {user:?}: {}",
            head.lines().next().unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_told_in_milliseconds() {
        let times = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantiles(times), "51.00 / 100.00 ms");
        assert_eq!(
            quantiles(vec![Duration::from_micros(1500)]),
            "1.50 / 1.50 ms"
        );
    }

    #[test]
    fn a_login_of_mqtt_is_framed() {
        let packet = mqtt_connect("u", "pw");
        assert_eq!(
            packet,
            b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x00\x00\x00\x00\x01u\x00\x02pw"
        );
    }
}
