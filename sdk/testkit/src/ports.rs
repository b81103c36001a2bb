//! Ports that no other test is using.
//!
//! A port is reserved by holding an abstract Unix socket named after it for as long as the process
//! lives, so that tests in several processes never pick the same one. They lie below Linux's range
//! for outgoing connections, so that no client's own port takes one in between.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

const FIRST: u16 = 14_000;
const COUNT: u32 = 18_000;

/// A TCP port free on both loopback addresses, reserved until this process ends.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of `count` successive free ports, as FTP's passive range needs.
pub(crate) fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    // Processes start at different places, which keeps the search short.
    let start = std::process::id().wrapping_mul(2_654_435_761) % COUNT;
    for _ in 0..COUNT {
        let offset = (start + NEXT.fetch_add(u32::from(count), Ordering::Relaxed)) % COUNT;
        let first = FIRST + u16::try_from(offset).expect("below 65536");
        let locks: Option<Vec<_>> = (first..first + count).map(reserve).collect();
        if let Some(locks) = locks {
            HELD.lock()
                .unwrap_or_else(|poison| poison.into_inner())
                .extend(locks);
            return first;
        }
    }
    panic!("no {count} free ports from {FIRST} on");
}

fn reserve(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("polyport-testkit-port-{port}")).ok()?;
    let lock = UnixListener::bind_addr(&name).ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()?;
    // A machine without IPv6 has nobody to clash with there.
    match TcpListener::bind((Ipv6Addr::LOCALHOST, port)) {
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => None,
        _ => Some(lock),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_never_given_twice() {
        let first = free_ports(3);
        for port in first..first + 3 {
            assert!(reserve(port).is_none(), "port {port} is reserved");
        }
        assert_ne!(free_port(), free_port());
    }
}
