//! The signals that mean something.

use rustix::process::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// All of them.
pub struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
    upgrade: Signal,
    /// A file at its limit (`RLIMIT_FSIZE`) is an error of the write like a full disk is, and ends nothing.
    _file_size: Signal,
}

/// What a signal means.
pub enum Heard {
    /// The end; its name.
    End(&'static str),
    /// A reload.
    Hangup,
    /// An upgrade.
    Upgrade,
}

impl Signals {
    /// Hears them from now on.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            _file_size: signal(SignalKind::from_raw(Number::XFSZ.as_raw()))?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.term.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
            _ = self.hangup.recv() => Heard::Hangup,
            _ = self.upgrade.recv() => Heard::Upgrade,
        }
    }

    /// The next one that means the end; the others stay for [`Signals::next`].
    pub async fn end(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
