//! The thread that writes: group commit, flushing by the durability setting, compaction when the
//! log has grown.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use polyport_mqtt_core::store::{Journal, Sequence};
use tracing::{error, info};

use super::Settings;
use super::files::{Bequest, Files};
use crate::config::Durability;
use crate::outbound::Outbound;

/// Time between two tries after an error of the disk.
const RETRY: Duration = Duration::from_secs(1);

/// The appending side and the thread's side of the store.
#[derive(Debug)]
pub(super) struct Writer {
    pending: Mutex<Pending>,
    changed: Condvar,
    /// Notified when [`Writer::settle`] may have its answer.
    settled: Condvar,
    /// Whether a compaction under way is given up.
    given_up: AtomicBool,
    committed: AtomicU64,
    durability: Durability,
    thread: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    /// The sequence of the last append.
    sequence: Sequence,
    /// Something waits for these records.
    awaited: bool,
    waiters: Vec<Arc<Outbound>>,
    /// How a compaction ended: the size of its snapshot.
    compacted: Option<io::Result<u64>>,
    /// What is asked of the thread before anybody else goes on with the store, and the answer.
    settling: bool,
    bequest: Option<io::Result<Bequest>>,
    /// No compaction begins.
    held: bool,
    stop: bool,
    flush_interval: Duration,
    compact_bytes: u64,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(files: Files, settings: Settings) -> io::Result<Arc<Writer>> {
        let writer = Arc::new(Writer {
            pending: Mutex::new(Pending {
                flush_interval: settings.flush_interval,
                compact_bytes: settings.compact_bytes,
                ..Pending::default()
            }),
            changed: Condvar::new(),
            settled: Condvar::new(),
            given_up: AtomicBool::new(false),
            committed: AtomicU64::new(0),
            durability: settings.durability,
            thread: Mutex::new(None),
        });
        let of_thread = Arc::clone(&writer);
        let thread = std::thread::Builder::new()
            .name("mqtt-store".into())
            .spawn(move || of_thread.run(files))?;
        *writer.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(writer)
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        let mut pending = self.lock();
        pending.flush_interval = settings.flush_interval;
        pending.compact_bytes = settings.compact_bytes;
        drop(pending);
        self.changed.notify_one();
    }

    pub(super) fn append(&self, journal: &Journal) -> Sequence {
        let mut pending = self.lock();
        pending.bytes.extend_from_slice(journal.bytes());
        pending.awaited |= journal.must_commit();
        pending.sequence += 1;
        let sequence = pending.sequence;
        drop(pending);
        self.changed.notify_one();
        sequence
    }

    pub(super) fn committed(&self) -> Sequence {
        self.committed.load(Ordering::Acquire)
    }

    pub(super) fn wake_on_commit(&self, sequence: Sequence, outbound: &Arc<Outbound>) -> bool {
        let mut pending = self.lock();
        let waits = self.committed() < sequence;
        if waits {
            pending.waiters.push(Arc::clone(outbound));
        }
        waits
    }

    pub(super) fn settle(&self, limit: Duration) -> io::Result<Bequest> {
        self.given_up.store(true, Ordering::Relaxed);
        let mut pending = self.lock();
        pending.held = true;
        pending.settling = true;
        pending.bequest = None;
        self.changed.notify_one();
        let waited = self.settled.wait_timeout_while(pending, limit, |pending| {
            pending.bequest.is_none() && !pending.stop
        });
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        pending.settling = false;
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
        pending.bequest.take().unwrap_or_else(late)
    }

    pub(super) fn resume(&self) {
        self.lock().held = false;
        self.given_up.store(false, Ordering::Relaxed);
    }

