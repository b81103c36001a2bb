//! The bounded queue between whoever logs and the one thread that writes.
//!
//! Nobody who logs ever waits for a disk or a terminal: what does not fit is dropped and counted,
//! and the count is logged when there is room again. The last part of the queue is the host's own,
//! so that a talkative plugin cannot hide the host's errors.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tracing::Level;

use super::record::{Record, one_line};
use crate::config::{AccessLog, LogConfig, LogFormat};

/// The most entries that wait to be written.
const CAPACITY: usize = 16 * 1024;

/// The part of it that only the host's own records may use.
const RESERVED: usize = 1024;

/// Something to write.
#[derive(Debug)]
pub enum Entry {
    /// To the log.
    Record(Record),
    /// To the access log, as it is.
    Access(String),
}

/// Where the two logs go.
pub struct Outputs {
    log: Box<dyn Write + Send>,
    access: Option<Box<dyn Write + Send>>,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Human { colour: bool },
    Json,
}

impl Outputs {
    /// Opens what `config` names.
    pub fn open(config: &LogConfig) -> io::Result<Self> {
        let log: Box<dyn Write + Send> = match &config.file {
            None => Box::new(io::stderr()),
            Some(path) => Box::new(append(path)?),
        };
        let access: Option<Box<dyn Write + Send>> = match &config.access {
            AccessLog::Off => None,
            AccessLog::Stdout => Some(Box::new(io::stdout())),
            AccessLog::File(path) => Some(Box::new(append(path)?)),
        };
        let colour = config.file.is_none()
            && io::stderr().is_terminal()
            && std::env::var_os("NO_COLOR").is_none();
        let form = match config.format {
            LogFormat::Auto => Form::Human { colour },
            LogFormat::Human => Form::Human { colour: false },
            LogFormat::Json => Form::Json,
        };
        Ok(Self { log, access, form })
    }

    fn write(&mut self, batch: VecDeque<Entry>) -> io::Result<()> {
        let (mut log, mut access) = (Vec::new(), Vec::new());
        for entry in batch {
            let (buffer, line) = match (entry, self.form) {
                (Entry::Record(record), Form::Human { colour }) => (&mut log, record.human(colour)),
                (Entry::Record(record), Form::Json) => (&mut log, record.json()),
                (Entry::Access(line), _) => (&mut access, one_line(&line)),
            };
            buffer.extend_from_slice(line.as_bytes());
            buffer.push(b'\n');
        }
        // Both are tried, so that a full disk beneath one of them does not silence the other.
        let first = self.log.write_all(&log).and_then(|()| self.log.flush());
        let second = match &mut self.access {
            Some(out) if !access.is_empty() => out.write_all(&access).and_then(|()| out.flush()),
            _ => Ok(()),
        };
        first.and(second)
    }
}

/// How long entries gather before they are written, when none was before.
const GATHER: Duration = Duration::from_millis(5);

/// The queue; cheap to clone.
#[derive(Clone)]
pub struct Queue {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    filled: Condvar,
    written: Condvar,
    outputs: Mutex<Outputs>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Entry>,
    writing: bool,
    /// Dropped since the start.
    dropped: u64,
    /// Dropped since it was last said.
    untold: u64,
}

impl Queue {
    /// Starts the writing thread, which lives as long as the process.
    pub fn start(outputs: Outputs) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            filled: Condvar::new(),
            written: Condvar::new(),
            outputs: Mutex::new(outputs),
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self { shared })
    }

    /// Queues a record of the host, or drops it if there is no room at all.
    pub fn push_host(&self, entry: Entry) {
        self.push(entry, CAPACITY);
    }

    /// Queues what a plugin logs, or drops and counts it.
    pub fn push_plugin(&self, entry: Entry) {
        self.push(entry, CAPACITY - RESERVED);
    }

    fn push(&self, entry: Entry, limit: usize) {
        let mut state = lock(&self.shared.state);
        if state.waiting.len() >= limit {
            state.untold += 1;
            state.dropped += 1;
            return;
        }
        state.waiting.push_back(entry);
        let first = state.waiting.len() == 1;
        drop(state);
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// The number of entries dropped since the start.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.state).dropped
    }

    /// Writes to `outputs` from now on; what was queued before may go to either.
    pub fn redirect(&self, outputs: Outputs) {
        *lock(&self.shared.outputs) = outputs;
    }

    /// Waits until everything queued so far is written, at most `patience`.
    pub fn flush(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = lock(&self.shared.state);
        while state.writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self
                .shared
                .written
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Shared {
    fn run(&self) {
        let mut told = false;
        loop {
            let batch = self.next_batch();
            match lock(&self.outputs).write(batch) {
                Ok(()) => told = false,
                Err(error) if !told => {
                    told = true;
                    _ = writeln!(io::stderr(), "polyport: cannot write the log: {error}");
                }
                Err(_) => {}
            }
            lock(&self.state).writing = false;
            self.written.notify_all();
        }
    }

    /// Waits for entries; a record about dropped ones, if any, comes last.
    fn next_batch(&self) -> VecDeque<Entry> {
        let mut state = lock(&self.state);
        if state.waiting.is_empty() {
            while state.waiting.is_empty() {
                state = self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            // Waking for each line of a busy access log would cost more than writing it.
            drop(state);
            thread::sleep(GATHER);
            state = lock(&self.state);
        }
        state.writing = true;
        let mut batch = std::mem::take(&mut state.waiting);
        let dropped = std::mem::take(&mut state.untold);
        if dropped > 0 {
            batch.push_back(Entry::Record(Record {
                time: SystemTime::now(),
                level: Level::WARN,
                service: None,
                target: module_path!().to_owned(),
                message:
                    "log records were dropped because the log could not be written fast enough"
                        .to_owned(),
                fields: vec![("count".to_owned(), dropped.into())],
            }));
        }
        batch
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("cannot open the log {}: {error}", path.display()),
            )
        })
}

