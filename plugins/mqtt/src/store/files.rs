//! Logs and snapshots: names, headers, loading, compaction.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use polyport_mqtt_core::store::{State, read_frames};

use super::Loaded;

/// First bytes of every file: what it is and the version of its format.
const MAGIC: &[u8; 16] = b"polyport-mqtt 1\n";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
const UNFINISHED: &str = "tmp";

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
    snapshot_bytes: u64,
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
    /// Bytes of the snapshot beneath all logs.
    pub(crate) snapshot_bytes: u64,
    /// What is in it was put on the disk.
    pub(crate) synced: bool,
}

/// Logs that are no longer written to, to be replaced by a snapshot.
#[derive(Debug)]
pub(super) struct Sealed {
    folder: PathBuf,
    sync: bool,
    /// The log after the last of them.
    next: u64,
}

/// Opens the folder, reads what is there and starts a new log on a fresh snapshot of it.
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

    let listed = list(folder)?;
    for unfinished in &listed.unfinished {
        std::fs::remove_file(unfinished)?;
    }
    let last = listed
        .logs
        .last()
        .copied()
        .max(listed.snapshots.last().copied())
        .unwrap_or(0);
    let mut loaded = Loaded::default();
    load(folder, last + 1, &mut loaded)?;

    let number = last + 1;
    let log = create_log(folder, number, sync)?;
    let snapshot_bytes = write_snapshot(folder, number, &loaded.state, sync)?;
    remove_before(folder, number)?;
    let files = Files {
        folder: folder.to_owned(),
        sync,
        synced: sync,
        lock,
        log,
        number,
        length: MAGIC.len() as u64,
        snapshot_bytes,
    };
    Ok((files, loaded))
}

impl Files {
    /// Goes on with a store that is open already.
    pub(super) fn inherit(folder: &Path, sync: bool, bequest: Bequest) -> Files {
        let Place {
            number,
            length,
            snapshot_bytes,
            synced,
        } = bequest.place;
        Files {
            folder: folder.to_owned(),
            sync,
            synced,
            lock: bequest.lock.into(),
            log: bequest.log.into(),
            number,
            length,
            snapshot_bytes,
        }
    }

    /// Itself once more, for who writes to it next.
    pub(super) fn bequeath(&self) -> io::Result<Bequest> {
        Ok(Bequest {
            place: Place {
                number: self.number,
                length: self.length,
                snapshot_bytes: self.snapshot_bytes,
                synced: self.sync && self.synced,
            },
            lock: self.lock.try_clone()?.into(),
            log: self.log.try_clone()?.into(),
        })
    }

    /// Puts what was written when nobody asked for that on the disk.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        if self.synced || !self.sync {
            return Ok(());
        }
        let listed = list(&self.folder)?;
        let logs = listed.logs.into_iter().map(|number| (number, LOG));
        let snapshots = listed
            .snapshots
            .into_iter()
            .map(|number| (number, SNAPSHOT));
        for (number, kind) in logs.chain(snapshots) {
            File::open(path(&self.folder, number, kind))?.sync_all()?;
        }
        sync_folder(&self.folder)?;
        self.synced = true;
        Ok(())
    }

    /// Appends whole frames. After an error nothing counts as written and the same bytes may be
    /// appended again.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.log.write_all_at(bytes, self.length)
    }

    /// Puts what was appended on the disk.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.log.sync_data()
    }

    /// Counts appended bytes as written.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.length += bytes as u64;
    }

    /// Bytes in the present log and in the snapshot beneath all logs.
    pub(super) fn sizes(&self) -> (u64, u64) {
        (self.length, self.snapshot_bytes)
    }

    /// Goes on in a new log and gives the old ones to be compacted.
    pub(super) fn rotate(&mut self) -> io::Result<Sealed> {
        self.flush()?;
        let next = self.number + 1;
        self.log = create_log(&self.folder, next, self.sync)?;
        self.number = next;
        self.length = MAGIC.len() as u64;
        Ok(Sealed {
            folder: self.folder.clone(),
            sync: self.sync,
            next,
        })
    }

    /// A snapshot of this size was written.
    pub(super) fn compacted(&mut self, bytes: u64) {
        self.snapshot_bytes = bytes;
    }
}

