//! The changes: each is made, waited for, and made back or made again.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use polyport_testkit::{Host, library_of};
use serde_json::Value;

use super::broken::{Broken, Libraries};
use super::place::Changes;
use super::watch::{Watch, until};
use crate::Outcome;

/// A kind of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Settings,
    Accounts,
    Certificate,
    Library,
    Rollback,
    BrokenToml,
    BrokenIni,
    Broken(Broken),
}

impl Case {
    pub const ALL: [Self; 11] = [
        Self::Settings,
        Self::Accounts,
        Self::Certificate,
        Self::Library,
        Self::Rollback,
        Self::BrokenToml,
        Self::BrokenIni,
        Self::Broken(Broken::Truncated),
        Self::Broken(Broken::Abi),
        Self::Broken(Broken::Panics),
        Self::Broken(Broken::NeverReady),
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Settings => "settings swap",
            Self::Accounts => "accounts change",
            Self::Certificate => "certificate change",
            Self::Library => "library swap",
            Self::Rollback => "rollback",
            Self::BrokenToml => "broken TOML",
            Self::BrokenIni => "broken INI",
            Self::Broken(Broken::Truncated) => "truncated library",
            Self::Broken(Broken::Abi) => "wrong-ABI library",
            Self::Broken(Broken::Panics) => "library whose start panics",
            Self::Broken(Broken::NeverReady) => "library that never gets ready",
        }
    }

    /// Whether the MQTT service gets another instance.
    pub fn swaps(self) -> bool {
        matches!(self, Self::Settings | Self::Library | Self::Rollback)
    }

    /// Whether it begins with a file that is closed.
    pub fn has_file(self) -> bool {
        !matches!(self, Self::Rollback)
    }
}

/// Makes changes and waits for them.
pub struct Changer<'a> {
    pub host: &'a Host,
    pub changes: &'a Changes,
    pub watch: &'a Watch,
}

