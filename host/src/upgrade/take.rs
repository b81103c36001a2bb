//! The new process's side: what it asks of the process whose place it takes.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::stdio;

use super::protocol::{FromNew, FromOld, Hello, PROTOCOL, Running, Welcome};
use super::wire::{Channel, Received};
use crate::loader::estate::Estate;

/// How long the process before may leave unread what it is told once this one serves.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process before this one, which goes on unless it is told otherwise.
#[derive(Debug)]
pub struct Predecessor {
    channel: Channel,
    /// The version of its program.
    pub version: String,
    running: Vec<Running>,
}

/// What it had.
#[derive(Debug)]
pub struct Legacy {
    /// What is told of it.
    pub told: Welcome,
    /// The listening sockets.
    pub sockets: Vec<OwnedFd>,
    /// The control socket.
    pub control: OwnedFd,
    /// The accounts in force, if there was a file.
    pub accounts: Option<Vec<u8>>,
}

impl Predecessor {
    /// Greets the process at the other end of standard input, which is empty from then on.
    ///
    /// # Errors
    /// When there is none, or it does not hand over.
    pub fn greet() -> Result<(Self, Legacy), String> {
        let named = |error: io::Error| {
            format!("expected a running polyport at standard input that is upgraded: {error}")
        };
        let socket = stdio::stdin().try_clone_to_owned().map_err(named)?;
        let socket = UnixStream::from(socket);
        socket.peer_addr().map_err(named)?;
        let empty = File::open("/dev/null").map_err(named)?;
        stdio::dup2_stdin(&empty).map_err(|error| named(error.into()))?;
        Self::at(Channel::new(socket))
    }

    fn at(channel: Channel) -> Result<(Self, Legacy), String> {
        let hello = Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        channel.send(&hello, &[], &[]).map_err(lost)?;
        let mut this = Self {
            channel,
            version: String::new(),
            running: Vec::new(),
        };
        let (word, bytes, mut files) = this.hear()?;
        let FromOld::Welcome(told) = word else {
            return Err(unexpected("a welcome", &word));
        };
        let control = files.pop();
        let (Some(control), true) = (control, files.len() == told.sockets.len()) else {
            return Err("the process before handed over other sockets than it said".to_owned());
        };
        this.version.clone_from(&told.version);
        this.running.clone_from(&told.running);
        let legacy = Legacy {
            accounts: told.accounts.then_some(bytes),
            told: *told,
            sockets: files,
            control,
        };
        Ok((this, legacy))
    }

    /// This service, if it runs there.
    pub fn running(&self, service: &str) -> Option<&Running> {
        self.running
            .iter()
            .find(|running| running.service == service)
    }

    /// Tells that a service has started, so that nobody loses patience.
    pub fn started(&self, service: &str) -> Result<(), String> {
        self.say(&FromNew::Started {
            service: service.to_owned(),
        })
    }

    /// Has a service frozen; what only one may have of it.
    ///
    /// # Errors
    /// When it cannot be had, or the process before is gone.
    pub fn freeze(&self, service: &str) -> Result<Estate, String> {
        self.say(&FromNew::Freeze {
            service: service.to_owned(),
        })?;
        match self.hear()? {
            (FromOld::Estate { version }, state, files) => {
                Ok(Estate::of_parts(version, state, files))
            }
            (other, ..) => Err(unexpected("an estate", &other)),
        }
    }

    /// Has a service ended, so that it can be started here.
    ///
    /// # Errors
    /// When the process before is gone or goes on.
    pub fn end(&self, service: &str) -> Result<(), String> {
        self.say(&FromNew::End {
            service: service.to_owned(),
        })?;
        match self.hear()? {
            (FromOld::Ended, ..) => Ok(()),
            (other, ..) => Err(unexpected("the end of a service", &other)),
        }
    }

    /// Says that all is there, also to take the connections of these services, and waits for the word to serve: the
    /// channel on which connections come. With it goes the control socket, if it is taken.
    ///
    /// # Errors
    /// When the process before is gone or goes on.
    pub fn ready(&self, takes: Vec<String>, control: bool) -> Result<Channel, String> {
        self.say(&FromNew::Ready { takes, control })?;
        match self.hear()? {
            (FromOld::Go, _, files) => {
                let socket = files.into_iter().next();
                let socket = socket.ok_or("the process before gave no channel for connections")?;
                Ok(Channel::new(UnixStream::from(socket)))
            }
            (other, ..) => Err(unexpected("the word to serve", &other)),
        }
    }

    /// Says that this process serves.
    pub fn serving(&self) {
        // It serves, whether anybody hears it or not.
        let _ = self.channel.set_patience(PATIENCE);
        let _ = self.say(&FromNew::Serving);
    }

    /// Tells what accounts are in force now; false once nobody is left to whom it matters.
    pub fn accounts(&self, file: &[u8]) -> bool {
        self.channel.send(&FromNew::Accounts, &[file], &[]).is_ok()
    }

    /// Says that nothing comes of it.
    pub fn failed(&self, reason: &str) {
        // Nobody else is to be told.
        let _ = self.say(&FromNew::Failed {
            reason: reason.to_owned(),
        });
    }

    fn say(&self, word: &FromNew) -> Result<(), String> {
        self.channel.send(word, &[], &[]).map_err(lost)
    }

    fn hear(&self) -> Result<(FromOld, Vec<u8>, Vec<OwnedFd>), String> {
        let Received {
            message,
            bytes,
            files,
        } = self.channel.receive().map_err(lost)?;
        match message {
            FromOld::Refused { reason } => Err(reason),
            message => Ok((message, bytes, files)),
        }
    }
}

fn lost(error: io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        "the process before ended the upgrade".to_owned()
    } else {
        format!("the process before: {error}")
    }
}

fn unexpected(what: &str, got: &FromOld) -> String {
    format!("expected {what} of the process before, got {got:?}")
}
