//! What bridges keep beside their sessions: what this broker is called, and what each has subscribed to elsewhere.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The folder of it.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    folder: PathBuf,
}

impl Memory {
    pub(super) fn new(state_dir: &Path) -> Self {
        Self {
            folder: state_dir.join("bridges"),
        }
    }

    /// What this broker is called, from the first time on.
    pub(super) fn name(&self) -> io::Result<String> {
        let file = self.folder.join(".name");
        match std::fs::read_to_string(&file) {
            Ok(name) if !name.is_empty() => return Ok(name),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        let name: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.write(".name", name.as_bytes())?;
        Ok(name)
    }

    /// The filters that a bridge has subscribed to at the other broker; none if it was never there.
    pub(super) fn filters(&self, bridge: &str) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.folder.join(bridge)).ok()?;
        let filters = text.split_terminator('\0').map(str::to_owned);
        Some(filters.collect())
    }

    /// Keeps them, on the disk.
    pub(super) fn keep_filters(&self, bridge: &str, filters: &[impl AsRef<str>]) -> io::Result<()> {
        let filters = filters.iter().map(AsRef::as_ref);
        let text: String = filters.flat_map(|filter| [filter, "\0"]).collect();
        self.write(bridge, text.as_bytes())
    }

    /// Forgets a bridge.
    pub(super) fn forget(&self, bridge: &str) -> io::Result<()> {
        match std::fs::remove_file(self.folder.join(bridge)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        // Every bridge its own: two may write at once.
        let new = self.folder.join(format!(".new-{name}"));
        let file = self.folder.join(name);
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut opened = options.open(&new)?;
        opened.write_all(bytes)?;
        opened.sync_all()?;
        std::fs::rename(&new, &file)?;
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_stays_and_filters_are_those_that_were_kept() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        let name = memory.name().unwrap();
        assert_eq!((name.len(), memory.name().unwrap()), (16, name));
        assert_eq!(memory.filters("a"), None);
        memory.keep_filters("a", &["x/#", "y"]).unwrap();
        assert_eq!(memory.filters("a").unwrap(), ["x/#", "y"]);
        memory.keep_filters("a", &[""; 0]).unwrap();
        assert_eq!(memory.filters("a"), Some(vec![]));
        memory.forget("a").unwrap();
        memory.forget("a").unwrap();
        assert_eq!(memory.filters("a"), None);
    }

    #[test]
    fn bridges_that_keep_theirs_at_once_keep_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let memory = Memory::new(folder.path());
        std::thread::scope(|scope| {
            for bridge in ["a", "b", "c", "d"] {
                let memory = &memory;
                scope.spawn(move || {
                    for _ in 0..100 {
                        memory.keep_filters(bridge, &[bridge]).unwrap();
                        assert_eq!(memory.filters(bridge).unwrap(), [bridge]);
                    }
                });
            }
        });
    }
}
