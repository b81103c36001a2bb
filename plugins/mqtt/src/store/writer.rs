//! The threads that write: group commit, flushing by the durability setting.
//!
//! One of them leads: it takes what has gathered, appends it to the log, and makes way for the next before it waits
//! for the disk. So two commits are under way where each waits for the disk, and they end in their order.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use polyport_mqtt_core::store::{Journal, Sequence};
use tokio::sync::Notify;
use tracing::{error, info};

use super::Settings;
use super::files::{Bequest, Files, Flusher};
use crate::config::Durability;
use crate::outbound::Outbound;

/// Time between two tries after an error of the disk.
const RETRY: Duration = Duration::from_secs(1);
/// Bytes that nothing waits for are written when there are so many of them, or after a moment.
const GATHERED: usize = 256 << 10;
const MOMENT: Duration = Duration::from_millis(5);
/// With more than these the disk is behind.
const BEHIND: usize = 16 << 20;
/// Commits that may be under way at once.
const THREADS: usize = 2;

/// The appending side and the threads' side of the store.
#[derive(Debug)]
pub(super) struct Writer {
    pending: Mutex<Pending>,
    /// Held by the thread that leads, also while there is nothing to do. None once it is closed.
    files: Mutex<Option<Files>>,
    /// What the leading thread waits for.
    changed: Condvar,
    /// Notified when [`Writer::settle`] may have its answer.
    settled: Condvar,
    /// An image of the state is wanted.
    due: Notify,
    committed: AtomicU64,
    /// More is pending than [`BEHIND`].
    behind: AtomicBool,
    threads: Mutex<Vec<JoinHandle<io::Result<()>>>>,
    /// Removes what is not needed any more.
    removal: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Pending {
    bytes: Vec<u8>,
    /// The sequence of the last append.
    sequence: Sequence,
    /// Something waits for these records.
    awaited: bool,
    /// They go to the disk whatever the durability.
    forced: bool,
    rest: Rest,
    commits: VecDeque<Commit>,
    last_commit: u64,
    waiters: Vec<(Sequence, Arc<Outbound>)>,
    /// Something was written since the last flush, at this time.
    dirty: bool,
    flushed: Instant,
    image: Image,
    /// What is asked of the threads before anybody else goes on with the store, and the answer.
    settling: bool,
    bequest: Option<io::Result<Bequest>>,
    stop: bool,
    /// A thread gave up for good.
    failed: bool,
    settings: Settings,
}

/// What wakes the leading thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Nothing: it is at work.
    None,
    /// Records that are awaited, or many.
    ForMore,
    /// Any records.
    ForAny,
}

/// Records on their way to the disk.
#[derive(Debug)]
struct Commit {
    number: u64,
    sequence: Sequence,
    done: bool,
}

/// What a commit is to do.
struct Taken {
    number: u64,
    /// Whether files are put on the disk from here on.
    sync: bool,
    /// Whether this commit is.
    flush: bool,
    /// Where in its bytes an image begins.
    image: Option<usize>,
}

/// How far the next image of the state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    None,
    Due,
    /// It begins at this byte of what is pending.
    Begins(usize),
    UnderWay,
    /// All of it was appended up to this sequence, so many bytes; where it begins if that is pending still.
    Whole(Sequence, u64, Option<usize>),
}

impl Writer {
    /// Starts the threads.
    pub(super) fn start(files: Files, settings: Settings) -> io::Result<Arc<Writer>> {
        let behind = !files.is_synced() && settings.durability != Durability::Never;
        let writer = Arc::new(Writer {
            pending: Mutex::new(Pending {
                bytes: Vec::new(),
                sequence: 0,
                awaited: false,
                forced: behind,
                rest: Rest::None,
                commits: VecDeque::new(),
                last_commit: 0,
                waiters: Vec::new(),
                dirty: behind,
                flushed: Instant::now(),
                image: Image::None,
                settling: false,
                bequest: None,
                stop: false,
                failed: false,
                settings,
            }),
            files: Mutex::new(Some(files)),
            changed: Condvar::new(),
            settled: Condvar::new(),
            due: Notify::new(),
            committed: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
            removal: Mutex::new(None),
        });
        for _ in 0..THREADS {
            let of_thread = Arc::clone(&writer);
            let thread = std::thread::Builder::new()
                .name("mqtt-store".into())
                .spawn(move || of_thread.run());
            match thread {
                Ok(thread) => locked(&writer.threads).push(thread),
                Err(problem) => {
                    writer.close()?;
                    return Err(problem);
                }
            }
        }
        Ok(writer)
    }

