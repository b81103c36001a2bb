//! Configuration, accounts and libraries change while the host runs: what changed is swapped on the same
//! sockets, what did not is not touched, and what is wrong changes nothing.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use polyport_testkit::{Host, PASSWORD, PATIENCE, Signal, USER, eventually};
use serde_json::Value;

/// Two services, `one` and `two`, both of the echo plugin, and quick to notice changes.
fn host() -> Host {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("one", "greeting = \"first\"")
        .settings("two", "word = \"first\"")
        .host_keys("quiet_time = \"50ms\"\nready_timeout = \"5s\"\ndrain_timeout = \"5s\"")
        .start()
}

fn greeting(address: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

fn word(stream: &mut BufReader<TcpStream>) -> String {
    stream.get_mut().write_all(b"word\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["services"]
        .as_array()
        .unwrap()
        .iter()
        .find(|service| service["name"] == name)
        .unwrap()
}

fn await_generation(host: &Host, generation: u64) -> Value {
    host.wait_status("the next generation", |status| {
        status["generation"] == generation
    })
}

fn library_of_one(host: &Host) -> PathBuf {
    host.path().join("plugins/libpolyport_echo.so")
}

/// Clients that connect one after the other until told to stop; every failure is counted.
struct Load {
    stop: Arc<AtomicBool>,
    failed: Arc<AtomicU64>,
    done: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn on(address: SocketAddr) -> Self {
        let (stop, failed, done): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) =
            Default::default();
        let client = || {
            let (stop, failed, done) = (Arc::clone(&stop), Arc::clone(&failed), Arc::clone(&done));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match greeting(address) {
                        Ok(line) if !line.is_empty() => done.fetch_add(1, Ordering::Relaxed),
                        outcome => {
                            eprintln!("a client got {outcome:?}");
                            failed.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    };
                }
            })
        };
        let threads = (0..4).map(|_| client()).collect();
        Self {
            stop,
            failed,
            done,
            threads,
        }
    }

    /// Waits until some more clients were served.
    fn more(&self) {
        let before = self.done.load(Ordering::Relaxed);
        eventually("more clients are served", || {
            (self.done.load(Ordering::Relaxed) > before + 20).then_some(())
        });
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        assert_eq!(
            self.failed.load(Ordering::Relaxed),
            0,
            "clients refused or cut off"
        );
        let served = self.done.load(Ordering::Relaxed);
        polyport_testkit::figure(
            "clients",
            format!("{served} served, none refused or cut off"),
        );
    }
}

#[test]
fn swaps_under_load_refuse_nobody() {
    let host = host();
    let load = Load::on(host.addr("one"));
    let rounds = polyport_testkit::repeats("POLYPORT_SWAPS", 5) as u64;
    let mut whole = std::fs::read(library_of_one(&host)).unwrap();
    for round in 0..rounds {
        // Settings by a file in place, the library by a rename, and a command.
        host.edit_config(|text| {
            let line = text
                .lines()
                .find(|line| line.starts_with("greeting"))
                .unwrap()
                .to_owned();
            text.replace(&line, &format!("greeting = \"round {round}\""))
        });
        eventually("the new greeting", || {
            (greeting(host.addr("one")).ok()? == format!("round {round}")).then_some(())
        });
        load.more();
        let before = host.status();
        whole.push(0); // another file, the same code
        let fresh = host.path().join("fresh.so");
        std::fs::write(&fresh, &whole).unwrap();
        std::fs::rename(&fresh, library_of_one(&host)).unwrap();
        let hash = service(&before, "one")["hash"].clone();
        host.wait_status("the new library", |status| {
            service(status, "one")["hash"] != hash
        });
        load.more();
        host.command(&["restart", "one"]).expect_success();
        load.more();
    }
    load.end();
    let status = host.status();
    assert_eq!(status["generation"], 1 + 3 * rounds, "{status:#}");
    assert_eq!(status["libraries"], 2 + rounds);
    assert_eq!(status["last_error"], Value::Null);
}

#[test]
fn unchanged_services_are_not_touched() {
    let host = host();
    let mut connection = BufReader::new(host.connect("two"));
    assert_eq!(word(&mut connection), "first");
    let before = host.status();
    host.edit_config(|text| text.replace("greeting = \"first\"", "greeting = \"second\""));
    let after = await_generation(&host, 2);
    assert_eq!(greeting(host.addr("one")).unwrap(), "second");
    assert_eq!(
        service(&before, "two")["started"],
        service(&after, "two")["started"]
    );
    assert_eq!(service(&after, "two")["connections"], 1);
    assert_eq!(word(&mut connection), "first");
}

