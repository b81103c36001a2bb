//! The bounded pool on which passwords are checked.
//!
//! A check costs tens of milliseconds and megabytes of memory, so there are few threads, a limit
//! to what may wait, a lower one for each source, and the sources take turns. Who had nothing
//! waiting goes before those who wait for more than one check, and takes the room of whoever waits
//! for most: a flood, also from many addresses, keeps nobody else waiting for longer than a check
//! or two.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The most checks that wait, of all sources.
const MAX_WAITING: usize = 4096;

/// The most checks of one source that wait.
const MAX_WAITING_OF_SOURCE: usize = 256;

/// How many checks of newcomers come before one of a source that waits for more.
const NEWCOMERS_IN_A_ROW: u8 = 4;

/// The most threads that check.
const MAX_THREADS: usize = 4;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// An IPv4 address, or the 64 leading bits of an IPv6 address: what one customer gets.
    Network(IpAddr),
    /// Unix sockets.
    Local,
}

/// Something to be done by a thread of the pool.
pub trait Job: Send + 'static {
    /// Does it.
    fn run(self);
}

/// The pool; its threads end when it is dropped.
pub struct Pool<J: Job> {
    shared: Arc<Shared<J>>,
}

struct Shared<J> {
    queue: Mutex<Queue<J>>,
    filled: Condvar,
}

struct Queue<J> {
    waiting: HashMap<Source, VecDeque<J>>,
    /// Sources of which nothing was checked since they had nothing waiting.
    newcomers: VecDeque<Source>,
    /// The other sources.
    turns: VecDeque<Source>,
    newcomers_in_a_row: u8,
    count: usize,
    closed: bool,
}

impl Source {
    /// The source of a peer; one without an address came by a Unix socket.
    pub fn of(peer: Option<IpAddr>) -> Self {
        match peer.map(|address| address.to_canonical()) {
            None => Self::Local,
            Some(IpAddr::V6(address)) => {
                let network = address.to_bits() & !u128::from(u64::MAX);
                Self::Network(IpAddr::V6(network.into()))
            }
            Some(address) => Self::Network(address),
        }
    }
}

impl<J: Job> Pool<J> {
    /// Starts the threads: half of the machine's, from 1 to 4.
    pub fn start() -> io::Result<Self> {
        let threads = thread::available_parallelism()
            .map_or(1, |count| count.get() / 2)
            .clamp(1, MAX_THREADS);
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new()),
            filled: Condvar::new(),
        });
        let pool = Self { shared };
        for number in 0..threads {
            let shared = Arc::clone(&pool.shared);
            thread::Builder::new()
                .name(format!("password-{number}"))
                .spawn(move || shared.run())?;
        }
        Ok(pool)
    }

    /// Queues `job` in the name of `source`; gives the job that there is no room for: this one, or
    /// the newest of the source that waits for most.
    pub fn submit(&self, source: Source, job: J) -> Option<J> {
        let left = self.shared.lock().push(source, job);
        self.shared.filled.notify_one();
        left
    }
}

impl<J: Job> Drop for Pool<J> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.filled.notify_all();
    }
}

