//! `cargo xtask bench`: each service beside the server that Debian ships for it, one file a service.
//!
//! Server and load run on one core each. The two servers take turns within one run, so that what
//! else the machine does falls on both; figures are medians over the rounds.

mod files;
mod flood;
mod ftp;
mod ftps;
mod harness;
mod json;
mod logins;
mod mqtt;
mod peers;
mod reload;
mod report;
mod transfer;
mod usage;
mod wrk;

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use harness::Row;
use mqtt::{hostile, million};
use polyport_testkit::{Builder, Host};
pub use report::circumstances;

use crate::{Outcome, document, workspace};

/// Measures one service and gives a row for each case.
type Bench = fn() -> Outcome<Vec<Row>>;

/// Measures cases of the MQTT broker that have a table of their own.
type MqttBench = fn() -> Outcome<String>;

const BENCHES: [(&str, Bench); 3] = [
    ("files", files::bench),
    ("json", json::bench),
    ("ftp", ftp::bench),
];

/// Has demands of its own.
const MQTT: &str = "mqtt";

/// Measures polyport alone, under attack.
const LOGINS: &str = "logins";

/// Changes polyport under load.
const RELOAD: &str = "reload";

/// What the shipped accounts.ini lets clients without an account do, and one account that may write.
const ACCOUNTS: &str = "[anonymous]\n\n[bench]\nname = bench\npassword = bench\n";

/// Where the release build is; set for the release build of this program by the one that cargo ran.
const BIN_DIR: &str = "POLYPORT_BIN_DIR";

/// Runs the benchmarks named, or all, and writes their tables.
pub fn bench(args: &[String]) -> Outcome {
    let options = Options::read(args)?;
    let known = |name: &str| {
        [MQTT, LOGINS, RELOAD].contains(&name) || BENCHES.iter().any(|(known, _)| *known == name)
    };
    if let Some(unknown) = options.names.iter().find(|name| !known(name)) {
        return Err(format!(
            "expected {MQTT}, files, json, ftp, {LOGINS} or {RELOAD}, got {unknown:?}"
        ));
    }
    let Some(built) = std::env::var_os(BIN_DIR) else {
        return in_release(args);
    };
    if options.wants(MQTT) {
        println!("== {MQTT}");
        let part = options.mqtt.part.as_deref();
        let by_themselves: [(&str, MqttBench); 2] = [
            // First: this process has not used and given back any memory yet.
            (million::NAME, million::bench),
            (hostile::NAME, hostile::bench),
        ];
        for (name, bench) in by_themselves {
            if part.is_none_or(|part| part == name) {
                let table = bench()?;
                println!("{table}");
                document::write(&format!("bench {MQTT} {name}"), &table)?;
            }
        }
        if !by_themselves.iter().any(|(name, _)| part == Some(name)) {
            let tables = mqtt::bench(&options.mqtt)?;
            println!("{tables}");
            // Some of the cases are not the proof.
            if options.mqtt == mqtt::Choice::default() {
                document::write(&format!("bench {MQTT}"), &tables)?;
            }
        }
    }
    for (name, bench) in BENCHES {
        if options.wants(name) {
            println!("== {name}");
            let rows = bench()?;
            print!("{}", report::plain(&rows));
            document::write(&format!("bench {name}"), &report::markdown(&rows)?)?;
        }
    }
    if options.wants(LOGINS) {
        document::write(&format!("bench {LOGINS}"), &logins::bench()?)?;
    }
    if options.wants(RELOAD) {
        let times = options.times;
        println!("== {RELOAD}, {times} times each");
        let (tables, verdict) = reload::bench(times, built.as_ref())?;
        println!("{tables}");
        // A shorter run shows whether it works and is not the proof.
        if times >= reload::TIMES {
            document::write(&format!("bench {RELOAD}"), &tables)?;
        }
        verdict?;
    }
    Ok(())
}

/// What the command line says.
struct Options {
    names: Vec<String>,
    /// After `--times`.
    times: usize,
    mqtt: mqtt::Choice,
}

impl Options {
    fn read(args: &[String]) -> Outcome<Self> {
        let mut options = Self {
            names: Vec::new(),
            times: reload::TIMES,
            mqtt: mqtt::Choice::default(),
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match (arg.as_str(), args.as_slice()) {
                (option @ ("--times" | "--seconds"), [number, ..]) => {
                    let parsed = number.parse().ok().filter(|parsed| *parsed > 0);
                    let wrong = || format!("{option}: expected a number, got {number:?}");
                    let parsed: u32 = parsed.ok_or_else(wrong)?;
                    match option {
                        "--times" => options.times = parsed as usize,
                        _ => options.mqtt.time = Duration::from_secs(parsed.into()),
                    }
                    args.next();
                }
                ("--case", [part, ..]) => {
                    options.mqtt.part = Some(part.clone());
                    args.next();
                }
                _ => options.names.push(arg.clone()),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }
}

/// Our server with one of the shipped services, its access log off as the peers' are.
fn ours(service: &str) -> Host {
    builder(service).prepare()
}

fn builder(service: &str) -> Builder {
    let builder = Host::builder()
        .service(service)
        .host_keys("log.level = \"warn\"\nlog.access = \"off\"");
    builder.accounts(ACCOUNTS)
}

/// Builds servers and load generators in release and goes on in that build.
fn in_release(args: &[String]) -> Outcome {
    let release = workspace::build_release()?;
    workspace::run(&mut workspace::cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "xtask",
        "--package",
        "polyport-stand-in",
    ])?)?;
    let error = Command::new(release.join("xtask"))
        .arg("bench")
        .args(args)
        .env(BIN_DIR, &release)
        .exec();
    Err(format!(
        "cannot run {}: {error}",
        release.join("xtask").display()
    ))
}

/// The loads against the peers, which are known to work.
#[cfg(test)]
mod tests {
    use super::peers::{Place, nginx, vsftpd};
    use super::transfer::{LARGE, write_files};
    use super::*;

    #[test]
    fn a_download_is_counted_by_its_bytes() {
        let place = Place::new().unwrap();
        write_files(&place.folder("www").unwrap()).unwrap();
        let peer = nginx(place).unwrap();
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", peer.port)).unwrap();
        assert_eq!(files::get(&mut stream), Ok(LARGE));
        assert_eq!(files::get(&mut stream), Ok(LARGE), "on the same connection");
    }

    #[test]
    fn ftp_transfers_are_counted_by_their_bytes() {
        let place = Place::new().unwrap();
        write_files(&place.folder("www").unwrap()).unwrap();
        let peer = vsftpd(place).unwrap();
        let mut control = ftp::Control::login(peer.port).unwrap();
        assert_eq!(control.transfer("RETR large.bin"), Ok(LARGE));
        let line =
            "-rw-r--r--    1 0        0        268435456 Nov 22 12:00 large.bin\r\n".len() as u64;
        assert!((line..3 * line).contains(&control.transfer("LIST").unwrap()));
    }

    #[test]
    fn transfers_over_tls_are_counted_by_their_bytes() {
        let place = Place::new().unwrap();
        write_files(&place.folder("www").unwrap()).unwrap();
        let client = ftps::Client::trusting(&ftps::self_signed(place.path()).unwrap()).unwrap();
        let peer = vsftpd(place).unwrap();
        let moved = client.download(peer.port).unwrap();
        assert_eq!(moved.amount as u64 % LARGE, 0, "{moved:?}");
    }
}