impl Changer<'_> {
    /// One change of a kind; gives the time from the file's close to what a client sees of it, and for a broken file
    /// to its refusal.
    pub fn step(&self, case: Case, round: usize) -> Outcome<Duration> {
        // Every other one leads back.
        let new = round.is_multiple_of(2);
        match case {
            Case::Settings => self.taken(|| self.settings(new)),
            Case::Accounts => self.taken(|| self.accounts(new)),
            Case::Certificate => self.taken(|| self.certificate(new)),
            Case::Library => self.taken(|| self.library(new)),
            Case::Rollback => self.taken(|| self.rollback()),
            Case::BrokenToml => {
                let broken = format!("{}\n[host\n", self.changes.config);
                self.refused("polyport.toml:", || self.write("polyport.toml", &broken))?
                    .then(|| self.write("polyport.toml", &self.changes.config))
            }
            Case::BrokenIni => {
                let broken = format!("{}\n[bench\n", self.changes.accounts);
                self.refused("accounts.ini:", || self.write("accounts.ini", &broken))?
                    .then(|| self.write("accounts.ini", &self.changes.accounts))
            }
            Case::Broken(fault) => self.broken(fault, round),
        }
    }

    /// Makes a change that must come to one more generation.
    fn taken(&self, make: impl FnOnce() -> Outcome<Duration>) -> Outcome<Duration> {
        let before = self.watch.status()?["generation"].as_u64();
        let made = make();
        let mut status = Value::Null;
        let known = until(Instant::now(), || {
            status = self.watch.status()?;
            Ok(status["generation"].as_u64() > before)
        });
        match known.and(made) {
            Ok(took) if status["last_error"].is_null() => Ok(took),
            Ok(_) => Err(format!("it is in force with {}", status["last_error"])),
            Err(error) => Err(format!(
                "{error}; generation {before:?} and then {}, {}",
                status["generation"], status["last_error"]
            )),
        }
    }

    /// How long nobody served the MQTT service in the swap that was just made, as the host tells it.
    pub fn frozen(&self, case: Case) -> Option<Duration> {
        let status = self.watch.status().ok().filter(|_| case.swaps())?;
        let services = status["services"].as_array()?;
        let service = services.iter().find(|service| service["name"] == "mqtt")?;
        let milliseconds = service["handover_pause_ms"].as_f64()?;
        Some(Duration::from_secs_f64(milliseconds / 1000.0))
    }

    /// Whatever the last case left behind.
    pub fn reset(&self) -> Outcome {
        self.write("polyport.toml", &self.changes.config)?;
        self.write("accounts.ini", &self.changes.accounts)?;
        self.install("pair.pem", self.changes.certificates[0].as_bytes())?;
        for (file, bytes) in &self.changes.libraries[0] {
            self.install(&format!("plugins/{file}"), bytes)?;
        }
        let reload = self.host.command(&["reload", "--wait"]);
        match reload.code {
            Some(0) => Ok(()),
            _ => Err(format!("cannot go back to the beginning: {reload}")),
        }
    }

    /// What a client sees and what every service has to be swapped for.
    fn settings(&self, new: bool) -> Outcome<Duration> {
        let (text, index) = match new {
            true => {
                let text = self.changes.config.replace("old.html", "new.html");
                (text.replace("threads = 2", "threads = 3"), "new")
            }
            false => (self.changes.config.clone(), "old"),
        };
        let closed = self.write("polyport.toml", &text)?;
        until(closed, || Ok(self.watch.index()? == index))
    }

    fn accounts(&self, new: bool) -> Outcome<Duration> {
        let text = match new {
            true => self
                .changes
                .accounts
                .replace("enabled = yes", "enabled = no"),
            false => self.changes.accounts.clone(),
        };
        let closed = self.write("accounts.ini", &text)?;
        until(closed, || Ok(self.watch.probe_may_log_in()? != new))
    }

    fn certificate(&self, new: bool) -> Outcome<Duration> {
        let pair = &self.changes.certificates[usize::from(new)];
        let closed = self.install("pair.pem", pair.as_bytes())?;
        until(closed, || self.watch.shows(pair))
    }

    fn library(&self, new: bool) -> Outcome<Duration> {
        let mut closed = Instant::now();
        for (file, bytes) in &self.changes.libraries[usize::from(new)] {
            closed = self.install(&format!("plugins/{file}"), bytes)?;
        }
        let old = env!("CARGO_PKG_VERSION");
        until(closed, || Ok((self.watch.version()? != old) == new))
    }

    /// Back and forth between the two generations of a swap of settings.
    fn rollback(&self) -> Outcome<Duration> {
        let before = self.watch.index()?;
        let begun = Instant::now();
        let answer = self.host.command(&["rollback"]);
        if answer.code != Some(0) {
            return Err(answer.to_string());
        }
        until(begun, || Ok(self.watch.index()? != before))
    }

    fn broken(&self, fault: Broken, round: usize) -> Outcome<Duration> {
        let Some((_, broken)) = self.changes.broken.iter().find(|(made, _)| *made == fault) else {
            return Err(format!("no library for {fault:?}"));
        };
        // The exclusive one each time, and another in turn.
        let exclusive = library_of("polyport-mqtt");
        let others: Vec<&String> = broken.keys().filter(|file| **file != exclusive).collect();
        let other = others.get(round % others.len().max(1)).copied();
        let files: Vec<&String> = std::iter::once(&exclusive).chain(other).collect();
        let replace = |libraries: &Libraries| -> Outcome<Instant> {
            let mut closed = Instant::now();
            for file in &files {
                let bytes = libraries.get(*file).map(Vec::as_slice).unwrap_or_default();
                closed = self.install(&format!("plugins/{file}"), bytes)?;
            }
            Ok(closed)
        };
        let expected = match fault {
            Broken::Truncated => "cut short",
            Broken::Abi => "expected ABI generation",
            Broken::Panics => "panics as asked",
            Broken::NeverReady => "to be ready within",
        };
        self.refused(expected, || replace(broken))?
            .then(|| replace(&self.changes.libraries[0]))
    }

    /// Makes a change that must be refused with a reason that contains `expected`, and nothing else.
    fn refused(
        &self,
        expected: &str,
        make: impl FnOnce() -> Outcome<Instant>,
    ) -> Outcome<Refused<'_>> {
        let generation = self.watch.status()?["generation"].clone();
        let closed = make()?;
        let mut last = Value::Null;
        let seen = until(closed, || {
            last = self.watch.status()?["last_error"].take();
            Ok(last.as_str().is_some_and(|error| error.contains(expected)))
        });
        let took = seen.map_err(|error| {
            format!("expected it to be refused with {expected:?}: {error}; got {last}")
        })?;
        let now = self.watch.status()?["generation"].clone();
        if now != generation {
            return Err(format!(
                "expected generation {generation} as before, got {now}"
            ));
        }
        Ok(Refused {
            watch: self.watch,
            took,
        })
    }

    /// Writes a file in place; gives when it was closed.
    fn write(&self, name: &str, text: &str) -> Outcome<Instant> {
        let path = self.host.path().join(name);
        let written = fs::File::create(&path).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Instant::now())
    }

    /// Puts a file in another's place; gives when it was there.
    fn install(&self, name: &str, bytes: &[u8]) -> Outcome<Instant> {
        let (fresh, path) = (self.host.path().join("fresh"), self.host.path().join(name));
        let renamed = fs::write(&fresh, bytes)
            .and_then(|()| private(&fresh))
            .and_then(|()| fs::rename(&fresh, &path));
        renamed.map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(Instant::now())
    }
}

fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}

/// A change that was refused, and how long that took.
struct Refused<'a> {
    watch: &'a Watch,
    took: Duration,
}

impl Refused<'_> {
    /// Makes what is good again, and waits until nothing is wrong.
    fn then(self, mend: impl FnOnce() -> Outcome<Instant>) -> Outcome<Duration> {
        thread::sleep(Duration::from_millis(50));
        until(mend()?, || Ok(self.watch.status()?["last_error"].is_null()))?;
        Ok(self.took)
    }
}