impl<J: Job> Shared<J> {
    fn lock(&self) -> MutexGuard<'_, Queue<J>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some(job) = self.next() {
            // A job answers somebody in another module; its panic must not end the thread.
            if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
                tracing::error!("a password check panicked");
            }
        }
    }

    fn next(&self) -> Option<J> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.pop() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self
                .filled
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<J> Queue<J> {
    fn new() -> Self {
        Self {
            waiting: HashMap::new(),
            newcomers: VecDeque::new(),
            turns: VecDeque::new(),
            newcomers_in_a_row: 0,
            count: 0,
            closed: false,
        }
    }

    /// Gives the job that has no room.
    fn push(&mut self, source: Source, job: J) -> Option<J> {
        let of_source = self.waiting.get(&source).map_or(0, VecDeque::len);
        if of_source >= MAX_WAITING_OF_SOURCE {
            return Some(job);
        }
        let mut left = None;
        if self.count >= MAX_WAITING {
            let longest = self.waiting.values_mut().max_by_key(|jobs| jobs.len());
            // One is left to it, and nobody gives room to who waits for as much.
            let Some(longest) = longest.filter(|jobs| jobs.len() > of_source + 1) else {
                return Some(job);
            };
            left = longest.pop_back();
            self.count -= 1;
        }
        if of_source == 0 {
            self.newcomers.push_back(source);
        }
        self.waiting.entry(source).or_default().push_back(job);
        self.count += 1;
        left
    }

    /// The oldest job of the source whose turn it is.
    fn pop(&mut self) -> Option<J> {
        let is_due = self.newcomers_in_a_row >= NEWCOMERS_IN_A_ROW && !self.turns.is_empty();
        let newcomer = match is_due {
            true => None,
            false => self.newcomers.pop_front(),
        };
        self.newcomers_in_a_row = match newcomer {
            Some(_) => self.newcomers_in_a_row.saturating_add(1),
            None => 0,
        };
        let source = newcomer.or_else(|| self.turns.pop_front())?;
        let jobs = self.waiting.get_mut(&source)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.waiting.remove(&source);
        } else {
            self.turns.push_back(source);
        }
        self.count -= usize::from(job.is_some());
        job
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    fn source(text: &str) -> Source {
        Source::of(Some(text.parse().unwrap()))
    }

    #[test]
    fn one_customer_is_one_source() {
        assert_eq!(source("2001:db8:0:1::1"), source("2001:db8:0:1:ffff::2"));
        assert_ne!(source("2001:db8:0:1::1"), source("2001:db8:0:2::1"));
        assert_eq!(source("::ffff:10.0.0.1"), source("10.0.0.1"));
        assert_ne!(source("10.0.0.1"), source("10.0.0.2"));
        assert_eq!(Source::of(None), Source::Local);
    }

    #[test]
    fn sources_take_turns_and_have_their_limits() {
        let mut queue = Queue::new();
        for _ in 0..MAX_WAITING_OF_SOURCE {
            assert_eq!(queue.push(source("10.0.0.1"), "flood"), None);
        }
        let left = queue.push(source("10.0.0.1"), "too much");
        assert_eq!(left, Some("too much"));
        assert_eq!(queue.push(source("10.0.0.2"), "other"), None);
        assert_eq!(queue.push(Source::Local, "local"), None);
        let order: Vec<&str> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order[..4], ["flood", "other", "local", "flood"]);
        assert_eq!(order.len(), MAX_WAITING_OF_SOURCE + 2);
        assert_eq!(
            (queue.count, queue.waiting.len(), queue.turns.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn newcomers_go_first_but_not_for_ever() {
        let of = |number: u32| Source::of(Some(std::net::Ipv4Addr::from(number).into()));
        let mut queue = Queue::new();
        for number in 0..128 {
            queue.push(of(number % 64), "flood");
        }
        // One of each has been checked when somebody else comes.
        for _ in 0..80 {
            assert_eq!(queue.pop(), Some("flood"));
        }
        assert!(queue.newcomers.is_empty() && queue.turns.len() > 40);
        assert_eq!(queue.push(Source::Local, "newcomer"), None);
        assert_eq!(queue.pop(), Some("newcomer"));

        // As many newcomers as there may be do not keep the others out.
        let mut queue = Queue::new();
        queue.push(source("10.0.0.1"), "waits");
        queue.push(source("10.0.0.1"), "waits");
        assert_eq!(queue.pop(), Some("waits"));
        for number in 0..64 {
            queue.push(of(number), "newcomer");
        }
        let place = std::iter::from_fn(|| queue.pop()).position(|job| job == "waits");
        assert!(
            place.unwrap() <= usize::from(NEWCOMERS_IN_A_ROW),
            "{place:?}"
        );
    }

    #[test]
    fn all_sources_together_have_a_limit_but_nobody_is_kept_out_by_who_waits_for_more() {
        let of = |number: usize| Source::of(Some(std::net::Ipv4Addr::from(number as u32).into()));
        let mut queue = Queue::new();
        for number in 0..MAX_WAITING {
            assert_eq!(queue.push(of(number % 64), "flood"), None);
        }
        assert_eq!(queue.push(of(1), "flood again"), Some("flood again"));
        assert_eq!(queue.push(of(64), "newcomer"), Some("flood"));
        assert_eq!(queue.count, MAX_WAITING);
        let mut queue = Queue::new();
        let full = (0..=MAX_WAITING).position(|number| queue.push(of(number), ()).is_some());
        assert_eq!(full, Some(MAX_WAITING), "each waits for one");
    }

    struct Run(Box<dyn FnOnce() + Send>);

    impl Job for Run {
        fn run(self) {
            (self.0)();
        }
    }

    #[test]
    fn a_panicking_job_does_not_end_the_pool() {
        let pool = Pool::start().unwrap();
        for _ in 0..MAX_THREADS {
            let panic = Run(Box::new(|| std::panic::resume_unwind(Box::new(()))));
            assert!(pool.submit(Source::Local, panic).is_none());
        }
        let (sender, receiver) = channel();
        assert!(
            pool.submit(
                Source::Local,
                Run(Box::new(move || sender.send(7).unwrap()))
            )
            .is_none()
        );
        assert_eq!(receiver.recv_timeout(Duration::from_secs(20)), Ok(7));
    }
}
