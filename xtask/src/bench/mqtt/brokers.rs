//! The two brokers under test, each on one core.

use std::time::{Duration, Instant};

use polyport_testkit::Host;

use super::cases::Store;
use crate::Outcome;
use crate::bench::harness::Server;
use crate::bench::peers::{self, Place};
use crate::bench::usage::resident;
use crate::bench::{ACCOUNTS, builder};

/// The account that clients with a login have, at both.
pub const LOGIN: (&str, &str) = ("bench", "bench");

/// Service of polyport's that never waits for the disk.
const UNFLUSHED: &str = "unflushed";

pub struct Broker {
    pub server: Server,
    /// Where nothing waits for the disk.
    unflushed: u16,
}

impl Broker {
    /// The shipped service, and a second one with durability never, in one process.
    pub fn polyport() -> Outcome<Self> {
        let host: Host = builder("mqtt")
            .plugin(UNFLUSHED, "mqtt", "polyport-mqtt")
            .settings(UNFLUSHED, "durability = \"never\"")
            .accounts(ACCOUNTS)
            .prepare();
        // As polyport itself writes passwords: argon2id.
        host.command(&["user", "hash", "--all"]).expect_success();
        let unflushed = host.port(UNFLUSHED);
        let server = Server::ours("mqtt", host)?;
        Ok(Self { server, unflushed })
    }

    /// With a bound on what it holds, in MiB, and packets as long as the protocol has them.
    pub fn besieged(may_hold: u32) -> Outcome<Self> {
        let host = builder("mqtt")
            .settings("mqtt", &format!("max_memory = \"{may_hold}M\""))
            .keys("mqtt", "limits.max_packet = 268435460")
            .accounts(ACCOUNTS)
            .prepare();
        let server = Server::ours("mqtt", host)?;
        let unflushed = server.port;
        Ok(Self { server, unflushed })
    }

    pub fn mosquitto() -> Outcome<Self> {
        let server = Server::peer(|| peers::mosquitto(Place::new()?, LOGIN))?;
        let unflushed = server.port;
        Ok(Self { server, unflushed })
    }

    pub fn port(&self, store: Store) -> u16 {
        match store {
            Store::Always => self.server.port,
            Store::Never => self.unflushed,
        }
    }

    /// Resident bytes once they do not change any more, or after three seconds.
    pub fn memory(&self) -> u64 {
        let until = Instant::now() + Duration::from_secs(3);
        let mut last = resident(self.server.pid);
        let mut same = 0;
        while same < 5 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(100));
            let now = resident(self.server.pid);
            same = if now == last { same + 1 } else { 0 };
            last = now;
        }
        last
    }
}