    pub(super) fn close(&self) -> io::Result<()> {
        self.given_up.store(true, Ordering::Relaxed);
        self.lock().stop = true;
        self.changed.notify_one();
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match thread.map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(io::Error::other("the writing thread panicked")),
            None => Ok(()),
        }
    }

    fn run(self: Arc<Self>, mut files: Files) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut flushed = Instant::now();
        let mut dirty = false;
        let mut compacting = false;
        if let Err(problem) = files.catch_up() {
            error!("store: what was written before is not on the disk for sure: {problem}");
        }
        loop {
            let mut pending = self.lock();
            while pending.bytes.is_empty()
                && pending.compacted.is_none()
                && (!(pending.stop || pending.settling) || compacting)
            {
                let left = pending.flush_interval.saturating_sub(flushed.elapsed());
                if dirty && self.durability == Durability::Interval {
                    if left.is_zero() {
                        break;
                    }
                    let waited = self.changed.wait_timeout(pending, left);
                    pending = waited.unwrap_or_else(PoisonError::into_inner).0;
                } else {
                    pending = self
                        .changed
                        .wait(pending)
                        .unwrap_or_else(PoisonError::into_inner);
                }
            }
            let compacted = pending.compacted.take();
            let stop = pending.stop;
            let settling = pending.settling;
            let (interval, compact_bytes) = (pending.flush_interval, pending.compact_bytes);
            std::mem::swap(&mut bytes, &mut pending.bytes);
            let sequence = pending.sequence;
            let awaited = std::mem::take(&mut pending.awaited);
            drop(pending);

            if let Some(ended) = compacted {
                compacting = false;
                match ended {
                    Ok(size) => files.compacted(size),
                    Err(problem) if problem.kind() == io::ErrorKind::Interrupted => {}
                    Err(problem) => error!("store was not compacted: {problem}"),
                }
            }
            dirty |= !bytes.is_empty();
            let flush = match self.durability {
                Durability::Always => awaited || stop || settling,
                Durability::Interval => stop || settling || flushed.elapsed() >= interval,
                Durability::Never => false,
            };
            self.write(&mut files, &bytes, flush && dirty, stop)?;
            if flush {
                dirty = false;
                flushed = Instant::now();
            }
            bytes.clear();
            bytes.shrink_to(1 << 20);
            self.commit(sequence);
            // Whoever opens the folder next must not find files removed beneath it.
            if stop && !compacting {
                self.settled.notify_all();
                return Ok(());
            }
            if settling && !compacting {
                self.answer(files.bequeath());
                continue;
            }
            let (log, snapshot) = files.sizes();
            if !compacting && !stop && !self.lock().held && log >= compact_bytes.max(snapshot) {
                match self.start_compaction(&mut files) {
                    Ok(()) => compacting = true,
                    Err(problem) => error!("store was not compacted: {problem}"),
                }
            }
        }
    }

    fn answer(&self, bequest: io::Result<Bequest>) {
        let mut pending = self.lock();
        pending.bequest = Some(bequest);
        pending.settling = false;
        self.settled.notify_all();
    }

    /// Writes until it succeeds: what was promised to nobody yet can wait, and must not be lost.
    fn write(&self, files: &mut Files, bytes: &[u8], flush: bool, stop: bool) -> io::Result<()> {
        let mut failed = false;
        loop {
            let written = files
                .append(bytes)
                .and_then(|()| if flush { files.flush() } else { Ok(()) });
            match written {
                Ok(()) => {
                    files.advance(bytes.len());
                    if failed {
                        info!("store: writing again");
                    }
                    return Ok(());
                }
                Err(problem) => {
                    if !failed {
                        error!("store: {problem}; acknowledgements wait until it can be written");
                    }
                    failed = true;
                    if stop || self.lock().stop {
                        return Err(problem);
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    fn commit(&self, sequence: Sequence) {
        self.committed.store(sequence, Ordering::Release);
        let waiters = std::mem::take(&mut self.lock().waiters);
        for outbound in waiters {
            outbound.wake();
        }
    }

    fn start_compaction(self: &Arc<Self>, files: &mut Files) -> io::Result<()> {
        let sealed = files.rotate()?;
        let writer = Arc::clone(self);
        let work = move || {
            let ended = sealed.compact(&writer.given_up);
            writer.lock().compacted = Some(ended);
            writer.changed.notify_one();
        };
        std::thread::Builder::new()
            .name("mqtt-compact".into())
            .spawn(work)
            .map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Appending whole journals cannot leave half of one behind.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
