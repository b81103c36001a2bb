//! Bad logins at a rate, from as many addresses as wanted, at several services at once.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, sockopt};

use super::logins::{basic, mqtt_connect};
use crate::Outcome;

/// Threads that send, each for a part of the addresses.
const THREADS: u8 = 8;

/// How long an attempt waits for its answer; it counts as unanswered after.
const WAIT: Duration = Duration::from_secs(2);

/// Connections waiting at once, of all threads.
const MAX_OPEN: usize = 3000;

/// Who is attacked.
#[derive(Clone, Copy)]
pub struct Ports {
    pub http: u16,
    pub ftp: u16,
    pub mqtt: u16,
}

/// The attack.
#[derive(Clone, Copy)]
pub struct Flood {
    pub addresses: u8,
    /// Attempts a second, of all addresses together.
    pub rate: u32,
}

/// What became of the attempts.
#[derive(Default)]
pub struct Attempts {
    pub sent: AtomicU64,
    pub answered: AtomicU64,
    /// Connections that were refused or closed without an answer.
    pub closed: AtomicU64,
}

/// Connects from a chosen address of this machine.
pub fn connect_from(source: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None)?;
    // Many short connections would use up the ports.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    rustix::net::bind(&socket, &SocketAddrV4::new(source, 0))?;
    rustix::net::connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends until it is over.
pub fn start<'scope, 'env>(
    scope: &'scope thread::Scope<'scope, 'env>,
    flood: Flood,
    ports: Ports,
    attempts: &'env Attempts,
    over: &'env AtomicBool,
) -> Vec<ScopedJoinHandle<'scope, Outcome>> {
    let threads = (0..THREADS)
        .map(|number| scope.spawn(move || Sender::new(flood, ports, number).run(attempts, over)));
    threads.collect()
}

/// An attempt that waits for its answer.
struct Open {
    stream: TcpStream,
    since: Instant,
    greeted: bool,
}

struct Sender {
    flood: Flood,
    ports: Ports,
    number: u8,
    open: VecDeque<Open>,
}

impl Sender {
    fn new(flood: Flood, ports: Ports, number: u8) -> Self {
        Self {
            flood,
            ports,
            number,
            open: VecDeque::new(),
        }
    }

    fn run(mut self, attempts: &Attempts, over: &AtomicBool) -> Outcome {
        let pause = Duration::from_secs(u64::from(THREADS)) / self.flood.rate;
        let begin = Instant::now();
        let mut count = 0_u32;
        while !over.load(Ordering::Relaxed) {
            match self.attempt(count) {
                Ok(open) => self.open.push_back(open),
                // Refused at the door, or a queue that is full.
                Err(_) => drop(attempts.closed.fetch_add(1, Ordering::Relaxed)),
            }
            attempts.sent.fetch_add(1, Ordering::Relaxed);
            count = count.wrapping_add(1);
            self.collect(attempts);
            thread::sleep((begin + pause * count).saturating_duration_since(Instant::now()));
        }
        Ok(())
    }

    /// Half of the attempts are for a user that exists; no two have the same password.
    fn attempt(&self, count: u32) -> std::io::Result<Open> {
        let spread = u64::from(count) * u64::from(THREADS) + u64::from(self.number);
        let host = 1 + u8::try_from(spread % u64::from(self.flood.addresses)).unwrap_or(0);
        let source = Ipv4Addr::new(127, 0, 1, host);
        let user = if count.is_multiple_of(2) {
            "alice"
        } else {
            "nobody"
        };
        let password = format!("{spread} of the flood");
        let (port, request) = match count / 2 % 3 {
            0 => {
                let field = basic(user, &password);
                let request = format!(
                    "GET /a.txt HTTP/1.1\r\nHost: x\r\nAuthorization: {field}\r\nConnection: close\r\n\r\n"
                );
                (self.ports.http, request.into_bytes())
            }
            1 => {
                let request = format!("USER {user}\r\nPASS {password}\r\n");
                (self.ports.ftp, request.into_bytes())
            }
            _ => (self.ports.mqtt, mqtt_connect(user, &password)),
        };
        let mut stream = connect_from(source, port)?;
        stream.write_all(&request)?;
        stream.set_nonblocking(true)?;
        Ok(Open {
            stream,
            since: Instant::now(),
            // FTP says two things before it refuses.
            greeted: port != self.ports.ftp,
        })
    }

    fn collect(&mut self, attempts: &Attempts) {
        let mut buffer = [0; 2048];
        for _ in 0..self.open.len() {
            let Some(mut open) = self.open.pop_front() else {
                return;
            };
            match open.stream.read(&mut buffer) {
                Ok(0) => drop(attempts.closed.fetch_add(1, Ordering::Relaxed)),
                Ok(read) => {
                    let said = buffer.get(..read).unwrap_or_default();
                    let refused =
                        open.greeted || contains(said, b"530 ") || contains(said, b"421 ");
                    if refused {
                        attempts.answered.fetch_add(1, Ordering::Relaxed);
                    } else {
                        self.open.push_back(open);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let too_many = self.open.len() > MAX_OPEN / usize::from(THREADS);
                    if open.since.elapsed() < WAIT && !too_many {
                        self.open.push_back(open);
                    }
                }
                Err(_) => drop(attempts.closed.fetch_add(1, Ordering::Relaxed)),
            }
        }
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}
