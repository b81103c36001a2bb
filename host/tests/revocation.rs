//! What changes in accounts.ini takes effect on sessions that are open, at every service, within a
//! second: the session ends, or its next action is refused.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod wire;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use polyport_testkit::{Host, PATIENCE, figure};
use wire::ftp::Ftp;
use wire::http::{self, Http};
use wire::mqtt::{Level, Mqtt};
use wire::tcp_files::TcpFiles;
use wire::{ENDLESS, is_broken, read_slowly};

const ACCOUNTS: &str = "\
[group:crew]
allow.files = all /crew/../** ; of group
allow.topics = publish,subscribe #

[group:others]
allow.files = list /nothing/**

[removed]
password = x

[disabled]
password = x

[expired]
password = x

[renamed]
password = x

[password]
password = x

[rule]
password = x
allow.files = all /**
allow.topics = publish,subscribe #

[group]
password = x
groups = crew

[membership]
password = x
groups = crew

[far]
password = x

[insecure]
password = x

[token]
password = x

[bystander]
password = x
";

/// What happens to the account of this name, as replacements in its file.
const CAUSES: [(&str, &str, &str); 10] = [
    ("removed", "[removed]\npassword = x\n", ""),
    ("disabled", "[disabled]\n", "[disabled]\nenabled = no\n"),
    ("expired", "[expired]\n", "[expired]\nexpire = 2001-01-01\n"),
    ("far", "[far]\n", "[far]\nfrom = 192.0.2.0/24\n"),
    (
        "insecure",
        "[insecure]\n",
        "[insecure]\nrequire_tls = yes\n",
    ),
    ("renamed", "[renamed]\n", "[renamed]\nname = somebody\n"),
    (
        "password",
        "[password]\npassword = x",
        "[password]\npassword = y",
    ),
    (
        "rule",
        "[rule]\npassword = x\nallow.files = all /**",
        "[rule]\npassword = x\nallow.files = list /nothing/**",
    ),
    (
        "membership",
        "[membership]\npassword = x\ngroups = crew",
        "[membership]\npassword = x\ngroups = others",
    ),
    (
        "group",
        "[group:crew]\nallow.files = all /**",
        "[group:crew]\nallow.files = list /nothing/**",
    ),
];

/// Longer than the second that is promised: machines that run tests are busy.
const BOUND: Duration = Duration::from_secs(10);

/// How long the account of the clock's case lives at least: its sessions have to be open by then.
const LIFE: Duration = Duration::from_secs(6);

fn host() -> Host {
    let accounts = ACCOUNTS.replace("all /crew/../** ; of group", "all /**");
    let host = Host::builder()
        .all_services()
        .host_keys("[host.ban]\nenabled = false")
        .settings("json", "max_document_size = 16777216")
        .accounts(&accounts)
        .file("files/small.txt", "small")
        .start();
    let endless = File::create(host.path().join("files/endless")).unwrap();
    endless.set_len(ENDLESS).unwrap();
    let mut json = Http::login(host.addr("json"), "bystander", "x");
    let kind = [("content-type", "application/json")];
    let made = json.request("PUT", "/beds/7", &kind, b"{}").unwrap();
    assert_eq!(made.status, 201, "{made:?}");
    host
}

/// An open session: waits until it has ended or is refused; the error is what it could do instead.
type Session = Box<dyn FnOnce() -> Result<(), String> + Send>;

/// The head of a response that is to be followed by an endless body, and the first of it.
fn endless(host: &Host, user: &str, password: &str) -> TcpStream {
    let client = Http::login(host.addr("files"), user, password);
    let mut stream = client.begin("GET", "/endless", &[]);
    let mut head = std::io::BufReader::with_capacity(1, &mut stream);
    let head = http::read_head(&mut head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 "), "{user}: {head}");
    stream
}

fn cut(from: &'static str, mut stream: impl Read) -> Result<(), String> {
    match read_slowly(&mut stream, from) {
        0..ENDLESS => Ok(()),
        all => Err(format!("{all} bytes came")),
    }
}

/// Asks again and again until the answer is no good one.
fn refused(mut client: Http, target: &'static str) -> Session {
    Box::new(move || {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            match client.request("GET", target, &[], b"") {
                Ok(answer) if answer.status == 200 => thread::sleep(Duration::from_millis(20)),
                Ok(answer) if (400..500).contains(&answer.status) => return Ok(()),
                Ok(answer) => return Err(format!("{} {:?}", answer.status, answer.head)),
                Err(_) => return Ok(()),
            }
        }
        Err("still answered".into())
    })
}

/// Sends pieces until nobody takes them any more.
fn unwanted(mut stream: TcpStream, piece: Vec<u8>) -> Session {
    Box::new(move || {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            match stream.write_all(&piece) {
                Ok(()) => thread::sleep(Duration::from_millis(10)),
                Err(error) if is_broken(&error) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Err("still taken".into())
    })
}

/// Opens what a user can have open, at every service.
fn open(host: &Host, user: &str, password: &str) -> Vec<(&'static str, Session)> {
    let (files, json) = (host.addr("files"), host.addr("json"));
    let mut keeps = Http::login(files, user, password);
    let small = keeps.request("GET", "/small.txt", &[], b"").unwrap();
    assert_eq!(
        (small.status, &small.body[..]),
        (200, &b"small"[..]),
        "{user}"
    );
    let mut keeps_json = Http::login(json, user, password);
    assert_eq!(
        keeps_json
            .request("GET", "/beds/7", &[], b"")
            .unwrap()
            .status,
        200
    );
    let download = endless(host, user, password);
    let target = format!("/{user}.up");
    let chunked = [("transfer-encoding", "chunked")];
    let upload = Http::login(files, user, password).begin("PUT", &target, &chunked);
    let declared = [
        ("content-type", "application/json"),
        ("content-length", "16000000"),
    ];
    let put = Http::login(json, user, password).begin("PUT", &format!("/beds/{user}"), &declared);

    let mut idle_ftp = Ftp::login(host.addr("ftp"), user, password);
    let mut retrieves = Ftp::login(host.addr("ftp"), user, password);
    let retrieved = retrieves.passive().unwrap();
    assert_eq!(retrieves.command("RETR endless").code, 150);
    let mut stores = Ftp::login(host.addr("ftp"), user, password);
    let stored = stores.passive().unwrap();
    assert_eq!(stores.command(format!("STOR {user}.stor")).code, 150);

    let mut subscriber = Mqtt::login(
        host.addr("mqtt"),
        Level::V311,
        &format!("{user}-s"),
        user,
        password,
    );
    assert_eq!(subscriber.subscribe("t/#").unwrap(), 1);
    let mut publisher = Mqtt::login(
        host.addr("mqtt"),
        Level::V5,
        &format!("{user}-p"),
        user,
        password,
    );
    assert_eq!(publisher.publish("t/x", "hello").unwrap(), 0);

    let mut idle_tcp = TcpFiles::login(host.addr("tcp-files"), user, password);
    assert_eq!(idle_tcp.get("small.txt").unwrap().1, b"small");
    let mut tcp = TcpFiles::login(host.addr("tcp-files"), user, password);
    let header = tcp.begin("endless").unwrap();
    assert_eq!(header["file_size"], ENDLESS, "{header}");

    vec![
        ("HTTP between requests", refused(keeps, "/small.txt")),
        ("HTTP download", Box::new(|| cut("HTTP", download))),
        (
            "HTTP upload",
            unwanted(
                upload,
                b"400\r\n"
                    .iter()
                    .copied()
                    .chain([b'x'; 0x400])
                    .chain(*b"\r\n")
                    .collect(),
            ),
        ),
        ("json-api between requests", refused(keeps_json, "/beds/7")),
        ("json-api upload", unwanted(put, vec![b' '; 1024])),
        (
            "FTP between commands",
            Box::new(move || match idle_ftp.reply() {
                Ok(reply) if reply.code == 421 => Ok(()),
                Ok(reply) => Err(format!("{reply:?}")),
                Err(error) if is_broken(&error) => Ok(()),
                Err(error) => Err(error.to_string()),
            }),
        ),
        (
            "FTP RETR",
            Box::new(move || {
                let _open = retrieves;
                cut("RETR", retrieved)
            }),
        ),
        (
            "FTP STOR",
            Box::new(move || {
                let _open = stores;
                unwanted(stored, vec![b'x'; 4096])()
            }),
        ),
        (
            "MQTT subscriber",
            Box::new(move || {
                loop {
                    match subscriber.read() {
                        // DISCONNECT, or the end without it.
                        Ok((0xe0, _)) => return Ok(()),
                        Ok((0x30..=0x3f, _)) => {}
                        Ok(packet) => return Err(format!("{packet:02x?}")),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            return Err("still open".into());
                        }
                        Err(_) => return Ok(()),
                    }
                }
            }),
        ),
        (
            "MQTT publisher",
            Box::new(move || {
                let begin = Instant::now();
                while begin.elapsed() < PATIENCE {
                    match publisher.publish("t/x", "again") {
                        Ok(0 | 0x10) => thread::sleep(Duration::from_millis(20)),
                        Ok(0x87) | Err(_) => return Ok(()),
                        Ok(code) => return Err(format!("PUBACK {code:#x}")),
                    }
                }
                Err("still published".into())
            }),
        ),
        (
            "tcp-files between requests",
            Box::new(move || match idle_tcp.stream.read(&mut [0; 64]) {
                Ok(0) => Ok(()),
                Err(error) if is_broken(&error) => Ok(()),
                other => Err(format!("{other:?}")),
            }),
        ),
        (
            "tcp-files download",
            Box::new(move || cut("tcp-files", tcp.stream)),
        ),
    ]
}

/// Runs the sessions, then what ends them; how long each took from then on.
fn run(
    cause: &str,
    sessions: Vec<(&'static str, Session)>,
    end: impl FnOnce() -> Instant,
    wrong: &mut Vec<String>,
) -> Duration {
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        let running: Vec<_> = sessions
            .into_iter()
            .map(|(what, session)| (what, scope.spawn(|| (session(), Instant::now()))))
            .collect();
        // Long enough that all of them are in the midst of what they do.
        thread::sleep(Duration::from_millis(300));
        let early: Vec<_> = running
            .iter()
            .filter(|(_, thread)| thread.is_finished())
            .collect();
        assert!(
            early.is_empty(),
            "{cause}: {:?} ended before the change",
            early.iter().map(|(what, _)| what).collect::<Vec<_>>()
        );
        let changed = end();
        for (what, thread) in running {
            let (outcome, at) = thread.join().unwrap();
            let took = at.saturating_duration_since(changed);
            slowest = slowest.max(took);
            match outcome {
                Err(error) => wrong.push(format!("{cause}: {what}: {error}")),
                Ok(()) if took > BOUND => wrong.push(format!("{cause}: {what}: after {took:?}")),
                Ok(()) => {}
            }
        }
    });
    slowest
}

/// What must not be there after an upload that was cut off.
fn left_behind(host: &Host, user: &str, wrong: &mut Vec<String>) {
    let files = fs::read_dir(host.path().join("files")).unwrap();
    for name in files.map(|entry| entry.unwrap().file_name()) {
        let name = name.to_string_lossy().into_owned();
        if name == format!("{user}.up") {
            wrong.push(format!("{user}: the file {name} was kept"));
        }
    }
    let mut json = Http::login(host.addr("json"), "bystander", "x");
    let put = json
        .request("GET", format!("/beds/{user}"), &[], b"")
        .unwrap();
    if put.status != 404 {
        wrong.push(format!("{user}: the document was kept: {put:?}"));
    }
}

/// Sessions of somebody whom none of the changes concerns.
struct Bystander {
    download: TcpStream,
    ftp: Ftp,
    retrieved: TcpStream,
    mqtt: Mqtt,
    tcp_files: TcpFiles,
}

impl Bystander {
    fn open(host: &Host, user: &str) -> Self {
        let mut ftp = Ftp::login(host.addr("ftp"), user, "x");
        let retrieved = ftp.passive().unwrap();
        assert_eq!(ftp.command("RETR endless").code, 150);
        Self {
            download: endless(host, user, "x"),
            ftp,
            retrieved,
            mqtt: Mqtt::login(host.addr("mqtt"), Level::V311, "bystander", user, "x"),
            tcp_files: TcpFiles::login(host.addr("tcp-files"), user, "x"),
        }
    }

    /// More than what could have been on its way all the time.
    fn goes_on(&mut self) {
        let mut piece = vec![0; 16 << 20];
        self.download.read_exact(&mut piece).unwrap();
        self.retrieved.read_exact(&mut piece).unwrap();
        assert_eq!(self.ftp.command("STAT").code, 211);
        assert_eq!(self.mqtt.publish("elsewhere", "still here").unwrap(), 0);
        assert_eq!(self.tcp_files.get("small.txt").unwrap().1, b"small");
    }
}

#[test]
fn a_change_of_an_account_ends_what_it_has_open_everywhere() {
    let host = host();
    let mut bystander = Bystander::open(&host, "bystander");
    let mut wrong = Vec::new();
    let mut slowest = Duration::ZERO;
    for (user, was, becomes) in CAUSES {
        let sessions = open(&host, user, "x");
        let change = || {
            host.edit_accounts(|text| {
                assert_eq!(text.matches(was).count(), 1, "{was}");
                text.replace(was, becomes)
            });
            Instant::now()
        };
        let took = run(user, sessions, change, &mut wrong);
        println!("{user}: {took:?}");
        slowest = slowest.max(took);
        left_behind(&host, user, &mut wrong);
        bystander.goes_on();
    }
    figure("slowest end of an open session", format!("{slowest:.1?}"));
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn an_account_that_expires_by_the_clock_ends_what_it_has_open() {
    let host = host();
    // Opening them takes longer on a busy machine.
    let opening = Instant::now();
    drop(open(&host, "group", "x"));
    let life = LIFE + 5 * opening.elapsed();
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let (begin, at) = (Instant::now(), now + life);
    // Whole seconds are what the file can say.
    let until = begin + (Duration::from_secs(at.as_secs()) - now);
    let done = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d"])
        .arg(format!("@{}", at.as_secs()))
        .output();
    let expire = String::from_utf8(done.unwrap().stdout).unwrap();
    host.edit_accounts(|text| format!("{text}\n[clock]\npassword = x\nexpire = {expire}"));
    host.command(&["reload", "--wait"]).expect_success();
    let sessions = open(&host, "clock", "x");
    let mut wrong = Vec::new();
    let wait = || {
        thread::sleep(until.saturating_duration_since(Instant::now()));
        until
    };
    let slowest = run("clock", sessions, wait, &mut wrong);
    figure("slowest end after expiry", format!("{slowest:.1?}"));
    left_behind(&host, "clock", &mut wrong);
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_token_that_is_removed_ends_its_sessions_and_no_others_of_its_account() {
    let host = host();
    let add = [
        "user",
        "token",
        "add",
        "token",
        "--name",
        "ci",
        "--expires",
        "30d",
    ];
    let token = host.command(&add).expect_success().stdout();
    host.command(&["reload", "--wait"]).expect_success();
    let mut others = Bystander::open(&host, "token");
    let sessions = open(&host, "token", token.trim());
    let mut wrong = Vec::new();
    let remove = || {
        let done = host.command(&["user", "token", "remove", "token", "ci"]);
        done.expect_success();
        Instant::now()
    };
    let slowest = run("token", sessions, remove, &mut wrong);
    figure("slowest end after a token's", format!("{slowest:.1?}"));
    others.goes_on();
    assert_eq!(wrong, [""; 0]);
}