#[test]
fn a_live_setting_reaches_open_connections() {
    let host = host();
    let mut connection = BufReader::new(host.connect("two"));
    host.edit_config(|text| text.replace("word = \"first\"", "word = \"second\""));
    await_generation(&host, 2);
    assert_eq!(word(&mut connection), "second");
}

#[test]
fn a_swap_lets_open_connections_finish_and_removal_closes_the_port() {
    let host = host();
    host.edit_config(|text| text.replace("[services.one]", "[services.one]\nenabled = false"));
    let status = await_generation(&host, 2);
    assert_eq!(service(&status, "one")["state"], "disabled");
    eventually("the port is closed", || {
        greeting(host.addr("one")).is_err().then_some(())
    });
    host.edit_config(|text| text.replace("enabled = false", "enabled = true"));
    await_generation(&host, 3);
    assert_eq!(greeting(host.addr("one")).unwrap(), "first");
}

#[test]
fn one_listener_more_leaves_the_others() {
    let host = host();
    let load = Load::on(host.addr("one"));
    let (old, new) = (host.port("one"), host.expand("{port:more}"));
    host.edit_config(|text| {
        text.replace(
            &format!("[\"127.0.0.1:{old}\"]"),
            &format!("[\"127.0.0.1:{old}\", \"[::1]:{new}\", \"unix:one.sock\"]"),
        )
    });
    let status = await_generation(&host, 2);
    assert_eq!(
        service(&status, "one")["listen"].as_array().unwrap().len(),
        3
    );
    load.more();
    assert_eq!(
        greeting(format!("[::1]:{new}").parse().unwrap()).unwrap(),
        "first"
    );
    let mut line = String::new();
    let unix = std::os::unix::net::UnixStream::connect(host.path().join("one.sock")).unwrap();
    BufReader::new(unix).read_line(&mut line).unwrap();
    assert_eq!(line, "first\n");
    load.end();
}

#[test]
fn a_bad_file_keeps_the_old_state_and_says_why() {
    let host = host();
    let load = Load::on(host.addr("one"));
    let good = std::fs::read_to_string(host.config()).unwrap();
    let accounts = std::fs::read_to_string(host.path().join("accounts.ini")).unwrap();
    let library = std::fs::read(library_of_one(&host)).unwrap();

    let refused = |why: &str, expected: &str| {
        let answer = host.command(&["reload", "--wait"]).expect_code(1).stderr();
        assert!(answer.contains(expected), "{why}: {answer}");
        let status = host.status();
        assert_eq!(status["generation"], 1, "{why}");
        assert!(
            status["last_error"].as_str().unwrap().contains(expected),
            "{why}: {status:#}"
        );
        assert_eq!(greeting(host.addr("one")).unwrap(), "first", "{why}");
    };
    host.edit_config(|_| "[host\n".into());
    // Without a configuration the command cannot know the socket.
    let answer = host.command(&[
        "reload",
        "--wait",
        "--control",
        &format!("{}/control.sock", host.path().display()),
    ]);
    assert!(answer.expect_code(1).stderr().contains("polyport.toml:1:"));
    host.edit_config(|_| good.replace("greeting = \"first\"", "greeting = 5"));
    refused(
        "settings of the wrong type",
        "services.one.settings.greeting: expected a string, got 5",
    );
    host.edit_config(|_| good.replace("plugin = \"echo\"", "plugin = \"ghost\""));
    refused("a plugin that is not there", "libpolyport_ghost.so");
    host.edit_config(|_| good.replace("word = \"first\"", "mode = \"panic-at-start\""));
    refused(
        "an instance that panics at its start",
        "start panics as asked",
    );
    host.edit_config(|_| good.replace("word = \"first\"", "mode = \"never-ready\""));
    refused(
        "an instance that never gets ready",
        "expected it to be ready within 5s",
    );
    host.edit_config(|_| good.clone());
    host.edit_accounts(|_| "[alice\n".into());
    refused("accounts that cannot be read", "accounts.ini:1:");
    host.edit_accounts(|_| String::new());
    refused("accounts that are all gone", "accounts.ini");
    host.edit_accounts(|_| accounts.clone());
    std::fs::write(library_of_one(&host), &library[..library.len() / 2]).unwrap();
    refused("a truncated library", "cut short");
    std::fs::write(library_of_one(&host), "no library").unwrap();
    refused("a foreign library", "expected an ELF shared library");
    std::fs::write(library_of_one(&host), &library).unwrap();

    let answer = host
        .command(&["reload", "--wait"])
        .expect_success()
        .stdout();
    assert_eq!(answer, "generation 1\n", "all is as it was");
    assert_eq!(host.status()["last_error"], Value::Null);
    load.end();
}

