//! The listening sockets: bound by the host, kept over every swap, lent to instances as duplicates.

mod given;
mod places;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use polyport_abi::listeners::Added;
use polyport_abi::plugin::StartListener;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tracing::warn;

use crate::config::{Access, Address, Listen};
use given::Given;
pub use given::Told;
pub use places::Places;

/// Connections that may wait at a socket until its change is committed.
const BACKLOG: i32 = 128;

/// What a kernel without IPv6 answers.
const EAFNOSUPPORT: i32 = 97;

/// Every socket the host listens on.
#[derive(Debug, Default)]
pub struct Listeners {
    bound: HashMap<Key, Bound>,
    /// Those that came from elsewhere, until a commit.
    given: Mutex<HashMap<Key, Given>>,
    /// The names under which the service manager keeps sockets.
    kept: BTreeSet<String>,
}

/// Which socket: an address, or for a port that the system chooses, the entry of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    address: Address,
    owner: Option<(String, usize)>,
}

#[derive(Debug)]
struct Bound {
    socket: OwnedFd,
    /// As bound, with the port that the system chose.
    address: String,
    unix: Option<PathBuf>,
    access: Access,
    /// Whether its file is somebody else's: of a unit of the service manager.
    foreign: bool,
    /// Whether the file goes with it.
    unlink: bool,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if let Some(path) = &self.unix
            && self.unlink
        {
            // The next bind removes a stale one as well.
            let _ = fs::remove_file(path);
        }
    }
}

/// Sockets bound for a change that has not been committed: dropping it closes them.
#[derive(Debug, Default)]
pub struct Fresh {
    bound: HashMap<Key, Bound>,
    /// What the machine cannot have and the service does without.
    spared: HashSet<Key>,
}

/// What an instance is given.
#[derive(Debug)]
pub struct Lent {
    /// The sockets.
    pub listeners: Vec<StartListener>,
    /// Which of the service's entries they are.
    pub places: Places,
}

impl Listeners {
    /// Binds those of a service's addresses that are not bound yet, into `fresh`.
    ///
    /// An IPv6 address that the machine cannot have is left out where its IPv4 twin is there too.
    ///
    /// # Errors
    /// The entry as the operator wrote it and what the system said.
    pub fn bind(&self, service: &str, listen: &[Listen], fresh: &mut Fresh) -> Result<(), String> {
        for (index, entry) in listen.iter().enumerate() {
            let key = key(service, index, entry);
            let known = self.bound.contains_key(&key)
                || fresh.bound.contains_key(&key)
                || fresh.spared.contains(&key);
            if !known {
                let given = self.take(&key, entry);
                match given.map_or_else(|| bind(entry), Ok) {
                    Ok(bound) => _ = fresh.bound.insert(key, bound),
                    Err(error) if is_spare(entry, listen, &error) => {
                        warn!(
                            "service {service}: {}; its IPv4 address serves",
                            explain(entry, &error)
                        );
                        fresh.spared.insert(key);
                    }
                    Err(error) => return Err(explain(entry, &error)),
                }
            }
        }
        Ok(())
    }

    /// Keeps what was bound for a change; at every socket `backlog` connections may wait from now on.
    pub fn commit(&mut self, fresh: Fresh, backlog: u16) {
        self.bound.extend(fresh.bound);
        for bound in self.bound.values_mut() {
            bound.unlink = !bound.foreign;
            if let Err(error) = SockRef::from(&bound.socket).listen(backlog.into()) {
                warn!("{}: backlog {backlog}: {error}", bound.address);
            }
        }
    }

    /// Gives Unix sockets that are open the mode and owner that their entries have now.
    pub fn set_access(&mut self, service: &str, listen: &[Listen]) {
        for (index, entry) in listen.iter().enumerate() {
            let Some(bound) = self.bound.get_mut(&key(service, index, entry)) else {
                continue;
            };
            let access = entry.options.access;
            if let Some(path) = &bound.unix
                && bound.access != access
            {
                if !bound.foreign
                    && let Err(error) = give(path, access)
                {
                    warn!(
                        "service {service}: listen {:?}: mode and owner: {error}",
                        entry.text
                    );
                }
                bound.access = access;
            }
        }
    }