impl Sealed {
    /// Replaces the logs by one snapshot, unless that is given up meanwhile; gives its size. Runs beside the writer: it reads only
    /// what is no longer written to.
    pub(super) fn compact(&self, given_up: &AtomicBool) -> io::Result<u64> {
        let wanted = || match given_up.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::Interrupted.into()),
            false => io::Result::Ok(()),
        };
        wanted()?;
        let mut loaded = Loaded::default();
        load(&self.folder, self.next, &mut loaded)?;
        wanted()?;
        if let Some(damage) = loaded.damage.first() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, damage.clone()));
        }
        let bytes = write_snapshot(&self.folder, self.next, &loaded.state, self.sync)?;
        remove_before(&self.folder, self.next)?;
        Ok(bytes)
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

/// Reads the newest snapshot before `end` and the logs from it on.
fn load(folder: &Path, end: u64, loaded: &mut Loaded) -> io::Result<()> {
    let listed = list(folder)?;
    let snapshot = listed.snapshots.into_iter().rfind(|number| *number < end);
    if let Some(number) = snapshot {
        read(folder, number, SNAPSHOT, false, loaded)?;
    }
    let first = snapshot.unwrap_or(0);
    let logs: Vec<u64> = listed
        .logs
        .into_iter()
        .filter(|number| (first..end).contains(number))
        .collect();
    for (at, &number) in logs.iter().enumerate() {
        read(folder, number, LOG, at + 1 == logs.len(), loaded)?;
    }
    Ok(())
}

fn read(
    folder: &Path,
    number: u64,
    kind: &str,
    newest: bool,
    loaded: &mut Loaded,
) -> io::Result<()> {
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
        }
        return Ok(());
    };
    let whole = read_frames(records, |body| loaded.state.apply(body));
    let rest = records.len() - whole;
    // The last record of the newest log may be torn by a crash: it was never acknowledged.
    if rest > 0 && !(newest && is_torn(&records[whole..])) {
        loaded.damage.push(format!(
            "{name}: unreadable from byte {}; {rest} bytes left aside",
            whole + MAGIC.len()
        ));
        set_aside(&path)?;
    }
    Ok(())
}

/// Whether nothing sound follows: then a write was cut short. Sound records behind an unreadable
/// one mean that something acknowledged was damaged.
fn is_torn(rest: &[u8]) -> bool {
    const LOOKED_THROUGH: usize = 1 << 20;
    !(1..rest.len().min(LOOKED_THROUGH)).any(|at| read_frames(&rest[at..], |_| true) > 0)
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

/// Writes a snapshot under a temporary name and renames it when it is whole and on disk.
fn write_snapshot(folder: &Path, number: u64, state: &State, sync: bool) -> io::Result<u64> {
    let unfinished = path(folder, number, UNFINISHED);
    let mut file = private()
        .create(true)
        .truncate(true)
        .write(true)
        .open(&unfinished)?;
    let journal = state.to_journal();
    file.write_all(MAGIC)?;
    file.write_all(journal.bytes())?;
    if sync {
        file.sync_all()?;
    }
    std::fs::rename(&unfinished, path(folder, number, SNAPSHOT))?;
    if sync {
        sync_folder(folder)?;
    }
    Ok((MAGIC.len() + journal.bytes().len()) as u64)
}

fn remove_before(folder: &Path, number: u64) -> io::Result<()> {
    let listed = list(folder)?;
    let logs = listed.logs.into_iter().map(|number| (number, LOG));
    let snapshots = listed
        .snapshots
        .into_iter()
        .map(|number| (number, SNAPSHOT));
    for (old, kind) in logs.chain(snapshots).filter(|(old, _)| *old < number) {
        std::fs::remove_file(path(folder, old, kind))?;
    }
    Ok(())
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
