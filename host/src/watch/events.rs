//! The system's word that something happened at one of the places (inotify(7)), and who is still writing there.
//!
//! One watch stands for one folder or file, by whatever path it was found: watching it twice gives the same watch,
//! and one that came in the place of another gives a new one. So all places are simply watched anew at each look.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tracing::{debug, warn};

use super::RESCAN;
use super::places::{Names, Places};

/// After the last write to a file that nobody closed, it counts as finished.
const HELD: Duration = Duration::from_secs(5);
/// Times that places are looked for which vanish while they are being watched.
const TRIES: usize = 3;
/// Bytes of events that are read at once.
const BUFFER: usize = 16 * 1024;

/// What happens in a folder to what it holds. Reading is left out: the host itself reads.
const WITHIN: WatchMask = WatchMask::CREATE
    .union(WatchMask::DELETE)
    .union(WatchMask::MOVE);
/// What happens to the content of a file, and to whether it can be read.
const CONTENT: WatchMask = WatchMask::MODIFY
    .union(WatchMask::CLOSE_WRITE)
    .union(WatchMask::ATTRIB);
/// What happens to a folder or a file itself.
const END: WatchMask = WatchMask::DELETE_SELF.union(WatchMask::MOVE_SELF);

/// The places that are watched.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// None where the system gives none; then the clock alone tells when to look.
    stream: Option<EventStream<Vec<u8>>>,
    watches: HashMap<WatchDescriptor, Place>,
    /// Files that were written to and not closed since, and when they last were.
    unfinished: HashMap<(WatchDescriptor, Option<OsString>), Instant>,
    /// What could not be watched, so that it is said once.
    told: BTreeSet<PathBuf>,
}

#[derive(Debug, Default)]
struct Place {
    path: PathBuf,
    names: Names,
}

impl Events {
    /// Watches these places and no others; what cannot be watched is said once.
    pub(super) fn watch(&mut self, places: impl Fn() -> Places) {
        if self.stream.is_none() {
            match Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; BUFFER])) {
                Ok(stream) => {
                    self.told.clear();
                    self.stream = Some(stream);
                }
                Err(error) => {
                    self.tell(Path::new(""), &error);
                    return;
                }
            }
        }
        for _ in 0..TRIES {
            if self.try_watch(places()) {
                return;
            }
        }
    }

    /// Whether all places were still there.
    fn try_watch(&mut self, places: Places) -> bool {
        let Some(stream) = &self.stream else {
            return true;
        };
        let mut inotify = stream.watches();
        let folders = places.folders.into_iter().map(|(path, names)| {
            let happens = if names.is_empty() {
                END
            } else {
                WITHIN | CONTENT | END
            };
            (path, names, happens | WatchMask::ONLYDIR)
        });
        let files = places.files.into_iter();
        let files = files.map(|path| (path, Names::default(), CONTENT | END));
        let mut watches: HashMap<WatchDescriptor, Place> = HashMap::new();
        let mut failed = Vec::new();
        let mut whole = true;
        for (path, names, happens) in folders.chain(files) {
            // Two paths may lead to one place: neither takes from the other.
            match inotify.add(&path, happens | WatchMask::MASK_ADD) {
                Ok(watch) => {
                    self.told.remove(&path);
                    let place = watches.entry(watch).or_default();
                    place.path = path;
                    place.names.extend(names);
                }
                Err(error) if is_gone(&error) => whole = false,
                // Of the others only the end would be told.
                Err(error) if !names.is_empty() => failed.push((path, error)),
                Err(_) => {}
            }
        }
        for watch in self.watches.keys().filter(|old| !watches.contains_key(old)) {
            // It may have ended by itself.
            let _ = inotify.remove(watch.clone());
        }
        self.unfinished
            .retain(|(watch, _), _| watches.contains_key(watch));
        self.watches = watches;
        for (path, error) in failed {
            self.tell(&path, &error);
        }
        whole
    }

    fn tell(&mut self, path: &Path, error: &io::Error) {
        if self.told.insert(path.to_owned()) {
            let what = if path.as_os_str().is_empty() {
                "changes of files".to_owned()
            } else {
                format!("folder {}", path.display())
            };
            warn!("{what}: no events: {error}; looking every {RESCAN:?} instead");
        }
    }

    /// Waits until something happens that matters; for ever where nothing can be watched.
    pub(super) async fn next(&mut self) {
        loop {
            let Some(stream) = &mut self.stream else {
                return std::future::pending().await;
            };
            match stream.next().await {
                Some(Ok(event)) => {
                    if self.heed(event) {
                        return;
                    }
                }
                ended => {
                    let error = ended.and_then(Result::err);
                    let error = error.unwrap_or(io::ErrorKind::UnexpectedEof.into());
                    self.tell(Path::new(""), &error);
                    // Watched anew at the next look.
                    self.stream = None;
                    self.watches.clear();
                    self.unfinished.clear();
                }
            }
        }
    }

    /// Whether it matters.
    fn heed(&mut self, event: EventOwned) -> bool {
        let is = |mask: EventMask| event.mask.intersects(mask);
        if is(EventMask::Q_OVERFLOW) {
            debug!("the system lost events of files");
            self.unfinished.clear(); // whoever closed one was not heard
            return true;
        }
        let Some(place) = self.watches.get(&event.wd) else {
            return false;
        };
        if is(EventMask::IGNORED) {
            self.watches.remove(&event.wd);
            self.unfinished.retain(|(watch, _), _| *watch != event.wd);
            return true;
        }
        if let Some(name) = &event.name
            && !place.names.contain(name)
        {
            return false;
        }
        let created = is(EventMask::CREATE) && is_being_made(place, event.name.as_deref());
        let key = (event.wd, event.name);
        if created || event.mask.intersects(EventMask::MODIFY) {
            self.unfinished.insert(key, Instant::now());
        } else if !event.mask.intersects(EventMask::ATTRIB) {
            // Closed, gone, or another one.
            self.unfinished.remove(&key);
        }
        true
    }

    /// How long to wait at most for files that somebody is writing to; none where there are none.
    pub(super) fn unfinished(&mut self) -> Option<Duration> {
        let now = Instant::now();
        self.unfinished.retain(|_, written| *written + HELD > now);
        let last = self.unfinished.values().max()?;
        Some(*last + HELD - now)
    }
}

/// Whether a new name is a file that was made just now, and is not another name or a link.
fn is_being_made(place: &Place, name: Option<&OsStr>) -> bool {
    let Some(name) = name else { return false };
    fs::symlink_metadata(place.path.join(name))
        .is_ok_and(|meta| meta.is_file() && meta.nlink() == 1 && meta.size() == 0)
}

fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}
