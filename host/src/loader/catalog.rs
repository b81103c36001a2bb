//! The plugins folder: which library serves which plugin name.

use std::path::{Path, PathBuf};

use polyport_abi::manifest::Manifest;

use super::{copies, manifest};

/// One library of the folder.
#[derive(Debug)]
pub struct Entry {
    /// Its file.
    pub path: PathBuf,
    /// What it says of itself, or what is wrong with it.
    pub manifest: Result<Manifest, String>,
}

/// The libraries of a folder, in the order of their names.
///
/// # Errors
/// Why the folder cannot be read.
pub fn scan(folder: &Path) -> Result<Vec<Entry>, String> {
    let unreadable = |error| {
        format!(
            "plugins folder {}: cannot be read: {error}",
            folder.display()
        )
    };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "so") {
            entries.push(Entry {
                manifest: manifest::of_file(&path),
                path,
            });
        }
    }
    entries.sort_by(|one, two| one.path.cmp(&two.path));
    Ok(entries)
}

/// The file that serves a plugin: of the libraries whose manifest names it, the one with the pinned hash, else the
/// newest by version. One that is named after the plugin and says nothing of itself is chosen as well: loading it
/// tells what is wrong.
///
/// # Errors
/// One line that says where was looked, and what is there.
pub fn find(folder: &Path, plugin: &str, pin: Option<&str>) -> Result<PathBuf, String> {
    let entries = scan(folder)?;
    let own = file_name(plugin);
    let is_own = |entry: &Entry| entry.path.file_name().is_some_and(|name| *name == *own);
    let named = |entry: &&Entry| entry.manifest.as_ref().is_ok_and(|m| m.name == plugin);
    if let Some(pin) = pin {
        let mut got = Vec::new();
        for entry in entries.iter().filter(named) {
            let hash = copies::hash_of(&entry.path)
                .map_err(|error| format!("library {}: {error}", entry.path.display()))?;
            if hash == pin {
                return Ok(entry.path.clone());
            }
            got.push(format!("{} with {hash}", entry.path.display()));
        }
        return Err(format!(
            "plugin {plugin:?}: expected a library with sha256 {pin} in {}, got {}",
            folder.display(),
            listed(got)
        ));
    }
    if let Some(broken) = entries
        .iter()
        .find(|entry| is_own(entry) && entry.manifest.is_err())
    {
        return Ok(broken.path.clone());
    }
    let newest = entries
        .iter()
        .filter(named)
        .max_by_key(|entry| (version(entry), is_own(entry)));
    if let Some(entry) = newest {
        return Ok(entry.path.clone());
    }
    let known = entries
        .iter()
        .filter_map(|entry| Some(entry.manifest.as_ref().ok()?.name.clone()));
    Err(format!(
        "plugin {plugin:?}: expected {own} or a library of that name in {}, got {}",
        folder.display(),
        listed(known.collect())
    ))
}

fn listed(names: Vec<String>) -> String {
    if names.is_empty() {
        "no plugin".to_owned()
    } else {
        names.join(", ")
    }
}

/// Its version by the order of semantic versions; none, which is before all, for one that is none.
fn version(entry: &Entry) -> Option<semver::Version> {
    semver::Version::parse(&entry.manifest.as_ref().ok()?.version).ok()
}

/// The file name of a plugin's library: `http-files` is `libpolyport_http_files.so`.
fn file_name(plugin: &str) -> String {
    format!("libpolyport_{}.so", plugin.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_plugin_says_where_was_looked_and_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libother.so"), "no library").unwrap();
        let error = find(folder.path(), "http-files", None).unwrap_err();
        assert!(
            error.contains("libpolyport_http_files.so") && error.contains("got no plugin"),
            "{error}"
        );
        assert!(
            find(&folder.path().join("none"), "x", None)
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[test]
    fn a_broken_file_named_after_the_plugin_is_found_so_that_it_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libpolyport_http_files.so");
        std::fs::write(&file, "whatever").unwrap();
        assert_eq!(find(folder.path(), "http-files", None).unwrap(), file);
    }
}
