//! The folder of the generations: `NNNNNN/` with `polyport.toml`, `accounts.ini` and `meta.json` each, and the
//! file `current`, which names the one in force.
//!
//! A generation is written under another name, brought to the disk, renamed, and only then named by `current`, which
//! is replaced by a rename as well: whenever the process ends, `current` names a whole generation.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::fault;
use super::{Generation, Meta, Texts};

const CURRENT: &str = "current";
const CONFIG: &str = "polyport.toml";
const ACCOUNTS: &str = "accounts.ini";
const META: &str = "meta.json";
/// What names under which something is being written begin with.
const FRESH: &str = "new-";

/// The generations of one state folder.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The generations in `state`, which may have none.
    pub fn new(state: &Path) -> Self {
        Self {
            folder: state.join("generations"),
        }
    }

    /// Removes what an earlier process began and did not commit.
    pub fn sweep(&self) {
        let Some(current) = self.named_current() else {
            return;
        };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let begun = name.to_str().is_some_and(|name| name.starts_with(FRESH));
            if begun || number(&entry.path()).is_some_and(|number| number > current) {
                // It is in nobody's way.
                let _ = fs::remove_dir_all(entry.path()).or_else(|_| fs::remove_file(entry.path()));
            }
        }
    }

    /// The number of the generation in force, or of the newest where nothing says which.
    pub fn current(&self) -> Option<u64> {
        self.named_current().or_else(|| self.numbers().pop_last())
    }

    /// The numbers of the kept generations.
    pub fn numbers(&self) -> BTreeSet<u64> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| number(&entry.path())).collect()
    }

    /// What is told of each kept generation, in order; those that cannot be read are left out.
    pub fn list(&self) -> Vec<Meta> {
        let numbers = self.numbers().into_iter();
        numbers
            .filter_map(|number| self.meta(number).ok())
            .collect()
    }

    /// A kept generation.
    ///
    /// # Errors
    /// One line that says what is missing.
    pub fn read(&self, number: u64) -> Result<Generation, String> {
        let meta = self.meta(number)?;
        let folder = self.folder_of(number);
        let read = |name: &str| {
            fs::read(folder.join(name))
                .map_err(|error| format!("generation {number}: {name}: {error}"))
        };
        let texts = Texts {
            config: read(CONFIG)?,
            accounts: if meta.accounts {
                Some(read(ACCOUNTS)?)
            } else {
                None
            },
            set: meta.set.clone(),
        };
        if texts.hash(&meta.services) != meta.hash {
            return Err(format!(
                "generation {number}: expected files with the hash {}, got others: {} was changed by hand",
                meta.hash,
                folder.display()
            ));
        }
        Ok(Generation { meta, texts })
    }

    /// Writes a generation, which is not in force before [`Store::commit`].
    ///
    /// # Errors
    /// One line.
    pub fn write(&self, generation: &Generation) -> Result<(), String> {
        self.try_write(generation)
            .map_err(|error| format!("{}: {error}", self.folder.display()))
    }

    /// Removes a generation that was written and is not committed.
    pub fn discard(&self, number: u64) {
        // The next start removes it as well.
        let _ = fs::remove_dir_all(self.folder_of(number));
    }

    /// Makes a generation that was written the one in force; keeps `keep` of them.
    ///
    /// # Errors
    /// One line; the one in force is then the one before.
    pub fn commit(&self, number: u64, keep: u16) -> Result<(), String> {
        self.replace(&self.folder, CURRENT, format!("{number}\n").as_bytes())
            .map_err(|error| format!("{}: {error}", self.folder.display()))?;
        fault::point("committed");
        let numbers = self.numbers();
        let old = numbers.len().saturating_sub(usize::from(keep));
        for number in numbers.into_iter().take(old) {
            // One that stays costs disk space, nothing else.
            let _ = fs::remove_dir_all(self.folder_of(number));
        }
        fault::point("old ones removed");
        Ok(())
    }

    /// Changes what came of a kept generation.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn set_result(&self, number: u64, result: &str) -> Result<(), String> {
        let mut meta = self.meta(number)?;
        result.clone_into(&mut meta.result);
        self.replace(&self.folder_of(number), META, &json(&meta))
            .map_err(|error| format!("generation {number}: {META}: {error}"))
    }

    /// The hashes of the libraries that kept generations name.
    pub fn libraries(&self) -> BTreeSet<String> {
        let metas = self.list().into_iter();
        metas
            .flat_map(|meta| meta.services.into_iter().map(|service| service.hash))
            .collect()
    }

    fn try_write(&self, generation: &Generation) -> io::Result<()> {
        let Generation { meta, texts } = generation;
        if !self.folder.exists() {
            private_folder(&self.folder)?;
            self.folder.parent().map_or(Ok(()), sync_folder)?;
        }
        fault::point("begun");
        let fresh = self.folder.join(format!("{FRESH}{}", std::process::id()));
        // Of this process, from an attempt that failed.
        let _ = fs::remove_dir_all(&fresh);
        private_folder(&fresh)?;
        fault::point("folder made");
        write_file(&fresh.join(CONFIG), &texts.config)?;
        fault::point("configuration written");
        if let Some(accounts) = &texts.accounts {
            write_file(&fresh.join(ACCOUNTS), accounts)?;
        }
        fault::point("accounts written");
        write_file(&fresh.join(META), &json(meta))?;
        sync_folder(&fresh)?;
        fault::point("all written");
        let folder = self.folder_of(meta.number);
        if folder.exists() {
            // Written once and never committed, or its number would not be free.
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(&fresh, &folder)?;
        fault::point("renamed");
        sync_folder(&self.folder)?;
        fault::point("on the disk");
        Ok(())
    }

    fn replace(&self, folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
        let fresh = folder.join(format!("{FRESH}{name}"));
        write_file(&fresh, bytes)?;
        fault::point("pointer written");
        fs::rename(&fresh, folder.join(name))?;
        sync_folder(folder)
    }

    fn meta(&self, number: u64) -> Result<Meta, String> {
        let named = |error: &dyn std::fmt::Display| format!("generation {number}: {META}: {error}");
        let bytes = match fs::read(self.folder_of(number).join(META)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(format!(
                    "expected one of the generations {}, got {number}",
                    listed(&self.numbers())
                ));
            }
            Err(error) => return Err(named(&error)),
        };
        serde_json::from_slice(&bytes).map_err(|error| named(&error))
    }

    /// What `current` says, if there is such a generation.
    fn named_current(&self) -> Option<u64> {
        let text = fs::read_to_string(self.folder.join(CURRENT)).ok()?;
        let number = text.trim().parse().ok()?;
        self.folder_of(number).is_dir().then_some(number)
    }

    fn folder_of(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:06}"))
    }
}