    /// Closes every socket that none of `services` names.
    pub fn keep_only<'a>(&mut self, services: impl Iterator<Item = (&'a str, &'a [Listen])>) {
        let wanted: HashSet<Key> = services
            .flat_map(|(service, listen)| {
                listen
                    .iter()
                    .enumerate()
                    .map(move |(index, entry)| key(service, index, entry))
            })
            .collect();
        self.bound.retain(|key, _| wanted.contains(key));
    }

    /// Duplicates of a service's sockets for an instance, which will own them.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn lend(&self, service: &str, listen: &[Listen], fresh: &Fresh) -> Result<Lent, String> {
        let mut places = Places::default();
        let added = self.lend_more(service, listen, &mut places, fresh)?;
        Ok(Lent {
            listeners: added.into_iter().map(|added| added.listener).collect(),
            places,
        })
    }

    /// The same of those that have no place yet, and gives them one.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn lend_more(
        &self,
        service: &str,
        listen: &[Listen],
        places: &mut Places,
        fresh: &Fresh,
    ) -> Result<Vec<Added>, String> {
        let mut lent = Vec::new();
        let mut owned = Vec::new();
        for (index, entry) in listen.iter().enumerate() {
            if places.has(index, entry) {
                continue;
            }
            let key = key(service, index, entry);
            let bound = fresh.bound.get(&key).or_else(|| self.bound.get(&key));
            let Some(bound) = bound else { continue }; // a spare one
            let fd = bound
                .socket
                .try_clone()
                .map_err(|error| format!("listen {:?}: {error}", entry.text))?;
            let listener = StartListener {
                scheme: entry.scheme.clone(),
                address: bound.address.clone(),
                unix: bound.unix.is_some(),
                fd: fd.as_raw_fd(),
            };
            let place = places.add(index, entry);
            lent.push(Added { place, listener });
            owned.push(fd);
        }
        // From here on the numbers in `lent` own the descriptors.
        for fd in owned {
            let _ = fd.into_raw_fd();
        }
        Ok(lent)
    }

    /// The addresses that a service's entries are bound to, with their schemes.
    pub fn addresses(&self, service: &str, listen: &[Listen]) -> Vec<String> {
        listen
            .iter()
            .enumerate()
            .filter_map(|(index, entry)| {
                let bound = self.bound.get(&key(service, index, entry))?;
                Some(match entry.scheme.as_str() {
                    "tcp" | "unix" => bound.address.clone(),
                    scheme => format!("{scheme}://{}", bound.address),
                })
            })
            .collect()
    }
}

fn key(service: &str, index: usize, entry: &Listen) -> Key {
    let chosen = matches!(&entry.address, Address::Tcp(address) if address.port() == 0);
    Key {
        address: entry.address.clone(),
        owner: chosen.then(|| (service.to_owned(), index)),
    }
}

fn bind(entry: &Listen) -> io::Result<Bound> {
    match &entry.address {
        Address::Tcp(address) => bind_tcp(*address),
        Address::Unix(path) => bind_unix(path, entry.options.access),
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Or [::] would take the port of 0.0.0.0 as well.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    let bound = socket
        .local_addr()?
        .as_socket()
        .map_or_else(|| address.to_string(), |address| address.to_string());
    Ok(Bound {
        socket: socket.into(),
        address: bound,
        unix: None,
        access: Access::default(),
        foreign: false,
        unlink: false,
    })
}

fn bind_unix(path: &Path, access: Access) -> io::Result<Bound> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let stale = is_socket(path) && std::os::unix::net::UnixStream::connect(path).is_err();
    if stale {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let bound = Bound {
        socket: socket.into(),
        address: path.display().to_string(),
        unix: Some(path.to_owned()),
        access,
        foreign: false,
        unlink: true,
    };
    // Nobody can connect before it listens.
    give(path, access)?;
    SockRef::from(&bound.socket).listen(BACKLOG)?;
    Ok(bound)
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
}

/// Owner first: to be given away takes bits from the mode.
fn give(path: &Path, access: Access) -> io::Result<()> {
    let (user, group) = access.owner;
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(access.mode))
}

