//! Measures homes for their accounts' quotas, on a thread of its own: a home may hold millions of files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Instant;

use super::usage::Usage;

/// The thread; it ends when this is dropped.
#[derive(Debug)]
pub struct Measurer {
    homes: Sender<(PathBuf, Weak<Usage>)>,
}

impl Measurer {
    /// Starts the thread.
    pub fn start() -> io::Result<Self> {
        let (homes, queue) = channel::<(PathBuf, Weak<Usage>)>();
        thread::Builder::new()
            .name("quota".to_owned())
            .spawn(move || {
                for (home, usage) in queue {
                    // Nobody asks any more for an account that is gone.
                    if usage.strong_count() == 0 {
                        continue;
                    }
                    let bytes = bytes_beneath(&home);
                    if let Some(usage) = usage.upgrade() {
                        usage.measured(bytes, Instant::now());
                    }
                }
            })?;
        Ok(Self { homes })
    }

    /// Has `home` measured; the bytes go to `usage`.
    pub fn measure(&self, home: &Path, usage: &Arc<Usage>) {
        // The thread lives as long as the sender.
        let _ = self.homes.send((home.to_owned(), Arc::downgrade(usage)));
    }
}

/// The bytes of all files beneath `folder`, symbolic links not followed. What cannot be read counts
/// nothing.
fn bytes_beneath(folder: &Path) -> u64 {
    let mut bytes = 0_u64;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => folders.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes = bytes.saturating_add(metadata.len()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn files_are_summed_up_and_links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("a/b")).unwrap();
        fs::write(path("one"), [0; 10]).unwrap();
        fs::write(path("a/b/two"), [0; 200]).unwrap();
        symlink("/usr", path("usr")).unwrap();
        symlink("one", path("same")).unwrap();
        symlink("..", path("a/up")).unwrap();
        assert_eq!(bytes_beneath(folder.path()), 210);
        assert_eq!(bytes_beneath(&path("none")), 0);
    }
}
