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
mod mqtt_load;
mod peers;
mod report;
mod transfer;
mod usage;
mod wrk;

use std::os::unix::process::CommandExt;
use std::process::Command;

use harness::Row;
use polyport_testkit::{Builder, Host};
pub use report::circumstances;

use crate::{Outcome, document, workspace};

/// Measures one service and gives a row for each case.
type Bench = fn() -> Outcome<Vec<Row>>;

const BENCHES: [(&str, Bench); 4] = [
    ("mqtt", mqtt::bench),
    ("files", files::bench),
    ("json", json::bench),
    ("ftp", ftp::bench),
];

/// Measures polyport alone, under attack.
const LOGINS: &str = "logins";

/// What the shipped accounts.ini lets clients without an account do, and one account that may write.
const ACCOUNTS: &str = "[anonymous]\n\n[bench]\nname = bench\npassword = bench\n";

/// Where the release build is; set for the release build of this program by the one that cargo ran.
const BIN_DIR: &str = "POLYPORT_BIN_DIR";

/// Runs the benchmarks named, or all, and writes their tables.
pub fn bench(args: &[String]) -> Outcome {
    if let Some(unknown) = args
        .iter()
        .find(|arg| *arg != LOGINS && BENCHES.iter().all(|(name, _)| name != arg))
    {
        return Err(format!(
            "expected mqtt, files, json, ftp or {LOGINS}, got {unknown:?}"
        ));
    }
    if std::env::var_os(BIN_DIR).is_none() {
        return in_release(args);
    }
    for (name, bench) in BENCHES {
        if args.is_empty() || args.iter().any(|arg| arg == name) {
            println!("== {name}");
            let rows = bench()?;
            print!("{}", report::plain(&rows));
            document::write(&format!("bench {name}"), &report::markdown(&rows)?)?;
        }
    }
    if args.is_empty() || args.iter().any(|arg| arg == LOGINS) {
        document::write(&format!("bench {LOGINS}"), &logins::bench()?)?;
    }
    Ok(())
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
    use std::time::Duration;

    use super::peers::{Place, mosquitto, nginx, vsftpd};
    use super::transfer::{LARGE, write_files};
    use super::*;

    #[test]
    fn every_message_is_counted() {
        let peer = mosquitto(Place::new().unwrap()).unwrap();
        for qos in [0, 1] {
            let time = Duration::from_millis(100);
            let load = mqtt_load::Load {
                pairs: 2,
                qos,
                payload: 64,
                window: 20,
                time,
            };
            let moved = mqtt_load::run(peer.port, load).unwrap();
            assert!(moved.amount >= 40.0 && moved.seconds >= 0.1, "{moved:?}");
        }
    }

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
