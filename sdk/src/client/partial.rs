//! A download that may break off and go on: `.NAME.part` beside the file, and `.NAME.part.json` that says what
//! of it is there. The file itself appears whole or not at all.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Failure;

/// How much time's work a crash may cost.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// What has not come yet, of one part of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Offset of the next byte.
    pub next: u64,
    /// Offset behind the last byte.
    pub end: u64,
}

/// What is known of the whole, so that parts of two different files are never put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    source: String,
    version: String,
    size: u64,
    segments: Vec<Segment>,
}

/// A download on its way. Threads may share it, each writing a segment of its own.
#[derive(Debug)]
pub struct Partial {
    target: PathBuf,
    part: PathBuf,
    note_path: PathBuf,
    file: File,
    state: Mutex<(Note, Instant)>,
}

impl Partial {
    /// Begins a download of `size` bytes in up to `segments` segments, or goes on with an earlier one if
    /// `resume` and it was of the same `source`, `version` and size. `version` is whatever the server changes
    /// with the content; an empty one is never gone on with.
    ///
    /// # Errors
    /// [`Failure::Failed`] with the file's name.
    pub fn open(
        target: &Path,
        source: &str,
        version: &str,
        size: u64,
        segments: u64,
        resume: bool,
    ) -> Result<Self, Failure> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let part = target.with_file_name(format!(".{name}.part"));
        let note_path = target.with_file_name(format!(".{name}.part.json"));
        let fresh = Note {
            source: source.into(),
            version: version.into(),
            size,
            segments: split(size, segments),
        };
        let earlier = if resume && !version.is_empty() {
            read_note(&note_path, &part, &fresh)
        } else {
            None
        };
        let local = || Failure::local(part.display().to_string());
        let mut options = File::options();
        options.write(true).create(true).truncate(earlier.is_none());
        let file = options.open(&part).map_err(local())?;
        file.set_len(size).map_err(local())?;
        let this = Self {
            target: target.into(),
            file,
            state: Mutex::new((earlier.unwrap_or(fresh), Instant::now())),
            part,
            note_path,
        };
        this.save()?;
        Ok(this)
    }

    /// What has not come yet.
    #[must_use]
    pub fn segments(&self) -> Vec<Segment> {
        self.lock().0.segments.clone()
    }

    /// Bytes that are there.
    #[must_use]
    pub fn done(&self) -> u64 {
        let state = self.lock();
        let missing: u64 = state
            .0
            .segments
            .iter()
            .map(|segment| segment.end - segment.next)
            .sum();
        state.0.size - missing
    }

    /// Writes the next bytes of a segment.
    ///
    /// # Errors
    /// [`Failure::Failed`] for the disk, or for more bytes than the segment has left.
    pub fn write(&self, segment: usize, bytes: &[u8]) -> Result<(), Failure> {
        let length = bytes.len() as u64;
        let at = {
            let state = self.lock();
            let known = state.0.segments.get(segment);
            known
                .filter(|known| known.end - known.next >= length)
                .map(|known| known.next)
                .ok_or_else(|| Failure::failed("the server sent more than it announced"))?
        };
        self.file
            .write_all_at(bytes, at)
            .map_err(Failure::local(self.part.display()))?;
        let due = {
            let mut state = self.lock();
            state.0.segments[segment].next += length;
            let due = state.1.elapsed() >= NOTE_EVERY;
            if due {
                state.1 = Instant::now();
            }
            due
        };
        if due { self.save() } else { Ok(()) }
    }

    /// Writes down how far it is; the data before the note, so that the note never promises too much.
    ///
    /// # Errors
    /// [`Failure::Failed`] for the disk.
    pub fn save(&self) -> Result<(), Failure> {
        let note = self.lock().0.clone();
        let text = serde_json::to_vec(&note).unwrap_or_default();
        let fresh = self
            .note_path
            .with_extension(format!("new{:?}", std::thread::current().id()));
        self.file
            .sync_data()
            .and_then(|()| fs::write(&fresh, text))
            .and_then(|()| fs::rename(&fresh, &self.note_path))
            .map_err(Failure::local(self.note_path.display()))
    }

    /// Keeps what is there, and says so of a connection that broke.
    #[must_use]
    pub fn keep(self, failure: Failure) -> Failure {
        if let Err(unsaved) = self.save() {
            return unsaved;
        }
        match failure {
            Failure::Broken(text) => Failure::Failed(format!(
                "{text}; {} of {} bytes are kept, --continue goes on with them",
                self.done(),
                self.lock().0.size
            )),
            other => other,
        }
    }

    /// Gives the file its name, when all of it is there.
    ///
    /// # Errors
    /// [`Failure::Broken`] when something is missing, [`Failure::Failed`] for the disk.
    pub fn finish(self) -> Result<(), Failure> {
        let (done, size) = (self.done(), self.lock().0.size);
        if done != size {
            return Err(Failure::Broken(format!(
                "expected {size} bytes, got {done}"
            )));
        }
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.part, &self.target))
            .map_err(Failure::local(self.target.display()))?;
        // A note without its part is never gone on with.
        let _ = fs::remove_file(&self.note_path);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Note, Instant)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn split(size: u64, segments: u64) -> Vec<Segment> {
    let segments = segments.clamp(1, size.max(1));
    let each = size.div_ceil(segments);
    (0..segments)
        .map(|number| Segment {
            next: (number * each).min(size),
            end: ((number + 1) * each).min(size),
        })
        .collect()
}

/// The note of an earlier download, if it is of the same thing and makes sense.
fn read_note(path: &Path, part: &Path, wanted: &Note) -> Option<Note> {
    let note: Note = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let same = note.source == wanted.source
        && note.version == wanted.version
        && note.size == wanted.size
        && fs::metadata(part).ok()?.len() == note.size;
    let sound = note
        .segments
        .iter()
        .all(|segment| segment.next <= segment.end && segment.end <= note.size);
    (same && sound).then_some(note)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_the_file_once() {
        for (size, wanted) in [(0, 4), (1, 4), (10, 3), (16, 4), (5, 4)] {
            let segments = split(size, wanted);
            let covered: u64 = segments.iter().map(|one| one.end - one.next).sum();
            assert_eq!(covered, size);
            assert!(
                segments.windows(2).all(|two| two[0].end == two[1].next),
                "{segments:?}"
            );
        }
    }

    #[test]
    fn a_break_costs_nothing_and_another_version_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film");
        let open = |version, resume| Partial::open(&target, "url", version, 10, 2, resume).unwrap();
        let partial = open("1", false);
        partial.write(0, b"01").unwrap();
        partial.write(1, b"56789").unwrap();
        assert!(partial.write(1, b"x").is_err(), "more than the segment has");
        partial.save().unwrap();
        drop(partial);
        assert!(!target.exists());
        assert_eq!(open("1", true).segments()[0], Segment { next: 2, end: 5 });
        let partial = open("1", true);
        assert_eq!(partial.done(), 7);
        partial.write(0, b"234").unwrap();
        partial.finish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"0123456789");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "nothing is left over"
        );
        let partial = open("1", false);
        partial.write(0, b"01").unwrap();
        partial.save().unwrap();
        drop(partial);
        assert_eq!(open("2", true).done(), 0);
    }

    #[test]
    fn an_incomplete_file_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("film");
        let partial = Partial::open(&target, "url", "1", 10, 1, false).unwrap();
        assert!(matches!(partial.finish(), Err(Failure::Broken(_))));
        assert!(!target.exists());
    }
}
