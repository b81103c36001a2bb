//! Connections on their way from the old process to the new one: a question and an answer each, over a channel of
//! their own.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use polyport_abi::handover::{About, NOT_PASSED_FAILED, NOT_PASSED_NOBODY, PASSED, Parcel};
use polyport_abi::{ROption, RSlice};
use tracing::{debug, warn};

use super::protocol::{Answer, Passed};
use super::wire::{Channel, Received};
use crate::accounts::{AccountList, Accounts, Session};
use crate::handover::{Passing, Successor, Taken, Way, arrive};
use crate::lasting::Lasting;

/// How long the new process may take to answer for one connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// The new process, as those see it who pass connections to it.
#[derive(Debug)]
pub struct Remote {
    /// None once it is gone.
    channel: Mutex<Option<Channel>>,
}

/// The new process, for the connections of one service.
#[derive(Debug)]
pub struct Destination {
    service: String,
    remote: Arc<Remote>,
}

impl Remote {
    /// At the other end of `channel`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new(channel: Channel) -> io::Result<Arc<Self>> {
        channel.set_patience(PATIENCE)?;
        Ok(Arc::new(Self {
            channel: Mutex::new(Some(channel)),
        }))
    }

    /// For the connections of a service.
    pub fn of(self: &Arc<Self>, service: &str) -> Arc<Destination> {
        Arc::new(Destination {
            service: service.to_owned(),
            remote: Arc::clone(self),
        })
    }

    fn pass(&self, passed: &Passed, bytes: &[&[u8]], socket: BorrowedFd<'_>) -> Result<(), Answer> {
        let mut held = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = held.as_ref().ok_or(NOT_PASSED_NOBODY)?;
        let answer = channel
            .send(passed, bytes, &[socket])
            .and_then(|()| channel.receive());
        match answer {
            Ok(Received {
                message: PASSED, ..
            }) => Ok(()),
            Ok(Received { message, .. }) => Err(message),
            Err(error) => {
                // From here on nobody could tell which answer belongs to what.
                channel.close();
                *held = None;
                warn!("upgrade: the new process takes no more connections: {error}");
                if error.kind() == io::ErrorKind::WouldBlock {
                    // It may have it: two at one connection would be worse than none.
                    Ok(())
                } else {
                    Err(NOT_PASSED_NOBODY)
                }
            }
        }
    }
}

impl Successor for Destination {
    fn take(&self, passing: &Passing<'_>) -> Result<Taken, u32> {
        let parcel = passing.parcel();
        let [about, unread, unsent] =
            [parcel.about, parcel.unread, parcel.unsent].map(|part| part.as_slice());
        // The other end is a library of this process, which ends with it.
        let relayed = serde_json::from_slice(about).is_ok_and(|about: About| about.relayed);
        if relayed {
            return Err(NOT_PASSED_FAILED);
        }
        let passed = Passed {
            service: self.service.clone(),
            plugin: passing.plugin().to_owned(),
            version: parcel.version,
            listener: passing.listener().map(str::to_owned),
            parts: [about, unread, unsent].map(<[u8]>::len),
            account: passing.session().map(Session::told),
            counted: parcel.admission.is_some(),
        };
        let bytes = [about, unread, unsent, parcel.state.as_slice()];
        self.remote
            .pass(&passed, &bytes, passing.socket())
            .map(|()| Taken::Away)
    }
}

/// What the new process needs to take connections over.
pub struct Receiver {
    /// Its accounts.
    pub accounts: Arc<Accounts>,
    /// The accounts of the old process.
    pub before: Arc<AccountList>,
    /// Its services.
    pub services: HashMap<String, Lasting>,
}

impl Receiver {
    /// Takes connections over, in a thread of its own, until the old process is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(self, channel: Channel) -> io::Result<()> {
        let work = move || {
            let mut count = 0_u64;
            loop {
                let received = match channel.receive() {
                    Ok(received) => received,
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                    Err(error) => {
                        warn!("upgrade: a connection of the old process: {error}");
                        break;
                    }
                };
                let answer = self.take(&received);
                count += u64::from(answer == PASSED);
                if let Err(error) = channel.send(&answer, &[], &[]) {
                    warn!("upgrade: the old process: {error}");
                    break;
                }
            }
            debug!("upgrade: the old process is gone; {count} connections came from it");
        };
        std::thread::Builder::new()
            .name("upgrade".into())
            .spawn(work)
            .map(drop)
    }

    fn take(&self, received: &Received<Passed>) -> Answer {
        let Received {
            message: passed,
            bytes,
            files,
        } = received;
        let (Some(socket), Some(service)) = (files.first(), self.services.get(&passed.service))
        else {
            return NOT_PASSED_NOBODY;
        };
        let Some([about, unread, unsent, state]) = split(bytes, passed.parts) else {
            return NOT_PASSED_FAILED;
        };
        let session = match &passed.account {
            None => None,
            Some(told) => {
                let resumed =
                    Session::resume(&self.accounts, &self.before, &service.entrance, told);
                if resumed.is_none() {
                    return NOT_PASSED_FAILED;
                }
                resumed
            }
        };
        let peer = serde_json::from_slice::<About>(about);
        let peer = peer.ok().and_then(|about| about.peer).map(|peer| peer.ip());
        let listener = passed.listener.as_deref();
        let admission = passed
            .counted
            .then(|| service.counts.count_in(listener.unwrap_or_default(), peer));
        let parcel = Parcel {
            version: passed.version,
            listener: u32::MAX,
            descriptor: socket.as_fd().as_raw_fd(),
            about: RSlice::from(about),
            unread: unread.into(),
            unsent: unsent.into(),
            state: state.into(),
            account: ROption::RNone,
            admission: ROption::RNone,
        };
        let way: &Way = &service.way;
        arrive(way, (&passed.plugin, listener), parcel, session, admission)
    }
}

/// The parts of these lengths, and the rest.
fn split(bytes: &[u8], lengths: [usize; 3]) -> Option<[&[u8]; 4]> {
    let (one, rest) = bytes.split_at_checked(lengths[0])?;
    let (two, rest) = rest.split_at_checked(lengths[1])?;
    let (three, rest) = rest.split_at_checked(lengths[2])?;
    Some([one, two, three, rest])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_cut_as_they_were_put_together() {
        assert_eq!(
            split(b"aabcccd", [2, 1, 3]),
            Some([&b"aa"[..], b"b", b"ccc", b"d"])
        );
        assert_eq!(split(b"", [0, 0, 0]), Some([&b""[..], b"", b"", b""]));
        assert_eq!(split(b"aab", [2, 2, 0]), None);
        assert_eq!(split(b"aab", [usize::MAX, 2, 0]), None);
    }
}
