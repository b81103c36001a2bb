//! Listening sockets that came from elsewhere: from the process before this one, or from the service manager.
//!
//! One that the configuration names is taken instead of being bound. Their files stay where they are until a commit:
//! before it, whoever gave them may still need them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use socket2::{SockRef, Type};
use tracing::info;

use super::{Bound, Key, Listeners, give, is_socket};
use crate::config::{Access, Address, Listen};
use crate::systemd;

/// What is told of a socket that is handed to the next process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    tcp: Option<std::net::SocketAddr>,
    unix: Option<PathBuf>,
    owner: Option<(String, usize)>,
    bound: String,
    mode: u32,
    user: Option<u32>,
    group: Option<u32>,
    foreign: bool,
}

/// Where a socket came from that is not in use yet.
#[derive(Debug)]
pub(super) struct Given {
    bound: Bound,
    /// Whether mode and owner of its file are as they should be.
    is_set: bool,
}

impl Listeners {
    /// Every socket, for the next process.
    pub fn hand_over(&self) -> (Vec<Told>, Vec<BorrowedFd<'_>>) {
        let told = |(key, bound): (&Key, &Bound)| {
            let (tcp, unix) = match &key.address {
                Address::Tcp(address) => (Some(*address), None),
                Address::Unix(path) => (None, Some(path.clone())),
            };
            Told {
                tcp,
                unix,
                owner: key.owner.clone(),
                bound: bound.address.clone(),
                mode: bound.access.mode,
                user: bound.access.owner.0,
                group: bound.access.owner.1,
                foreign: bound.foreign,
            }
        };
        let files = self.bound.values().map(|bound| bound.socket.as_fd());
        (self.bound.iter().map(told).collect(), files.collect())
    }

    /// Leaves the files of all Unix sockets to the process that listens there now.
    pub fn leave(&mut self) {
        self.bound
            .values_mut()
            .for_each(|bound| bound.unlink = false);
    }

    /// Leaves the files of those that the service manager keeps for the next process.
    pub fn leave_kept(&mut self) {
        for bound in self.bound.values_mut() {
            bound.unlink &= !self.kept.contains(&systemd::name_of(&bound.address));
        }
    }

    /// Takes what the process before handed over, to be used as it is configured.
    pub fn inherit(&mut self, told: Vec<Told>, files: Vec<OwnedFd>) {
        for (told, socket) in told.into_iter().zip(files) {
            let address = match (told.tcp, &told.unix) {
                (Some(address), _) => Address::Tcp(address),
                (None, Some(path)) => Address::Unix(path.clone()),
                (None, None) => continue,
            };
            if told.owner.is_none() && !told.foreign && systemd::room() > 0 {
                self.kept.insert(systemd::name_of(&told.bound));
            }
            let key = Key {
                address,
                owner: told.owner,
            };
            let bound = Bound {
                socket,
                address: told.bound,
                unix: told.unix,
                access: Access {
                    mode: told.mode,
                    owner: (told.user, told.group),
                },
                foreign: told.foreign,
                unlink: false,
            };
            self.give(
                key,
                Given {
                    bound,
                    is_set: true,
                },
            );
        }
    }

    /// Takes what the service manager gave, to be used as it is configured.
    pub fn take_given(&mut self, given: Vec<systemd::Given>) {
        for systemd::Given { socket, kept } in given {
            let Some(address) = address_of(&socket) else {
                info!("service manager: a socket that does not listen is closed");
                continue;
            };
            let foreign = kept.is_none();
            self.kept.extend(kept);
            let (shown, unix) = match &address {
                Address::Tcp(address) => (address.to_string(), None),
                Address::Unix(path) => (path.display().to_string(), Some(path.clone())),
            };
            let bound = Bound {
                socket,
                address: shown,
                unix,
                access: Access::default(),
                foreign,
                unlink: false,
            };
            let key = Key {
                address,
                owner: None,
            };
            self.give(
                key,
                Given {
                    bound,
                    is_set: foreign,
                },
            );
        }
    }

    fn give(&mut self, key: Key, given: Given) {
        self.given
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .insert(key, given);
    }

    /// The socket that was given for an entry, if it can still be reached.
    pub(super) fn take(&self, key: &Key, entry: &Listen) -> Option<Bound> {
        let mut given = self
            .given
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let Given { mut bound, is_set } = given.remove(key)?;
        if let Some(path) = &bound.unix {
            if !is_socket(path) {
                return None;
            }
            if !is_set {
                bound.access = entry.options.access;
                // As at a change of them, it is told by the log and holds nothing up.
                if let Err(error) = give(path, bound.access) {
                    tracing::warn!("listen {:?}: mode and owner: {error}", entry.text);
                }
            }
        }
        Some(bound)
    }

