//! From a library file to its checked functions: manifest, probe in a child, private copy, dlopen.
//!
//! The copy is what is loaded, never the operator's file: overwriting a mapped library kills the process, and
//! dlopen of a path that was loaded before gives the old library. A copy stays mapped until the process ends.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyport_abi::client::ClientV1;
use polyport_abi::handover::{Described, HandoverV1};
use polyport_abi::limits::KnownLimits;
use polyport_abi::listeners::ListenersV1;
use polyport_abi::manifest::Manifest;
use polyport_abi::operate::{Command, OperateV1};
use polyport_abi::plugin::{PluginV1, SettingProblem};
use polyport_abi::summary::SummaryV1;
use polyport_abi::{HostQuery, Interface, InterfaceError, InterfaceTable, ROption, find};

use super::copies::{self, Fresh};
use super::intake::{Intake, Terms, signature_file};
use super::manifest;
use super::probe::probe;

/// A loaded library.
#[derive(Debug)]
pub struct Library {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of its bytes, lowercase hexadecimal.
    pub hash: String,
    lifecycle: &'static PluginV1,
    summary: Option<&'static SummaryV1>,
    handover: Option<&'static HandoverV1>,
    listeners: Option<&'static ListenersV1>,
    operate: Option<&'static OperateV1>,
    hands_over: Described,
    description: serde_json::Value,
    limits: Option<KnownLimits>,
    live: Option<Vec<String>>,
}

/// The libraries that this process has loaded. Several may be loaded at once.
#[derive(Debug)]
pub struct Loader {
    copies: PathBuf,
    /// By hash. A place is locked while its library is loaded.
    loaded: Mutex<HashMap<String, Arc<Place>>>,
    /// What a file was when it was loaded, so that an untouched one is not read again.
    seen: Mutex<HashMap<PathBuf, Seen>>,
}

/// Where one library is, once it is loaded.
type Place = Mutex<Option<Arc<Library>>>;

/// A library that was let in.
#[derive(Debug, Clone)]
struct Seen {
    stamp: Stamp,
    signature: Option<Stamp>,
    intake: Intake,
    library: Arc<Library>,
}

/// Changes whenever a file's content does: identity, size, and both times to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp([i128; 6]);

impl Stamp {
    fn of(path: &Path) -> std::io::Result<Self> {
        let meta = fs::metadata(path)?;
        Ok(Self([
            meta.ino().into(),
            meta.size().into(),
            meta.mtime().into(),
            meta.mtime_nsec().into(),
            meta.ctime().into(),
            meta.ctime_nsec().into(),
        ]))
    }
}