/// The state holds no invariant that a panic could break half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Passes on what is written; waits for the gate's permission before each write, if there is one.
    struct Probe {
        sink: Sender<String>,
        gate: Option<Receiver<()>>,
    }

    impl Write for Probe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = &self.gate {
                gate.recv().map_err(io::Error::other)?;
            }
            self.sink
                .send(String::from_utf8_lossy(bytes).into_owned())
                .map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outputs(gate: Option<Receiver<()>>) -> (Outputs, Receiver<String>, Receiver<String>) {
        let (log, log_lines) = channel();
        let (access, access_lines) = channel();
        let outputs = Outputs {
            log: Box::new(Probe { sink: log, gate }),
            access: Some(Box::new(Probe {
                sink: access,
                gate: None,
            })),
            form: Form::Human { colour: false },
        };
        (outputs, log_lines, access_lines)
    }

    fn record(message: &str) -> Entry {
        Entry::Record(Record {
            time: SystemTime::UNIX_EPOCH,
            level: Level::INFO,
            service: Some("mqtt".to_owned()),
            target: "t".to_owned(),
            message: message.to_owned(),
            fields: Vec::new(),
        })
    }

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn records_and_access_lines_go_their_ways() {
        let (outputs, log, access) = outputs(None);
        let queue = Queue::start(outputs).unwrap();
        queue.push_plugin(record("hello"));
        queue.push_plugin(Entry::Access("::1 - \"GET /\" 200\nforged".to_owned()));
        assert_eq!(
            log.recv_timeout(PATIENCE).unwrap(),
            "1970-01-01T00:00:00.000Z INFO  mqtt: hello\n"
        );
        assert_eq!(
            access.recv_timeout(PATIENCE).unwrap(),
            "::1 - \"GET /\" 200\\nforged\n"
        );
        queue.flush(PATIENCE);
        assert_eq!(queue.dropped(), 0);
    }

    #[test]
    fn a_stuck_log_drops_counts_and_keeps_room_for_the_host() {
        let (open, gate) = channel();
        let (outputs, log, _access) = outputs(Some(gate));
        let queue = Queue::start(outputs).unwrap();
        for _ in 0..3 * CAPACITY {
            queue.push_plugin(record("flood")); // returns although nothing can be written
        }
        let dropped = queue.dropped();
        assert!(dropped >= (CAPACITY + RESERVED) as u64, "{dropped}");
        queue.push_host(record("the host's own"));
        assert_eq!(queue.dropped(), dropped);
        for _ in 0..3 {
            _ = open.send(()); // at most three batches: before, during and after the flood
        }
        // The writer may have taken a first batch while the flood went on, so the count may come in parts.
        let (mut told, mut host) = (0, false);
        while told < dropped || !host {
            let written = log.recv_timeout(PATIENCE).unwrap();
            host |= written.contains("the host's own");
            let counts = written
                .lines()
                .filter_map(|line| line.split_once(" count="));
            told += counts
                .map(|(_, count)| count.parse::<u64>().unwrap())
                .sum::<u64>();
        }
        assert_eq!(told, dropped);
    }

    #[test]
    fn redirecting_writes_elsewhere() {
        let (first, _log, _access) = outputs(None);
        let queue = Queue::start(first).unwrap();
        let (second, log, _access) = outputs(None);
        queue.redirect(second);
        queue.push_host(record("after"));
        assert!(log.recv_timeout(PATIENCE).unwrap().ends_with("after\n"));
    }
}