fn listed(numbers: &BTreeSet<u64>) -> String {
    let numbers: Vec<String> = numbers.iter().map(u64::to_string).collect();
    if numbers.is_empty() {
        "that are kept, which are none".to_owned()
    } else {
        numbers.join(", ")
    }
}

fn number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let digits = name.len() >= 6 && name.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| name.parse().ok()).flatten()
}

fn json(meta: &Meta) -> Vec<u8> {
    // Strings and numbers: nothing that JSON cannot say.
    let mut text = serde_json::to_vec_pretty(meta).unwrap_or_default();
    text.push(b'\n');
    text
}

fn private_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::GOOD;
    use super::*;

    fn generation(number: u64, text: &str) -> Generation {
        let texts = Texts {
            config: text.as_bytes().to_vec(),
            accounts: Some(b"[a]\n".to_vec()),
            set: vec!["a=1".into()],
        };
        let meta = Meta {
            number,
            time: super::super::now(),
            cause: "test".into(),
            hash: texts.hash(&[]),
            file: "/x/polyport.toml".into(),
            set: texts.set.clone(),
            accounts: true,
            services: vec![],
            changes: vec![],
            result: GOOD.into(),
            overrides: None,
        };
        Generation { meta, texts }
    }

    #[test]
    fn what_is_committed_is_read_again_and_old_ones_go() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::new(state.path());
        assert_eq!(store.current(), None);
        for number in 1..=5 {
            let one = generation(number, &format!("# {number}\n"));
            store.write(&one).unwrap();
            if number > 1 {
                assert_eq!(store.current(), Some(number - 1), "not committed");
            }
            store.commit(number, 3).unwrap();
            assert_eq!(store.current(), Some(number));
            assert_eq!(store.read(number), Ok(one));
        }
        assert_eq!(store.numbers(), BTreeSet::from([3, 4, 5]));
        store.set_result(4, "withdrawn").unwrap();
        assert_eq!(store.list()[1].result, "withdrawn");
        assert_eq!(
            store.read(1),
            Err("expected one of the generations 3, 4, 5, got 1".into())
        );
        let mode = |path: &str| {
            fs::metadata(store.folder.join(path))
                .unwrap()
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode("000005"), 0o700);
        assert_eq!(mode("000005/accounts.ini"), 0o600);
        assert_eq!(mode(""), 0o700);
    }

    #[test]
    fn what_was_begun_is_swept_and_what_was_touched_is_told() {
        let state = tempfile::tempdir().unwrap();
        let store = Store::new(state.path());
        store.write(&generation(1, "a")).unwrap();
        store.commit(1, 3).unwrap();
        fs::create_dir(store.folder.join("new-7")).unwrap();
        fs::create_dir(store.folder.join("000002")).unwrap();
        store.write(&generation(3, "c")).unwrap();
        store.discard(3);
        assert_eq!(store.numbers(), BTreeSet::from([1, 2]));
        store.sweep();
        assert_eq!(store.numbers(), BTreeSet::from([1]));
        assert!(!store.folder.join("new-7").exists());
        fs::write(store.folder.join("000001/polyport.toml"), "b").unwrap();
        assert!(store.read(1).unwrap_err().contains("was changed by hand"));
        fs::write(store.folder.join("current"), "rubbish").unwrap();
        assert_eq!(store.current(), Some(1));
    }
}