impl Loader {
    /// A loader that keeps its private copies in `state`.
    pub fn new(state: &Path) -> Self {
        Self {
            copies: state.join("lib"),
            loaded: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    /// Loads the library at `path`, or gives the one of the same bytes that is already loaded.
    ///
    /// # Errors
    /// One line that names the file and what is wrong with it.
    pub fn load(&self, path: &Path, terms: Terms<'_>) -> Result<Arc<Library>, String> {
        let named = |error: String| format!("library {}: {error}", path.display());
        let unread = |error| named(format!("cannot be read: {error}"));
        let stamp = Stamp::of(path).map_err(unread)?;
        let signature = Stamp::of(&signature_file(path)).ok();
        terms.check_place(path).map_err(named)?;
        let seen = lock(&self.seen).get(path).cloned();
        if let Some(seen) = seen
            && (seen.stamp, seen.signature) == (stamp, signature)
            && seen.intake == *terms.intake
            && terms.pin.is_none_or(|pin| pin == seen.library.hash)
        {
            return Ok(seen.library);
        }
        let fresh = Fresh::copy(path, &self.copies).map_err(named)?;
        terms.check_copy(path, &fresh).map_err(named)?;
        let library = self.load_fresh(&fresh).map_err(named)?;
        let seen = Seen {
            stamp,
            signature,
            intake: terms.intake.clone(),
            library: Arc::clone(&library),
        };
        lock(&self.seen).insert(path.to_owned(), seen);
        Ok(library)
    }

    /// Loads the private copy of the library with this hash.
    ///
    /// # Errors
    /// One line, when it is not there any more or was touched.
    pub fn load_copy(&self, hash: &str) -> Result<Arc<Library>, String> {
        let path = self.copy_of(hash);
        let named = |error: String| format!("library {}: {error}", path.display());
        self.load_once(hash, || {
            let got = copies::hash_of(&path)?;
            if got == hash {
                fs::canonicalize(&path).map_err(|error| format!("cannot be read: {error}"))
            } else {
                Err(format!(
                    "expected the bytes that it is named after, got {got}"
                ))
            }
        })
        .map_err(named)
    }

    fn load_fresh(&self, fresh: &Fresh) -> Result<Arc<Library>, String> {
        self.load_once(&fresh.hash, || {
            // What is no library is not kept.
            manifest::of_file(&fresh.path)?;
            let kept = fresh.keep(&self.copy_of(&fresh.hash));
            kept.map_err(|error| format!("its private copy in {}: {error}", self.copies.display()))
        })
    }

    /// Loads the copy that `copy` gives, unless one with this hash is loaded.
    fn load_once(
        &self,
        hash: &str,
        copy: impl FnOnce() -> Result<PathBuf, String>,
    ) -> Result<Arc<Library>, String> {
        let place = Arc::clone(lock(&self.loaded).entry(hash.to_owned()).or_default());
        let mut place = lock(&place);
        if let Some(library) = &*place {
            return Ok(Arc::clone(library));
        }
        let copy = copy()?;
        let manifest = manifest::of_file(&copy)?;
        let description = probe(&copy)?;
        let offered = open(&copy, &manifest)?;
        let lifecycle = find(offered(PluginV1::ID)).map_err(|error| error.to_string())?;
        let summary = optional(&manifest, find(offered(SummaryV1::ID)));
        let handover = optional(&manifest, find(offered(HandoverV1::ID)));
        let listeners = optional(&manifest, find(offered(ListenersV1::ID)));
        let operate = optional(&manifest, find(offered(OperateV1::ID)));
        let library = Arc::new(Library {
            manifest,
            hash: hash.to_owned(),
            lifecycle,
            summary,
            handover,
            listeners,
            operate,
            hands_over: hands_over(&description),
            limits: known_limits(&description),
            live: live(&description),
            description,
        });
        *place = Some(Arc::clone(&library));
        Ok(library)
    }

    /// Where the private copy of the library with this hash is, if it is kept.
    pub fn copy_of(&self, hash: &str) -> PathBuf {
        self.copies.join(format!("{hash}.so"))
    }

    /// Brings the copies of these libraries to the disk, which may take a while; what cannot be is told by a start
    /// that needs it.
    pub fn sync(&self, hashes: impl IntoIterator<Item = String>) {
        let copies = hashes.into_iter().map(|hash| self.copy_of(&hash));
        let all: Vec<PathBuf> = copies.chain([self.copies.clone()]).collect();
        tokio::task::spawn_blocking(move || {
            all.iter()
                .try_for_each(|path| fs::File::open(path)?.sync_all())
        });
    }

    /// How many libraries are mapped.
    pub fn mapped(&self) -> usize {
        let places: Vec<Arc<Place>> = lock(&self.loaded).values().cloned().collect();
        places.iter().filter(|place| lock(place).is_some()).count()
    }

    /// Removes copies that earlier processes left, but for those with a hash to be kept. To be called before the first
    /// [`Loader::load`].
    pub fn sweep(&self, kept: &BTreeSet<String>) {
        for entry in fs::read_dir(&self.copies).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let hash = name.to_str().and_then(|name| name.strip_suffix(".so"));
            if hash.is_some_and(|hash| kept.contains(hash)) {
                continue;
            }
            // A copy that cannot be removed costs disk space, nothing else.
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Library {
    /// The plugin's functions.
    pub fn lifecycle(&self) -> &'static PluginV1 {
        self.lifecycle
    }

    /// The limits that its clients can be held to; none for a plugin of an SDK that had no limits.
    pub fn limits(&self) -> Option<&KnownLimits> {
        self.limits.as_ref()
    }

    /// The settings that a running instance takes over in place ([`polyport_abi::live`]); none for a plugin that does
    /// not say.
    pub fn live(&self) -> Option<&[String]> {
        self.live.as_deref()
    }

    /// How its connections are told in lines, if it knows how.
    pub fn summary(&self) -> Option<&'static SummaryV1> {
        self.summary
    }

    /// How an instance of it takes another's place, if it knows how.
    pub fn handover(&self) -> Option<&'static HandoverV1> {
        self.handover
    }

    /// How its running instances take listeners and give them back, if they can.
    pub fn listeners(&self) -> Option<&'static ListenersV1> {
        self.listeners
    }

