//! A new process takes the place of the running one: nobody is refused, connections cross, and whatever goes wrong
//! before it is ready leaves the old one as it was.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod crossing;
mod failures;
#[path = "../keeper/mod.rs"]
mod keeper;
mod listeners;
mod services;
mod supervisor;

use std::ops::{Deref, DerefMut};
use std::path::Path;

use keeper::{Client, IMPATIENT, PATIENT};
use polyport_testkit::{Builder, Host, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A host whose process changes; all of them end with it.
struct Upgradable(Host);

impl Upgradable {
    fn start(builder: Builder) -> Self {
        Self(builder.start())
    }

    /// Starts a copy of the program in the host's folder.
    fn start_own(builder: Builder) -> Self {
        let mut host = builder.prepare();
        host.own_program();
        host.start();
        Self(host)
    }

    /// The process id that `status` tells.
    fn serving(&self) -> u32 {
        u32::try_from(self.status()["pid"].as_u64().unwrap()).unwrap()
    }

    /// Upgrades; the process that serves then.
    #[track_caller]
    fn upgrade(&self) -> u32 {
        let before = self.serving();
        let said = self.command(&["upgrade", "--wait"]).expect_success();
        let pid = self.serving();
        assert_ne!(pid, before);
        assert_eq!(
            said.stdout().trim_end(),
            format!("polyport {} pid {pid}", env!("CARGO_PKG_VERSION"))
        );
        pid
    }

    /// Why an upgrade fails, after which the same process serves.
    #[track_caller]
    fn refused(&self) -> String {
        let before = self.serving();
        let said = self.command(&["upgrade", "--wait"]).expect_code(1).stderr();
        assert_eq!(self.serving(), before);
        let shown = self.status()["last_error"].as_str().unwrap().to_owned();
        assert!(
            shown.starts_with("upgrade: ") && said.contains(shown.trim_start_matches("upgrade: ")),
            "told {said:?}, shown {shown:?}"
        );
        said
    }

    /// Waits until the process that was started first has ended well.
    #[track_caller]
    fn first_ended(&mut self) {
        assert_eq!(self.wait_exit(), Some(0));
    }

    /// The processes that were started for an upgrade.
    fn started(&self) -> Vec<u32> {
        let of_line = |line: &String| {
            let (_, rest) = line.split_once("upgrade: process ")?;
            let (pid, rest) = rest.split_once(' ')?;
            rest.starts_with("is ").then(|| pid.parse().ok())?
        };
        self.log().iter().filter_map(of_line).collect()
    }
}

impl Drop for Upgradable {
    fn drop(&mut self) {
        for pid in processes(self.path()) {
            kill(pid, Signal::KILL);
        }
    }
}

impl Deref for Upgradable {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl DerefMut for Upgradable {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.0
    }
}

/// The processes that run in this folder, also with the last of their threads: it may be the one that closes what they
/// all had open.
fn processes(folder: &Path) -> Vec<u32> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_here = |pid: &u32| {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
        let mut tasks = tasks.into_iter().flatten().flatten();
        tasks.any(|task| std::fs::read_link(task.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
    };
    pids.filter(is_here).collect()
}

fn kill(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

/// A keeper, which has an estate, as `one`.
fn keeper(keys: &str) -> Builder {
    keeper::builder(&format!("quiet_time = \"50ms\"\n{PATIENT}\n{keys}"))
}

fn generation(host: &Host) -> u64 {
    host.status()["generation"].as_u64().unwrap()
}

fn service(status: &Value, name: &str) -> Value {
    let mut services = status["services"].as_array().unwrap().iter();
    services.find(|one| one["name"] == name).unwrap().clone()
}

fn connections(host: &Host, name: &str) -> u64 {
    service(&host.status(), name)["connections"]
        .as_u64()
        .unwrap()
}

fn wait_for_connections(host: &Host, name: &str, wanted: u64) {
    eventually("all connections are in the new process", || {
        (connections(host, name) == wanted).then_some(())
    });
}
