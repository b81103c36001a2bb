//! Logs: names, headers, loading, and which of them are needed.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use polyport_mqtt_core::store::{first_frame, read_frames};

use super::Loaded;

/// First bytes of every file: what it is and the version of its format.
const MAGIC: &[u8; 16] = b"polyport-mqtt 1\n";
/// Where records begin.
const START: u64 = MAGIC.len() as u64;
const LOG: &str = "log";
/// What stands before the logs from the same number on, in stores of the first form.
const SNAPSHOT: &str = "snapshot";
/// A snapshot that was never finished.
const UNFINISHED: &str = "tmp";
/// Bytes after which a log is followed by the next: a file that is not needed any more goes in a moment.
const LOG_MAX: u64 = 32 << 20;

/// The open folder of a store.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    sync: bool,
    /// Whether what was written before was put on the disk.
    synced: bool,
    /// Held as long as the store is open, by everyone who has this very open file.
    lock: File,
    /// The log that is written to.
    log: File,
    number: u64,
    length: u64,
    /// Bytes of all other files.
    sealed: u64,
    /// Bytes that the last image of the state took.
    image: u64,
    /// The image under way: the log that it begins, and the bytes of the files before.
    begun: Option<(u64, u64)>,
    /// A file is damaged: an image makes it superfluous.
    damaged: bool,
}

/// One writing thread's own descriptor of the log: an error of the disk is told to each descriptor, once.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    log: Option<(u64, File)>,
    start: u64,
    failed: bool,
}

/// Files that an image made superfluous.
#[derive(Debug)]
pub(super) struct Obsolete {
    folder: PathBuf,
    /// The first log that is needed.
    first: u64,
}

/// An open store on its way to who writes to it next. Both files are one with those of who wrote to it before.
#[derive(Debug)]
pub(crate) struct Bequest {
    /// Where the next record goes.
    pub(crate) place: Place,
    /// The file whose lock is the store's.
    pub(crate) lock: OwnedFd,
    /// The log that is written to.
    pub(crate) log: OwnedFd,
}

/// How far a store has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The number of the log.
    pub(crate) number: u64,
    /// Its bytes.
    pub(crate) length: u64,
    /// Bytes of the last image of the state.
    pub(crate) image_bytes: u64,
    /// What is in it was put on the disk.
    pub(crate) synced: bool,
}

/// Opens the folder and reads what is there. Goes on in the newest log, or in a new one behind damage.
pub(super) fn open(folder: &Path, sync: bool) -> io::Result<(Files, Loaded)> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    let lock = private()
        .create(true)
        .write(true)
        .truncate(false)
        .open(folder.join("lock"))?;
    lock.try_lock()
        .map_err(|error| io::Error::other(format!("store is open elsewhere: {error}")))?;

    for unfinished in &list(folder)?.unfinished {
        std::fs::remove_file(unfinished)?;
    }
    let mut loaded = Loaded::default();
    let end = load(folder, &mut loaded)?;
    for client_id in loaded.state.finish() {
        loaded.damage.push(format!(
            "two sessions of client {client_id:?}; the newer is used"
        ));
    }
    let (number, length, log) = match end {
        End::Whole(number, 0) => (number, START, create_log(folder, number, sync)?),
        End::Whole(number, length) => {
            let log = private().write(true).open(path(folder, number, LOG))?;
            log.set_len(length)?;
            (number, length, log)
        }
        End::Behind(last) => {
            let log = create_log(folder, last + 1, sync)?;
            (last + 1, START, log)
        }
    };
    let files = Files {
        folder: folder.to_owned(),
        sync,
        // Another setting may have written it.
        synced: false,
        lock,
        log,
        number,
        length,
        sealed: sealed(folder, number)?,
        image: 0,
        begun: None,
        damaged: !loaded.damage.is_empty(),
    };
    Ok((files, loaded))
}

impl Files {
    /// Goes on with a store that is open already.
    pub(super) fn inherit(folder: &Path, sync: bool, bequest: Bequest) -> io::Result<Files> {
        let Place {
            number,
            length,
            image_bytes,
            synced,
        } = bequest.place;
        Ok(Files {
            folder: folder.to_owned(),
            sync,
            synced,
            lock: bequest.lock.into(),
            log: bequest.log.into(),
            number,
            length,
            sealed: sealed(folder, number)?,
            image: image_bytes,
            begun: None,
            damaged: false,
        })
    }

    /// Itself once more, for who writes to it next.
    pub(super) fn bequeath(&self) -> io::Result<Bequest> {
        Ok(Bequest {
            place: Place {
                number: self.number,
                length: self.length,
                image_bytes: self.image,
                synced: self.sync && self.synced,
            },
            lock: self.lock.try_clone()?.into(),
            log: self.log.try_clone()?.into(),
        })
    }