/// Whether a service can do without this address: the IPv6 loopback or wildcard, next to the same of
/// IPv4, on a machine without IPv6. The shipped configuration names both and must run there too.
fn is_spare(entry: &Listen, listen: &[Listen], error: &io::Error) -> bool {
    let Address::Tcp(SocketAddr::V6(address)) = &entry.address else {
        return false;
    };
    let without_ipv6 = error.kind() == io::ErrorKind::AddrNotAvailable
        || error.raw_os_error() == Some(EAFNOSUPPORT);
    let is_twin = |other: &Listen| match &other.address {
        Address::Tcp(SocketAddr::V4(other_address)) => {
            other.scheme == entry.scheme
                && other_address.port() == address.port()
                && other_address.ip().is_loopback() == address.ip().is_loopback()
                && other_address.ip().is_unspecified() == address.ip().is_unspecified()
        }
        _ => false,
    };
    let everywhere = address.ip().is_loopback() || address.ip().is_unspecified();
    without_ipv6 && everywhere && listen.iter().any(is_twin)
}

fn explain(entry: &Listen, error: &io::Error) -> String {
    let text = &entry.text;
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "listen {text:?}: expected a free address, got one that is in use by another process"
        ),
        io::ErrorKind::AddrNotAvailable => format!(
            "listen {text:?}: expected an address of this machine, got one it does not have"
        ),
        io::ErrorKind::PermissionDenied if entry.options.access.owner != (None, None) => {
            format!("listen {text:?}: permission denied; to give it to its owner needs root")
        }
        io::ErrorKind::PermissionDenied => format!(
            "listen {text:?}: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE"
        ),
        _ => format!("listen {text:?}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Listen {
        Listen::parse(text, Path::new("/")).unwrap()
    }

    #[test]
    fn an_address_in_use_is_one_clear_line() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let entry = listen(&taken.local_addr().unwrap().to_string());
        let error = Listeners::default()
            .bind("x", &[entry], &mut Fresh::default())
            .unwrap_err();
        assert!(error.contains("in use by another process"), "{error}");
    }

    #[test]
    fn an_ipv6_half_is_spared_where_there_is_no_ipv6() {
        let list = [
            "127.0.0.1:80",
            "[::1]:80",
            "[::]:80",
            "[2001:db8::1]:80",
            "ws://[::1]:80",
        ]
        .map(listen);
        let spared = |error: &io::Error| {
            list.iter()
                .map(|entry| is_spare(entry, &list, error))
                .collect::<Vec<_>>()
        };
        for error in [
            io::ErrorKind::AddrNotAvailable.into(),
            io::Error::from_raw_os_error(EAFNOSUPPORT),
        ] {
            assert_eq!(
                spared(&error),
                [false, true, false, false, false],
                "{error}"
            );
        }
        assert_eq!(spared(&io::ErrorKind::AddrInUse.into()), [false; 5]);
    }

    #[test]
    fn lent_sockets_accept_and_unused_ones_close() {
        let entries = [listen("127.0.0.1:0"), listen("[::1]:0")];
        let mut listeners = Listeners::default();
        let mut fresh = Fresh::default();
        listeners.bind("x", &entries, &mut fresh).unwrap();
        listeners.commit(fresh, 128);
        let addresses = listeners.addresses("x", &entries);
        assert_eq!(addresses.len(), 2);
        assert!(std::net::TcpStream::connect(&addresses[0]).is_ok());
        listeners.keep_only(std::iter::empty());
        assert!(std::net::TcpStream::connect(&addresses[0]).is_err());
    }

    #[test]
    fn the_backlog_of_open_sockets_can_be_changed() {
        let entries = [listen("127.0.0.1:0")];
        let mut listeners = Listeners::default();
        let mut fresh = Fresh::default();
        listeners.bind("x", &entries, &mut fresh).unwrap();
        listeners.commit(fresh, 1);
        let address = listeners.addresses("x", &entries)[0].parse().unwrap();
        let connect = || {
            std::net::TcpStream::connect_timeout(&address, std::time::Duration::from_millis(500))
        };
        // Linux lets one more wait than it was told.
        let mut waiting = vec![connect().unwrap(), connect().unwrap()];
        assert!(connect().is_err(), "a third had to wait outside");
        listeners.commit(Fresh::default(), 16);
        waiting.extend((0..8).map(|_| connect().unwrap()));
    }

    #[test]
    fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let bound = bind_unix(&path, Access::default()).unwrap();
        assert_eq!(
            bind_unix(&path, Access::default()).unwrap_err().kind(),
            io::ErrorKind::AddrInUse
        );
        drop(bound);
        assert!(!path.exists());
    }
}