    /// How its running instances take commands, if they can.
    pub fn operate(&self) -> Option<&'static OperateV1> {
        self.operate
    }

    /// The commands that its running instances take.
    pub fn commands(&self) -> Vec<Command> {
        commands(&self.description)
    }

    /// What it says that it hands over and takes.
    pub fn described_handover(&self) -> Described {
        self.hands_over
    }

    /// Whether an instance of it can take the connections of one of `before`.
    pub fn takes_from(&self, before: &Self) -> bool {
        self.handover.is_some()
            && before.handover.is_some()
            && self.manifest.name == before.manifest.name
            && self
                .described_handover()
                .takes(&before.described_handover())
    }

    /// Whether an instance of it can take what only one may have from one of `before`.
    pub fn inherits_from(&self, before: &Self) -> bool {
        self.takes_from(before)
            && self.described_handover().estate
            && before.described_handover().estate
    }

    /// The plugin's words for listeners with TLS, and the scheme that each of them carries; none: it was made
    /// with an SDK that cannot do TLS.
    pub fn tls_schemes(&self) -> Option<Vec<(String, String)>> {
        serde_json::from_value(self.description.get("tls_schemes")?.clone()).ok()
    }

    /// What the plugin finds wrong with settings; empty when it takes them.
    pub fn configure(&self, settings: &serde_json::Value) -> Vec<SettingProblem> {
        let settings = settings.to_string();
        let answer = (self.lifecycle.configure)(settings.as_bytes().into());
        serde_json::from_slice(answer.as_slice()).unwrap_or_else(|error| {
            let expected = "a list of problems from the plugin".to_owned();
            vec![SettingProblem {
                key: String::new(),
                expected,
                got: error.to_string(),
            }]
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hands_over(description: &serde_json::Value) -> Described {
    let described = description.get("handover").cloned();
    described
        .and_then(|described| serde_json::from_value(described).ok())
        .unwrap_or_default()
}

/// An interface that a plugin may do without.
fn optional<T>(
    manifest: &Manifest,
    found: Result<&'static T, InterfaceError>,
) -> Option<&'static T> {
    match found {
        Ok(table) => Some(table),
        Err(InterfaceError::Missing { .. }) => None,
        Err(error) => {
            tracing::warn!("plugin {}: {error}", manifest.name);
            None
        }
    }
}

/// The commands that a plugin describes.
pub fn commands(description: &serde_json::Value) -> Vec<Command> {
    let commands = description.get("commands").cloned();
    commands
        .and_then(|commands| serde_json::from_value(commands).ok())
        .unwrap_or_default()
}

fn live(description: &serde_json::Value) -> Option<Vec<String>> {
    serde_json::from_value(description.get("live")?.clone()).ok()
}

fn known_limits(description: &serde_json::Value) -> Option<KnownLimits> {
    serde_json::from_value(description.get("limits")?.clone()).ok()
}

/// The client commands of the library at `path`, for a process that does nothing else; none if it has none.
/// A library that crashes on loading ends this process, so there is no probe. The copy is gone at once: what
/// is mapped stays.
///
/// # Errors
/// One line that names the file and what is wrong with it.
pub fn client(path: &Path) -> Result<Option<&'static ClientV1>, String> {
    let named = |error: String| format!("library {}: {error}", path.display());
    let folder = tempfile::tempdir()
        .map_err(|error| named(format!("no temporary folder for its copy: {error}")))?;
    let copy = Fresh::copy(path, folder.path()).map_err(named)?;
    let manifest = manifest::of_file(&copy.path).map_err(named)?;
    match open(&copy.path, &manifest).map_err(named)?(ClientV1::ID) {
        ROption::RNone => Ok(None),
        offered => find(offered)
            .map(Some)
            .map_err(|error| named(error.to_string())),
    }
}

/// Opens a library and asks it for an interface.
pub(super) fn ask<T: InterfaceTable>(
    copy: &Path,
    manifest: &Manifest,
) -> Result<&'static T, String> {
    find(open(copy, manifest)?(T::ID)).map_err(|error| error.to_string())
}

/// Maps a library for as long as the process, checks its root and gives the question for its interfaces.
fn open(
    copy: &Path,
    manifest: &Manifest,
) -> Result<impl Fn(&'static str) -> ROption<Interface> + use<>, String> {
    // SAFETY: runs the library's initialisers. That is what loading a plugin means; the probe's child did the
    // same before, so a library whose initialisers crash does not get here in the host.
    let library =
        unsafe { libloading::Library::new(copy) }.map_err(|error| format!("dlopen: {error}"))?;
    // Never closed: its code may still be on a thread's stack.
    let library: &'static libloading::Library = Box::leak(Box::new(library));
    // SAFETY: only the address is taken.
    let entry = unsafe { library.get::<*const ()>(manifest.entry.as_bytes()) }.map_err(|_| {
        format!(
            "expected the entry symbol {} that its manifest names, got none",
            manifest.entry
        )
    })?;
    // SAFETY: the symbol is the one that the manifest names, in a library that stays mapped.
    let root = unsafe { polyport_abi::load::root(*entry) }?;
    let none = HostQuery {
        ctx: std::ptr::null(),
        interface: offers_nothing,
    };
    Ok(move |id: &'static str| (root.interface())(none, id.into()))
}

extern "C" fn offers_nothing(
    _: *const (),
    _: polyport_abi::RStr<'_>,
) -> ROption<polyport_abi::Interface> {
    ROption::RNone
}
