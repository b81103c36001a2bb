//! The program that an upgrade starts: the file that this process was started by, as the path was given then, whatever
//! lies there now.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The argument of `polyport run` that makes it take another process's place.
pub const TAKE_OVER: &str = "--take-over";

/// How this process was started, to be read while nothing has changed yet.
#[derive(Debug, Clone)]
pub struct Program {
    file: PathBuf,
    arguments: Vec<OsString>,
}

impl Program {
    /// Of this process.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn of_this_process() -> std::io::Result<Self> {
        let running = std::env::current_exe()?;
        let mut arguments = std::env::args_os();
        let called = arguments.next().unwrap_or_default();
        let search = std::env::var_os("PATH").unwrap_or_default();
        let same = |path: &PathBuf| is_same(path, Path::new("/proc/self/exe"));
        Ok(Self {
            file: found(&called, &search).find(same).unwrap_or(running),
            arguments: arguments.filter(|argument| argument != TAKE_OVER).collect(),
        })
    }

    /// Its path; symbolic links on the way are followed anew each time.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What it is started with to take this process's place.
    pub fn arguments(&self) -> impl Iterator<Item = &OsStr> {
        let take_over = std::iter::once(OsStr::new(TAKE_OVER));
        self.arguments
            .iter()
            .map(OsString::as_os_str)
            .chain(take_over)
    }

    /// Whether there is something to start.
    ///
    /// # Errors
    /// What there is in its place.
    pub fn check(&self) -> Result<(), String> {
        let named = |what: &str| {
            let file = self.file.display();
            format!("program {file}: expected a program, got {what}")
        };
        match std::fs::metadata(&self.file) {
            Err(error) => Err(named(&error.to_string())),
            Ok(meta) if !meta.is_file() => Err(named("something else than a file")),
            Ok(meta) if meta.permissions().mode() & 0o111 == 0 => {
                Err(named("a file that is not executable"))
            }
            Ok(_) => Ok(()),
        }
    }
}

/// Where a program called so may lie: a path is one, a mere name is looked for as a shell does.
fn found(called: &OsStr, search: &OsStr) -> impl Iterator<Item = PathBuf> {
    let folders: Vec<PathBuf> = if called.as_bytes().contains(&b'/') {
        vec![PathBuf::new()]
    } else {
        std::env::split_paths(search).collect()
    };
    let called = called.to_owned();
    folders
        .into_iter()
        .filter_map(move |folder| std::path::absolute(folder.join(&called)).ok())
}

fn is_same(one: &Path, other: &Path) -> bool {
    let identity = |path| std::fs::metadata(path).map(|meta| (meta.dev(), meta.ino()));
    matches!((identity(one), identity(other)), (Ok(one), Ok(other)) if one == other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_itself_and_a_name_is_looked_for() {
        let all = |called: &str| -> Vec<PathBuf> {
            found(OsStr::new(called), OsStr::new("/a:/b")).collect()
        };
        assert_eq!(all("/x/polyport"), [PathBuf::from("/x/polyport")]);
        assert_eq!(
            all("polyport"),
            [PathBuf::from("/a/polyport"), PathBuf::from("/b/polyport")]
        );
        let here = std::env::current_dir().unwrap();
        assert_eq!(all("./polyport"), [here.join("polyport")]);
        assert_eq!(all("bin/polyport"), [here.join("bin/polyport")]);
    }

    #[test]
    fn what_cannot_be_started_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("program");
        let program = Program {
            file: file.clone(),
            arguments: vec!["run".into()],
        };
        assert!(program.check().unwrap_err().contains("No such file"));
        std::fs::write(&file, "").unwrap();
        assert!(program.check().unwrap_err().contains("not executable"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(program.check(), Ok(()));
        let arguments: Vec<_> = program.arguments().collect();
        assert_eq!(arguments, ["run", TAKE_OVER]);
    }
}
