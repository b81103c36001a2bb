//! The columns: what is changed, and how.

use std::fs;
use std::ops::{Deref, DerefMut};

use polyport_testkit::{Host, STANDARD, Signal, library_of};
use rustix::process::{Pid, kill_process};

/// A host whose process may be another one by now.
pub struct Running {
    host: Host,
    pid: u32,
}

impl Deref for Running {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Host {
        &mut self.host
    }
}

/// One change.
pub struct Change {
    /// The head of its column.
    pub name: &'static str,
    /// Whether services get new instances.
    pub replaces: bool,
    /// What is done before the clients come.
    pub before: fn(&Host),
    /// Makes it and waits until it is in force.
    pub make: fn(Host) -> Running,
}

pub const CHANGES: [Change; 12] = [
    Change {
        name: "live settings",
        replaces: false,
        before: nothing,
        make: live_settings,
    },
    Change {
        name: "limits",
        replaces: false,
        before: nothing,
        make: limits,
    },
    Change {
        name: "another account",
        replaces: false,
        before: nothing,
        make: another_account,
    },
    Change {
        name: "its own account",
        replaces: false,
        before: nothing,
        make: own_account,
    },
    Change {
        name: "certificate",
        replaces: false,
        before: nothing,
        make: certificate,
    },
    Change {
        name: "another listener",
        replaces: false,
        before: nothing,
        make: listener,
    },
    Change {
        name: "settings swap",
        replaces: true,
        before: nothing,
        make: swap,
    },
    Change {
        name: "library swap",
        replaces: true,
        before: nothing,
        make: library,
    },
    Change {
        name: "`restart`",
        replaces: true,
        before: nothing,
        make: restart,
    },
    Change {
        name: "`rollback` of a swap",
        replaces: true,
        before: swap_before,
        make: rollback,
    },
    Change {
        name: "`upgrade`",
        replaces: true,
        before: nothing,
        make: upgrade,
    },
    Change {
        name: "`stop`",
        replaces: true,
        before: nothing,
        make: stop,
    },
];

/// Ends whichever process runs.
pub fn end(running: &mut Running) {
    let pid = running.pid;
    if pid == 0 {
        return;
    }
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
}

fn nothing(_: &Host) {}

fn the_same(host: Host) -> Running {
    Running { host, pid: 0 }
}

/// Asks for what changed; `word` is how `polyport generations` tells the step.
fn reload(host: Host, word: &str) -> Running {
    host.command(&["reload", "--wait"]).expect_success();
    let told = host
        .command(&["generations", "--json"])
        .expect_success()
        .json();
    let last = told["generations"].as_array().unwrap().last().unwrap()["changes"].to_string();
    assert!(last.contains(word), "expected {word:?} in {last}");
    the_same(host)
}

fn live_settings(host: Host) -> Running {
    host.edit_config(|text| {
        text.replace(
            "[services.mqtt.settings]",
            "[services.mqtt.settings]\nmax_queued_messages = 500",
        )
        .replace(
            "[services.files.settings]",
            "[services.files.settings]\nlisting = false",
        )
        .replace(
            "[services.json.settings]",
            "[services.json.settings]\npage_size = 50",
        )
        .replace(
            "[services.ftp.settings]",
            "[services.ftp.settings]\nbanner = \"another\"",
        )
        .replace(
            "[services.tcp-files.settings]",
            "[services.tcp-files.settings]\nmax_login_failures = 5",
        )
    });
    let running = reload(host, "live (settings)");
    let told = running
        .command(&["generations", "--json"])
        .expect_success()
        .stdout();
    assert!(!told.contains("swap"), "{told}");
    running
}

fn limits(host: Host) -> Running {
    host.edit_config(|text| {
        STANDARD.iter().fold(text.to_owned(), |text, standard| {
            let settings = format!("[services.{}.settings]", standard.name);
            let limits = format!(
                "[services.{}.limits]\nmax_connections = 500\n\n{settings}",
                standard.name
            );
            text.replace(&settings, &limits)
        })
    });
    reload(host, "live (limits)")
}

fn another_account(host: Host) -> Running {
    host.edit_accounts(|text| text.replace("[bob]", "[bob]\nenabled = no"));
    reload(host, "accounts")
}

fn own_account(host: Host) -> Running {
    host.edit_accounts(|text| text.replace("[alice]", "[alice]\nexpire = 2099-12-31"));
    reload(host, "accounts")
}

fn certificate(host: Host) -> Running {
    for name in ["localhost.cert.pem", "localhost.key.pem"] {
        fs::remove_file(host.path().join(name)).unwrap();
    }
    super::certificate(&host);
    reload(host, "live (tls)")
}

fn listener(host: Host) -> Running {
    host.edit_config(|text| {
        let listens = |line: &str| line.starts_with("listen = ");
        let lines = text
            .lines()
            .enumerate()
            .map(|(number, line)| match listens(line) {
                true => line.replace(
                    "listen = [",
                    &format!("listen = [\"127.0.0.1:{{port:more{number}}}\", "),
                ),
                false => line.to_owned(),
            });
        lines.map(|line| line + "\n").collect()
    });
    reload(host, "live (listen")
}

fn threads(host: &Host, from: &str, to: &str) {
    host.edit_config(|text| text.replace(from, to));
}

fn swap(host: Host) -> Running {
    threads(&host, "threads = 1", "threads = 2");
    reload(host, "swap")
}

fn swap_before(host: &Host) {
    threads(host, "threads = 1", "threads = 2");
    host.command(&["reload", "--wait"]).expect_success();
}

/// Another version of each library, the one that its manifest tells.
fn library(host: Host) -> Running {
    for standard in STANDARD {
        let path = host
            .path()
            .join("plugins")
            .join(library_of(standard.package));
        let mut bytes = fs::read(&path).unwrap();
        let begin = format!("{{\"name\":\"{}\",\"version\":\"", standard.plugin);
        let at = bytes
            .windows(begin.len())
            .position(|window| window == begin.as_bytes())
            .unwrap();
        let from = at + begin.len();
        let length = bytes[from..].iter().position(|byte| *byte == b'"').unwrap();
        bytes[from + length - 1] = b'9';
        let fresh = host.path().join("fresh");
        fs::write(&fresh, bytes).unwrap();
        fs::rename(&fresh, &path).unwrap();
    }
    reload(host, "swap")
}

fn restart(host: Host) -> Running {
    for standard in STANDARD {
        host.command(&["restart", standard.name]).expect_success();
    }
    the_same(host)
}

fn rollback(host: Host) -> Running {
    host.command(&["rollback"]).expect_success();
    the_same(host)
}

fn upgrade(host: Host) -> Running {
    let before = u64::from(host.pid());
    host.command(&["upgrade", "--wait"]).expect_success();
    let pid = host.status()["pid"].as_u64().unwrap();
    assert_ne!(pid, before);
    Running {
        host,
        pid: u32::try_from(pid).unwrap(),
    }
}

fn stop(host: Host) -> Running {
    host.signal(Signal::TERM);
    the_same(host)
}