    pub(super) fn set_settings(&self, settings: Settings) {
        let mut pending = self.lock();
        let before = std::mem::replace(&mut pending.settings, settings).durability;
        if before != settings.durability && settings.durability != Durability::Never {
            // What was acknowledged until now was promised less.
            pending.forced = true;
            pending.dirty = true;
        }
        self.rouse(&mut pending);
    }

    pub(super) fn append(&self, journal: &Journal) -> Sequence {
        let mut pending = self.lock();
        pending.bytes.extend_from_slice(journal.bytes());
        if pending.bytes.len() > BEHIND {
            self.behind.store(true, Ordering::Relaxed);
        }
        pending.awaited |=
            pending.settings.durability == Durability::Always && journal.must_commit();
        pending.sequence += 1;
        let ready = match pending.rest {
            Rest::None => false,
            Rest::ForMore => pending.is_pressing(),
            Rest::ForAny => true,
        };
        if ready {
            self.rouse(&mut pending);
        }
        pending.sequence
    }

    pub(super) fn committed(&self) -> Sequence {
        self.committed.load(Ordering::Acquire)
    }

    /// So much waits for the disk that there had better not be more.
    pub(super) fn is_behind(&self) -> bool {
        self.behind.load(Ordering::Relaxed)
    }

    pub(super) fn wake_on_commit(&self, sequence: Sequence, outbound: &Arc<Outbound>) -> bool {
        let mut pending = self.lock();
        let waits = self.committed() < sequence;
        if waits {
            pending.waiters.push((sequence, Arc::clone(outbound)));
        }
        waits
    }

    /// Waits until an image of the state is wanted.
    pub(super) async fn image_due(&self) {
        self.due.notified().await;
    }

    /// What is appended from here on is an image and what happens meanwhile.
    pub(super) fn begin_image(&self) {
        let mut pending = self.lock();
        pending.image = Image::Begins(pending.bytes.len());
    }

    /// Has all that was appended put on the disk, and gives its sequence. `whole` is the size of the image that was.
    pub(super) fn force(&self, whole: Option<u64>) -> Sequence {
        let mut pending = self.lock();
        pending.forced = true;
        let sequence = pending.sequence;
        if let Some(bytes) = whole {
            let begins = match pending.image {
                Image::Begins(at) => Some(at),
                _ => None,
            };
            pending.image = Image::Whole(sequence, bytes, begins);
        }
        self.rouse(&mut pending);
        sequence
    }

    pub(super) fn settle(&self, limit: Duration) -> io::Result<Bequest> {
        let mut pending = self.lock();
        pending.settling = true;
        pending.bequest = None;
        self.rouse(&mut pending);
        let waited = self.settled.wait_timeout_while(pending, limit, |pending| {
            pending.bequest.is_none() && !pending.stop
        });
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        pending.settling = false;
        let late = || Err(io::Error::from(io::ErrorKind::TimedOut));
        pending.bequest.take().unwrap_or_else(late)
    }

    pub(super) fn close(&self) -> io::Result<()> {
        let mut pending = self.lock();
        pending.stop = true;
        self.rouse(&mut pending);
        self.settled.notify_all();
        drop(pending);
        let threads = std::mem::take(&mut *locked(&self.threads));
        let mut result = Ok(());
        for thread in threads {
            let panicked = |_| Err(io::Error::other("a writing thread panicked"));
            let ended = thread.join().unwrap_or_else(panicked);
            result = result.and(ended);
        }
        // Whoever opens the folder next must not find files removed beneath it.
        if let Some(removal) = locked(&self.removal).take()
            && removal.join().is_err()
        {
            error!("store: the thread that removes old logs panicked");
        }
        *locked(&self.files) = None;
        result
    }