    /// Closes what was given and nobody uses; has the service manager keep what is open, and nothing else.
    pub fn settle(&mut self) {
        let given = self
            .given
            .get_mut()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        for (_, mut given) in given.drain() {
            info!("socket {}: not configured, closed", given.bound.address);
            given.bound.unlink = !given.bound.foreign;
        }
        let room = systemd::room();
        let open: BTreeMap<String, &Bound> = self
            .bound
            .iter()
            .filter(|(key, bound)| key.owner.is_none() && !bound.foreign)
            .map(|(_, bound)| (systemd::name_of(&bound.address), bound))
            .take(room)
            .collect();
        for name in self.kept.iter().filter(|name| !open.contains_key(*name)) {
            systemd::forget(name);
        }
        for (name, bound) in &open {
            if !self.kept.contains(name) {
                systemd::keep(name, bound.socket.as_fd());
            }
        }
        self.kept = open.into_keys().collect::<BTreeSet<_>>();
    }
}

/// What a socket listens on.
fn address_of(socket: &OwnedFd) -> Option<Address> {
    let socket = SockRef::from(socket);
    let listens = socket.r#type().ok()? == Type::STREAM && socket.is_listener().ok()?;
    let address = socket.local_addr().ok().filter(|_| listens)?;
    match address.as_pathname() {
        Some(path) => Some(Address::Unix(path.to_owned())),
        None => address.as_socket().map(Address::Tcp),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Fresh;
    use super::*;

    fn bound(listen: &[Listen]) -> Listeners {
        let mut listeners = Listeners::default();
        let mut fresh = Fresh::default();
        listeners.bind("x", listen, &mut fresh).unwrap();
        listeners.commit(fresh, 16);
        listeners
    }

    fn handed(from: &Listeners) -> Listeners {
        let (told, files) = from.hand_over();
        let files = files
            .into_iter()
            .map(|file| file.try_clone_to_owned().unwrap());
        let mut next = Listeners::default();
        next.inherit(told, files.collect());
        next
    }

    #[test]
    fn what_was_handed_over_is_used_and_its_file_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let entries = [
            Listen::parse("127.0.0.1:0", Path::new("/")).unwrap(),
            Listen::parse(&format!("unix:{}", path.display()), Path::new("/")).unwrap(),
        ];
        let mut old = bound(&entries);
        let addresses = old.addresses("x", &entries);
        let waiting = std::os::unix::net::UnixStream::connect(&path).unwrap();

        let failed = handed(&old);
        let mut fresh = Fresh::default();
        failed.bind("x", &entries, &mut fresh).unwrap();
        drop((failed, fresh));
        assert!(path.exists(), "an attempt that failed removed the file");

        let mut new = handed(&old);
        let mut fresh = Fresh::default();
        new.bind("x", &entries, &mut fresh).unwrap();
        old.leave();
        new.commit(fresh, 16);
        new.settle();
        drop(old);
        assert_eq!(new.addresses("x", &entries), addresses);
        std::net::TcpStream::connect(&addresses[0]).unwrap();
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop((new, waiting));
        assert!(!path.exists());
    }

    #[test]
    fn what_is_not_configured_any_more_is_closed_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let text = format!("unix:{}", path.display());
        let entries = [Listen::parse(&text, Path::new("/")).unwrap()];
        let mut old = bound(&entries);
        let mut new = handed(&old);
        old.leave();
        new.commit(Fresh::default(), 16);
        new.settle();
        assert!(!path.exists());
    }

    #[test]
    fn sockets_of_the_service_manager_are_found_by_their_address() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let given = |socket: OwnedFd| systemd::Given { socket, kept: None };
        let mut listeners = Listeners::default();
        let connected = std::net::TcpStream::connect(&address).unwrap();
        listeners.take_given(vec![given(connected.into()), given(socket.into())]);
        let entries = [Listen::parse(&address, Path::new("/")).unwrap()];
        let mut fresh = Fresh::default();
        // Bound a second time it would be in use.
        listeners.bind("x", &entries, &mut fresh).unwrap();
        listeners.commit(fresh, 16);
        assert_eq!(listeners.addresses("x", &entries), [address]);
    }
}
