//! `[folders.NAME]`: folders on the disk, and the place where clients of every service see them.

use std::path::{Path, PathBuf};

use super::diagnostics::{Diagnostics, Place};
use super::read::Reader;
use super::service::is_name;
use super::tree::{Entry, Kind};

/// The keys of a folder.
pub const KEYS: &[&str] = &["path", "at", "symlinks", "hidden", "homes"];

/// What may stand for `symlinks`.
const SYMLINKS: [&str; 3] = ["never", "inside", "follow"];

/// One folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// Where it is on the disk, absolute.
    pub path: PathBuf,
    /// The path at which clients see it: absolute and normalised, not `/`.
    pub at: String,
    /// What happens to symbolic links in it.
    pub symlinks: &'static str,
    /// Whether names that begin with a dot are served.
    pub hidden: bool,
    /// Whether accounts with a home see it in there.
    pub homes: bool,
}

/// The folders read so far: each place may be taken once.
#[derive(Default)]
pub struct Folders {
    list: Vec<(Folder, Place)>,
}

impl Folders {
    /// Reads one entry of `folders`.
    pub fn read(&mut self, entry: &Entry, base: &Path, diagnostics: &mut Diagnostics) {
        let name = &entry.key;
        let key = format!("folders.{name}");
        if !is_name(name) {
            let expected = "a folder's name of a-z, 0-9, _ and -";
            diagnostics.expected(&entry.place, &key, expected, format!("{name:?}"));
            return;
        }
        let Kind::Table(table) = &entry.node.kind else {
            diagnostics.expected(&entry.node.place, &key, "a table", entry.node.describe());
            return;
        };
        let mut reader = Reader::new(table, &key, KEYS, diagnostics);
        let path = reader.filled_text("path");
        let missing = reader.entry("path").is_none();
        let (at, place) = match reader.text("at") {
            Some((at, place)) => (at.to_owned(), place),
            None => (format!("/{name}"), &entry.place),
        };
        let symlinks = symlinks(&mut reader);
        let hidden = reader.boolean("hidden").unwrap_or(false);
        let homes = reader.boolean("homes").unwrap_or(false);
        if missing {
            let name = reader.name("path");
            let expected = "a folder, such as path = \"/srv/files\"";
            diagnostics.expected(&entry.place, &name, expected, "none");
        }
        let Some(at) = normal(&at) else {
            let expected = "a path such as \"/firmware\": absolute, not / itself, no name in it empty or \
                            beginning with a dot";
            diagnostics.expected(place, &format!("{key}.at"), expected, format!("{at:?}"));
            return;
        };
        if let Some((other, before)) = self.list.iter().find(|(other, _)| other.at == at) {
            let expected = format!(
                "a place that is free: {at:?} is that of folders.{} at {before}",
                other.name
            );
            diagnostics.expected(place, &format!("{key}.at"), &expected, format!("{at:?}"));
            return;
        }
        let Some(path) = path else { return };
        let folder = Folder {
            name: name.clone(),
            path: base.join(path),
            at,
            symlinks,
            hidden,
            homes,
        };
        self.list.push((folder, place.clone()));
    }

    /// All of them, in the order of the file.
    pub fn finish(self) -> Vec<Folder> {
        self.list.into_iter().map(|(folder, _)| folder).collect()
    }
}

impl Folder {
    /// What is wrong with it on the disk, if anything is.
    pub fn problem(&self) -> Option<String> {
        let got = match std::fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => return None,
            Ok(_) => "something else".to_owned(),
            Err(error) => error.to_string(),
        };
        Some(format!(
            "expected a folder at {}, got {got}",
            self.path.display()
        ))
    }
}

fn symlinks(reader: &mut Reader<'_, '_>) -> &'static str {
    let Some((text, place)) = reader.text("symlinks") else {
        return "inside";
    };
    let known = SYMLINKS.into_iter().find(|known| *known == text);
    if known.is_none() {
        let name = reader.name("symlinks");
        let expected = "\"never\", \"inside\" or \"follow\"";
        reader
            .diagnostics()
            .expected(place, &name, expected, format!("{text:?}"));
    }
    known.unwrap_or("inside")
}

/// The path without a slash at its end; none for what is no place for a folder.
fn normal(at: &str) -> Option<String> {
    let names: Vec<&str> = at
        .strip_prefix('/')?
        .trim_end_matches('/')
        .split('/')
        .collect();
    let fine = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains('\0');
    names
        .iter()
        .all(fine)
        .then(|| format!("/{}", names.join("/")))
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn places_are_absolute_and_visible() {
        assert_eq!(normal("/a"), Some("/a".into()));
        assert_eq!(normal("/a/b c/"), Some("/a/b c".into()));
        for wrong in [
            "", "/", "a", "/a//b", "/a/../b", "/./a", "/.a", "//", "/a\0",
        ] {
            assert_eq!(normal(wrong), None, "{wrong:?}");
        }
    }
}
