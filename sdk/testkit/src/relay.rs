//! A network that breaks: passes connections on and cuts them where the test says.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Listens on a port of its own and passes each connection on to one address.
///
/// It ends with the test's process.
pub struct Relay {
    addr: SocketAddr,
    passed: Arc<Mutex<Vec<Arc<AtomicU64>>>>,
}

impl Relay {
    /// Passes on to `to`. The n-th connection is cut when the n-th of `cuts` bytes have gone through it, both
    /// ways together; later ones are not cut.
    #[track_caller]
    pub fn new(to: SocketAddr, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0");
        let listener = listener.unwrap_or_else(|e| panic!("no port for a relay: {e}"));
        let addr = listener
            .local_addr()
            .expect("a listening socket has an address");
        let passed: Arc<Mutex<Vec<Arc<AtomicU64>>>> = Arc::default();
        let (seen, cuts) = (Arc::clone(&passed), cuts.to_vec());
        let mut cuts = cuts.into_iter();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let count = Arc::new(AtomicU64::new(0));
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Arc::clone(&count));
                let limit = cuts.next().unwrap_or(u64::MAX);
                // A server that is not there closes the client's connection.
                if let Ok(server) = TcpStream::connect(to) {
                    for (from, into) in [(&client, &server), (&server, &client)] {
                        let (Ok(from), Ok(into)) = (from.try_clone(), into.try_clone()) else {
                            continue;
                        };
                        let count = Arc::clone(&count);
                        std::thread::spawn(move || pass(from, into, &count, limit));
                    }
                }
            }
        });
        Self { addr, passed }
    }

    /// Where to connect to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Bytes that went through each connection so far.
    pub fn passed(&self) -> Vec<u64> {
        let passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        passed
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect()
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream, count: &AtomicU64, limit: u64) {
    let mut block = vec![0; 16 * 1024];
    loop {
        let Ok(read @ 1..) = from.read(&mut block) else {
            // The other direction goes on.
            let _ = into.shutdown(Shutdown::Write);
            return;
        };
        let before = count.fetch_add(read as u64, Ordering::Relaxed);
        let fits = limit.saturating_sub(before).min(read as u64) as usize;
        if into.write_all(&block[..fits]).is_err() || fits < read {
            let _ = from.shutdown(Shutdown::Both);
            let _ = into.shutdown(Shutdown::Both);
            return;
        }
    }
}