#[test]
fn accounts_take_effect_on_open_sessions() {
    let host = host();
    let mut session = BufReader::new(host.connect("two"));
    let mut line = String::new();
    session
        .get_mut()
        .write_all(format!("login {USER} wrong\n").as_bytes())
        .unwrap();
    session.read_line(&mut line).unwrap();
    assert_eq!(line, "login refused\n");
    line.clear();
    session
        .get_mut()
        .write_all(format!("login {USER} {PASSWORD}\n").as_bytes())
        .unwrap();
    session.read_line(&mut line).unwrap();
    assert_eq!(line, format!("{USER} write=true\n"));
    line.clear();
    host.edit_accounts(|text| format!("{text}\nenabled = no\n"));
    session.read_line(&mut line).unwrap();
    assert_eq!(line, "revoked\n");
}

#[test]
fn an_account_that_expires_is_revoked_without_any_change() {
    let host = host();
    let login = || {
        let mut session = BufReader::new(host.connect("two"));
        let line = format!("login {USER} {PASSWORD}\n");
        session.get_mut().write_all(line.as_bytes()).unwrap();
        let mut line = String::new();
        session.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{USER} write=true\n"));
        session
    };
    let reload = || host.command(&["reload", "--wait"]).expect_success();
    // A busy machine takes longer for what has to be done before it expires.
    let rehearsal = Instant::now();
    login();
    reload();
    let soon = SystemTime::now() + Duration::from_secs(4) + 10 * rehearsal.elapsed();
    let seconds = soon.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let stamp = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%dT%H:%M:%SZ", "-d", &format!("@{seconds}")])
        .output()
        .unwrap();
    let stamp = String::from_utf8(stamp.stdout).unwrap();
    host.edit_accounts(|text| format!("{text}\nexpire = {stamp}\n"));
    reload();
    let mut session = login();
    let mut line = String::new();
    session.read_line(&mut line).unwrap();
    assert_eq!(line, "revoked\n");
    let expired = UNIX_EPOCH + Duration::from_secs(seconds);
    assert!(SystemTime::now() >= expired, "before its time");
}

#[test]
fn hangup_reloads_and_term_drains_and_exits_with_zero() {
    let mut host = host();
    let mark = host.log_mark();
    host.signal(Signal::HUP);
    host.wait_log(mark, "reload (SIGHUP): nothing changed");
    let mut open = BufReader::new(host.connect("one"));
    let mut line = String::new();
    open.read_line(&mut line).unwrap();
    assert_eq!(host.sigterm(), Some(0));
    line.clear();
    assert_eq!(open.read_line(&mut line).unwrap(), 0, "closed in order");
    assert!(!host.path().join("control.sock").exists());
}

#[test]
fn the_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut host = Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .env("NOTIFY_SOCKET", path.to_str().unwrap())
        .start();
    assert!(hear().contains("READY=1"));
    host.signal(Signal::HUP);
    let reloading = hear();
    assert!(
        reloading.contains("RELOADING=1") && reloading.contains("MONOTONIC_USEC="),
        "{reloading}"
    );
    assert!(hear().contains("READY=1"));
    assert_eq!(host.sigterm(), Some(0));
    assert!(hear().contains("STOPPING=1"));
}

#[test]
fn the_folder_of_the_state_changes_at_the_next_start_only() {
    let host = host();
    let mark = host.log_mark();
    host.edit_config(|text| text.replace("state = \"state\"", "state = \"elsewhere\""));
    host.wait_log(mark, "host.state: takes effect at the next start");
    host.command(&["restart", "one"]).expect_success();
    assert!(!host.path().join("elsewhere").exists());
}
