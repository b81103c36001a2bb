//! The plugins folder: which library serves which plugin name.

use std::path::{Path, PathBuf};

use polyport_abi::manifest::Manifest;

use super::manifest;

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

/// The file that serves a plugin: the one named after it, else the one whose manifest names it.
///
/// # Errors
/// One line that says where was looked, and what is there.
pub fn find(folder: &Path, plugin: &str) -> Result<PathBuf, String> {
    let expected = folder.join(file_name(plugin));
    if expected.exists() {
        return Ok(expected);
    }
    let entries = scan(folder)?;
    if let Some(entry) = entries
        .iter()
        .find(|entry| entry.manifest.as_ref().is_ok_and(|m| m.name == plugin))
    {
        return Ok(entry.path.clone());
    }
    let known: Vec<&str> = entries
        .iter()
        .filter_map(|entry| entry.manifest.as_ref().ok())
        .map(|m| m.name.as_str())
        .collect();
    let known = if known.is_empty() {
        "no plugin".to_owned()
    } else {
        known.join(", ")
    };
    Err(format!(
        "plugin {plugin:?}: expected {} or a library of that name in {}, got {known}",
        file_name(plugin),
        folder.display()
    ))
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
        let error = find(folder.path(), "http-files").unwrap_err();
        assert!(
            error.contains("libpolyport_http_files.so") && error.contains("got no plugin"),
            "{error}"
        );
        assert!(
            find(&folder.path().join("none"), "x")
                .unwrap_err()
                .contains("cannot be read")
        );
    }

    #[test]
    fn the_file_named_after_the_plugin_is_found_without_reading_others() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("libpolyport_http_files.so");
        std::fs::write(&file, "whatever").unwrap();
        assert_eq!(find(folder.path(), "http-files").unwrap(), file);
    }
}