    /// Whether all that is written was put on the disk, or will be by the commit that wrote it.
    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    /// Whether what is written from here on is put on the disk; if so, what was written when nobody asked for that is
    /// put there first.
    pub(super) fn set_sync(&mut self, sync: bool) -> io::Result<()> {
        self.sync = sync;
        self.synced &= sync;
        if !sync || self.synced {
            return Ok(());
        }
        let listed = list(&self.folder)?;
        let logs = listed.logs.into_iter().map(|number| (number, LOG));
        let snapshots = listed
            .snapshots
            .into_iter()
            .map(|number| (number, SNAPSHOT));
        for (number, kind) in logs.chain(snapshots) {
            match File::open(path(&self.folder, number, kind)) {
                Ok(file) => file.sync_all()?,
                // An image made it superfluous meanwhile.
                Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
                Err(problem) => return Err(problem),
            }
        }
        sync_folder(&self.folder)?;
        self.synced = true;
        Ok(())
    }

    /// Appends whole frames. After an error nothing counts as written and the same bytes may be
    /// appended again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Has `flusher` stand at what is appended next.
    pub(super) fn aim(&self, flusher: &mut Flusher) -> io::Result<()> {
        if flusher.log.as_ref().map(|(number, _)| *number) != Some(self.number) {
            let log = private()
                .write(true)
                .open(path(&self.folder, self.number, LOG))?;
            flusher.log = Some((self.number, log));
        }
        flusher.start = self.length;
        Ok(())
    }

    /// Goes on in a new log if this one is long.
    pub(super) fn turn(&mut self) -> io::Result<()> {
        match self.length >= LOG_MAX {
            true => self.rotate(),
            false => Ok(()),
        }
    }

    /// Goes on in a new log, with which an image of the state begins.
    pub(super) fn begin_image(&mut self) -> io::Result<()> {
        self.rotate()?;
        self.begun = Some((self.number, self.sealed));
        Ok(())
    }

    /// The image that was begun is whole and on the disk.
    pub(super) fn end_image(&mut self, bytes: u64) -> Option<Obsolete> {
        let (first, before) = self.begun.take()?;
        self.sealed -= before;
        self.image = bytes;
        self.damaged = false;
        let folder = self.folder.clone();
        Some(Obsolete { folder, first })
    }

    /// Whether an image is worth its writing: for the logs have grown by `least`, and by as much as the last one took.
    pub(super) fn is_outgrown(&self, least: u64) -> bool {
        let grown = (self.sealed + self.length).saturating_sub(self.image);
        self.damaged || grown >= least.max(self.image)
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.sync {
            self.log.sync_data()?;
        }
        let next = self.number + 1;
        self.log = create_log(&self.folder, next, self.sync)?;
        self.number = next;
        self.sealed += self.length;
        self.length = START;
        Ok(())
    }
}

impl Flusher {
    /// Puts `bytes`, the last that were appended where it stands, and all before on the disk.
    pub(super) fn flush(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some((_, log)) = &self.log else {
            return Ok(());
        };
        // What the system could not write it counts as written.
        if std::mem::replace(&mut self.failed, true) {
            log.write_all_at(bytes, self.start)?;
        }
        log.sync_data()?;
        self.failed = false;
        Ok(())
    }
}

impl Obsolete {
    /// Removes them, the oldest first: those that are left after a crash say nothing that those behind them do not
    /// say otherwise.
    pub(super) fn remove(&self) -> io::Result<()> {
        let listed = list(&self.folder)?;
        let needed = listed.logs.iter().filter(|number| **number >= self.first);
        for number in needed {
            File::open(path(&self.folder, *number, LOG))?.sync_data()?;
        }
        sync_folder(&self.folder)?;
        let snapshots = listed.snapshots.into_iter();
        let logs = listed.logs.into_iter().map(|number| (number, LOG));
        let all = snapshots.map(|number| (number, SNAPSHOT)).chain(logs);
        for (number, kind) in all.filter(|(number, _)| *number < self.first) {
            std::fs::remove_file(path(&self.folder, number, kind))?;
        }
        Ok(())
    }
}

#[derive(Default)]
struct Listed {
    snapshots: Vec<u64>,
    logs: Vec<u64>,
    unfinished: Vec<PathBuf>,
}

fn list(folder: &Path) -> io::Result<Listed> {
    let mut listed = Listed::default();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse().ok());
        match (
            number,
            path.extension().and_then(|extension| extension.to_str()),
        ) {
            (Some(number), Some(LOG)) => listed.logs.push(number),
            (Some(number), Some(SNAPSHOT)) => listed.snapshots.push(number),
            (_, Some(UNFINISHED)) => listed.unfinished.push(path),
            _ => {}
        }
    }
    listed.logs.sort_unstable();
    listed.snapshots.sort_unstable();
    Ok(listed)
}

/// Where what was read ends.
enum End {
    /// The newest log is whole up to this length.
    Whole(u64, u64),
    /// Nothing can be added to this one, or there is none.
    Behind(u64),
}