    fn run(&self) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut flusher = Flusher::default();
        let ended = loop {
            match self.commit(&mut bytes, &mut flusher) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(problem) => break Err(problem),
            }
        };
        let mut pending = self.lock();
        pending.failed |= ended.is_err();
        self.rouse(&mut pending);
        ended
    }

    /// Leads until there is something to write, and writes it; false when the store was closed.
    fn commit(&self, bytes: &mut Vec<u8>, flusher: &mut Flusher) -> io::Result<bool> {
        let mut leading = locked(&self.files);
        let Some(files) = &mut *leading else {
            return Ok(false);
        };
        let Some(Taken {
            number,
            sync,
            flush,
            image,
        }) = self.take(files, bytes)
        else {
            return Ok(false);
        };
        self.until_done(|| files.set_sync(sync))?;
        let (before, after) = bytes.split_at(image.unwrap_or(0));
        if image.is_some() {
            self.until_done(|| files.append(before))?;
            self.until_done(|| files.begin_image())?;
        }
        self.until_done(|| {
            files.aim(flusher)?;
            files.append(after)
        })?;
        if let Err(problem) = files.turn() {
            error!("store: no new log: {problem}");
        }
        drop(leading);
        if flush {
            self.until_done(|| flusher.flush(after))?;
        }
        bytes.clear();
        bytes.shrink_to(1 << 20);
        self.done(number);
        Ok(true)
    }

    /// Waits for something to write; none when the store was closed and all is written.
    fn take(&self, files: &mut Files, bytes: &mut Vec<u8>) -> Option<Taken> {
        let mut pending = self.lock();
        let mut since = None;
        loop {
            self.look_at_image(files, &mut pending);
            let ending = pending.stop || pending.settling;
            let moment = |since: &Option<Instant>| since.is_some_and(|at| at.elapsed() >= MOMENT);
            let interval = pending.settings.durability == Durability::Interval
                && pending.dirty
                && pending.flushed.elapsed() >= pending.settings.flush_interval;
            let last = (ending || pending.forced)
                && pending.dirty
                && pending.settings.durability != Durability::Never;
            let gathered = !pending.bytes.is_empty();
            if pending.stop && pending.failed {
                return None;
            }
            if interval || last || (gathered && (ending || pending.is_pressing() || moment(&since)))
            {
                break;
            }
            if ending && pending.commits.is_empty() {
                if pending.stop {
                    return None;
                }
                pending.bequest = Some(files.bequeath());
                pending.settling = false;
                self.settled.notify_all();
                continue;
            }
            let mut wait = None;
            if pending.settings.durability == Durability::Interval && pending.dirty {
                let elapsed = pending.flushed.elapsed();
                wait = Some(pending.settings.flush_interval.saturating_sub(elapsed));
            }
            if gathered {
                let since = since.get_or_insert_with(Instant::now);
                let left = MOMENT.saturating_sub(since.elapsed());
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
            pending.rest = match gathered || ending {
                true => Rest::ForMore,
                false => Rest::ForAny,
            };
            let waited = match wait {
                Some(wait) => self
                    .changed
                    .wait_timeout(pending, wait)
                    .map(|(lock, _)| lock)
                    .map_err(|poisoned| poisoned.into_inner().0),
                None => self.changed.wait(pending).map_err(PoisonError::into_inner),
            };
            pending = waited.unwrap_or_else(|pending| pending);
            pending.rest = Rest::None;
        }
        let ending = pending.stop || pending.settling;
        // What is awaited was appended when acknowledgements waited for the disk, whatever holds by now.
        let promised = std::mem::take(&mut pending.awaited) | std::mem::take(&mut pending.forced);
        let flush = promised
            || match pending.settings.durability {
                Durability::Always => ending,
                Durability::Interval => {
                    ending || pending.flushed.elapsed() >= pending.settings.flush_interval
                }
                Durability::Never => false,
            };
        pending.dirty = !flush;
        if flush {
            pending.flushed = Instant::now();
        }
        std::mem::swap(bytes, &mut pending.bytes);
        self.behind.store(false, Ordering::Relaxed);
        let image = match pending.image {
            Image::Begins(at) => {
                pending.image = Image::UnderWay;
                Some(at)
            }
            Image::Whole(sequence, bytes, begins) => {
                pending.image = Image::Whole(sequence, bytes, None);
                begins
            }
            _ => None,
        };
        pending.last_commit += 1;
        let (number, sequence) = (pending.last_commit, pending.sequence);
        pending.commits.push_back(Commit {
            number,
            sequence,
            done: false,
        });
        Some(Taken {
            number,
            sync: promised || pending.settings.durability != Durability::Never,
            flush,
            image,
        })
    }

    /// Asks for an image when it is time, and ends one that is on the disk.
    fn look_at_image(&self, files: &mut Files, pending: &mut Pending) {
        match pending.image {
            Image::None if files.is_outgrown(pending.settings.compact_bytes) => {
                pending.image = Image::Due;
                self.due.notify_one();
            }
            Image::Whole(sequence, bytes, _) if sequence <= self.committed() => {
                pending.image = Image::None;
                let Some(obsolete) = files.end_image(bytes) else {
                    return;
                };
                let remove = move || {
                    if let Err(problem) = obsolete.remove() {
                        error!("store: old logs were not removed: {problem}");
                    }
                };
                let thread = std::thread::Builder::new().name("mqtt-compact".into());
                match thread.spawn(remove) {
                    Ok(thread) => *locked(&self.removal) = Some(thread),
                    Err(problem) => error!("store: old logs were not removed: {problem}"),
                }
            }
            _ => {}
        }
    }

    /// Tries until it succeeds: what was promised to nobody yet can wait, and must not be lost.
    fn until_done(&self, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let mut failed = false;
        loop {
            match work() {
                Ok(()) => {
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
                    if self.lock().stop {
                        return Err(problem);
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// A commit is over, and all are over that wait for no other.
    fn done(&self, number: u64) {
        let mut pending = self.lock();
        let mut commits = pending.commits.iter_mut();
        if let Some(commit) = commits.find(|commit| commit.number == number) {
            commit.done = true;
        }
        let mut committed = self.committed();
        while pending.commits.front().is_some_and(|commit| commit.done) {
            let over = pending.commits.pop_front();
            committed = over.map_or(committed, |commit| commit.sequence);
        }
        self.committed.store(committed, Ordering::Release);
        let over = pending
            .waiters
            .extract_if(.., |(sequence, _)| *sequence <= committed);
        let waiters: Vec<_> = over.map(|(_, outbound)| outbound).collect();
        if pending.stop || pending.settling || matches!(pending.image, Image::Whole(..)) {
            self.rouse(&mut pending);
        }
        drop(pending);
        for outbound in waiters {
            outbound.wake();
        }
    }

    /// Has the leading thread look again, if it rests.
    fn rouse(&self, pending: &mut Pending) {
        if pending.rest != Rest::None {
            pending.rest = Rest::None;
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        locked(&self.pending)
    }
}

impl Pending {
    /// Whether what gathered is not to wait for more.
    fn is_pressing(&self) -> bool {
        self.awaited
            || self.forced
            || self.bytes.len() >= GATHERED
            || matches!(self.image, Image::Begins(_) | Image::Whole(_, _, Some(_)))
    }
}

/// Nothing here leaves anything half done under a lock: appending whole journals cannot leave half of one behind.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use polyport_mqtt_core::store::Record;

    use super::super::DiskStore;
    use super::*;

    fn settings(durability: Durability) -> Settings {
        Settings {
            durability,
            flush_interval: Duration::from_secs(3_600),
            compact_bytes: 1 << 30,
        }
    }

    fn journal() -> Journal {
        let mut journal = Journal::default();
        journal.require(&Record::SessionEnded { session: 1 });
        journal.seal();
        journal
    }

    /// Waits for something that is to come.
    fn until(writer: &Writer, is_so: impl Fn(&Pending) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !is_so(&writer.lock()) {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_was_acknowledged_before_is_on_the_disk_once_more_is_promised() {
        for before in [Durability::Never, Durability::Interval] {
            let folder = tempfile::tempdir().unwrap();
            let (store, _) = DiskStore::open(folder.path(), settings(before)).unwrap();
            let writer = &store.writer;
            // What a process before may have left.
            until(writer, |pending| !pending.forced);
            let sequence = writer.append(&journal());
            until(writer, |_| writer.committed() >= sequence);
            assert!(writer.lock().dirty);
            writer.set_settings(settings(Durability::Always));
            until(writer, |pending| !pending.dirty && !pending.forced);
            store.close().unwrap();
        }
    }

    #[test]
    fn what_waits_for_the_disk_does_so_although_less_is_promised_by_then() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = DiskStore::open(folder.path(), settings(Durability::Always)).unwrap();
        let writer = &store.writer;
        let sequence = {
            let mut pending = writer.lock();
            pending.bytes.extend_from_slice(journal().bytes());
            pending.awaited = true;
            pending.sequence += 1;
            // Before a thread has taken it.
            pending.settings = settings(Durability::Never);
            writer.rouse(&mut pending);
            pending.sequence
        };
        until(writer, |_| writer.committed() >= sequence);
        assert!(!writer.lock().dirty, "it was flushed");
        store.close().unwrap();
    }
}
