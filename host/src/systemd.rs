//! The service manager, where one started this process: what it is told, the sockets that it gave, and those that it
//! keeps for the process after this one (`FileDescriptorStoreMax=`).
//!
//! The protocol is systemd's, sd_notify(3) and sd_listen_fds(3). Without its variables nothing here does anything.

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use sd_notify::NotifyState;
use tracing::warn;

use crate::upgrade::wire;

/// What the names of the sockets begin with that are kept for us; those of a `.socket` unit have other names.
const KEPT: &str = "listen=";

/// A socket that the service manager gave.
#[derive(Debug)]
pub struct Given {
    /// The socket.
    pub socket: OwnedFd,
    /// Under which name it was kept for us; none for one of a `.socket` unit.
    pub kept: Option<String>,
}

/// Tells the service manager.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("service manager: {error}");
    }
}

/// Tells it that a change begins, which ends with [`NotifyState::Ready`].
pub fn notify_reloading() {
    // Without the time, which the protocol demands of a reloading service, there is nothing to say.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// The sockets that it gave to this process. To be called once.
pub fn given() -> Vec<Given> {
    let given = match sd_notify::listen_fds_with_names() {
        Ok(given) => given,
        Err(error) => {
            warn!("service manager: its sockets: {error}");
            return Vec::new();
        }
    };
    given
        .map(|(number, name)| Given {
            // SAFETY: the service manager opened it for this process, and nothing else here takes it.
            socket: unsafe { OwnedFd::from_raw_fd(number) },
            kept: name.starts_with(KEPT).then_some(name),
        })
        .collect()
}

/// How many sockets it keeps for the process after this one.
pub fn room() -> usize {
    let told = |name| std::env::var(name).ok();
    match (told("NOTIFY_SOCKET"), told("FDSTORE")) {
        (Some(_), Some(room)) => room.parse().unwrap_or(0),
        _ => 0,
    }
}

/// The name under which the socket of an address is kept: a colon would end it.
pub fn name_of(address: &str) -> String {
    let printable = |c: char| {
        if c.is_ascii_graphic() && c != ':' {
            c
        } else {
            '_'
        }
    };
    KEPT.chars()
        .chain(address.chars().map(printable))
        .take(255)
        .collect()
}

/// Has it keep a socket.
pub fn keep(name: &str, socket: BorrowedFd<'_>) {
    if let Err(error) = send(&format!("FDSTORE=1\nFDNAME={name}\n"), socket) {
        warn!("service manager: {name} is not kept: {error}");
    }
}

/// Has it close a socket that it keeps.
pub fn forget(name: &str) {
    notify(&[NotifyState::Custom(&format!(
        "FDSTOREREMOVE=1\nFDNAME={name}"
    ))]);
}

fn send(text: &str, file: BorrowedFd<'_>) -> io::Result<()> {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let address = match path.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&path)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    wire::send_with(&socket, text.as_bytes(), &[file]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_such_as_the_service_manager_takes() {
        assert_eq!(name_of("127.0.0.1:1883"), "listen=127.0.0.1_1883");
        assert_eq!(name_of("[::1]:80"), "listen=[__1]_80");
        assert_eq!(name_of("/run/a b.sock"), "listen=/run/a_b.sock");
        assert_eq!(name_of(&"x".repeat(300)).len(), 255);
    }
}