/// Reads the newest snapshot, if there is one, and the logs from it on.
fn load(folder: &Path, loaded: &mut Loaded) -> io::Result<End> {
    let listed = list(folder)?;
    let snapshot = listed.snapshots.last().copied();
    if let Some(number) = snapshot {
        read(folder, number, SNAPSHOT, false, loaded)?;
    }
    let first = snapshot.unwrap_or(0);
    let mut end = End::Behind(first);
    let logs = listed.logs.into_iter().filter(|number| *number >= first);
    let mut logs = logs.peekable();
    while let Some(number) = logs.next() {
        let newest = logs.peek().is_none();
        end = match read(folder, number, LOG, newest, loaded)? {
            Some(length) => End::Whole(number, length),
            None => End::Behind(number),
        };
    }
    Ok(end)
}

/// Applies the records of a file; its length without a tail that was cut short, if nothing else is wrong with it.
fn read(
    folder: &Path,
    number: u64,
    kind: &str,
    newest: bool,
    loaded: &mut Loaded,
) -> io::Result<Option<u64>> {
    let path = path(folder, number, kind);
    let mut bytes = Vec::new();
    File::open(&path)?.read_to_end(&mut bytes)?;
    let name = path.display();
    let Some(records) = bytes.strip_prefix(MAGIC) else {
        // A log whose very creation was cut short by a crash has nothing to lose.
        if !(newest && MAGIC.starts_with(&bytes)) {
            loaded.damage.push(format!(
                "{name}: expected a store of format 1, got something else; left aside"
            ));
            set_aside(&path)?;
            return Ok(None);
        }
        return Ok(Some(0));
    };
    let (mut at, mut unreadable) = (0, None);
    loop {
        at += read_frames(&records[at..], |body| loaded.state.apply(body));
        let rest = &records[at..];
        // The last record of the newest log may be torn by a crash: it was never acknowledged.
        if rest.is_empty() || newest && is_torn(rest) {
            break;
        }
        let next = next_sound(rest);
        let (_, bytes) = unreadable.get_or_insert((at, 0));
        *bytes += next.unwrap_or(rest.len());
        match next {
            Some(next) => at += next,
            None => break,
        }
    }
    if let Some((from, bytes)) = unreadable {
        loaded.damage.push(format!(
            "{name}: unreadable from byte {}; {bytes} bytes left aside",
            from + MAGIC.len(),
        ));
        set_aside(&path)?;
        return Ok(None);
    }
    Ok(Some((MAGIC.len() + at) as u64))
}

/// Where the frame behind an unreadable one begins, if that one tells its length and the next is sound. What looks like
/// a frame elsewhere may be a message that somebody published.
fn next_sound(rest: &[u8]) -> Option<usize> {
    let next = first_frame(rest)?;
    let behind = &rest[next..];
    let frame = &behind[..first_frame(behind)?];
    (read_frames(frame, |_| true) > 0).then_some(next)
}

/// Whether a write was cut short: a frame without its end, or one that never came, and nothing sound behind it.
/// Sound records behind an unreadable one mean that something acknowledged was damaged.
fn is_torn(rest: &[u8]) -> bool {
    // More than that is not looked through, and may hide them: it is kept and reported.
    const LOOKED_THROUGH: usize = 1 << 20;
    if rest.iter().all(|byte| *byte == 0) {
        return true;
    }
    first_frame(rest).is_none()
        && rest.len() <= LOOKED_THROUGH
        && !(1..rest.len()).any(|at| read_frames(&rest[at..], |_| true) > 0)
}

/// Keeps a copy of a damaged file for its operator; the file itself goes with the next snapshot.
fn set_aside(path: &Path) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    std::fs::copy(path, name).map(drop)
}

fn create_log(folder: &Path, number: u64, sync: bool) -> io::Result<File> {
    let log = private()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path(folder, number, LOG))?;
    log.write_all_at(MAGIC, 0)?;
    if sync {
        log.sync_data()?;
        sync_folder(folder)?;
    }
    Ok(log)
}

/// Bytes of all files but the log of that number.
fn sealed(folder: &Path, number: u64) -> io::Result<u64> {
    let listed = list(folder)?;
    let logs = listed.logs.into_iter().filter(|log| *log != number);
    let logs = logs.map(|number| (number, LOG));
    let snapshots = listed
        .snapshots
        .into_iter()
        .map(|number| (number, SNAPSHOT));
    let mut bytes = 0;
    for (number, kind) in logs.chain(snapshots) {
        match std::fs::metadata(path(folder, number, kind)) {
            Ok(metadata) => bytes += metadata.len(),
            // Whoever had it open before may be removing it.
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => {}
            Err(problem) => return Err(problem),
        }
    }
    Ok(bytes)
}

fn path(folder: &Path, number: u64, kind: &str) -> PathBuf {
    folder.join(format!("{number:08}.{kind}"))
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
