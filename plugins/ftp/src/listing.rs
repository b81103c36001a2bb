//! LIST, NLST, MLSD, STAT: the lines of a folder, in pieces, so that a large one takes no more memory than a
//! small one.
//!
//! The calls block; run them on a blocking thread. Knows no socket.

use std::os::unix::ffi::OsStrExt;
use std::time::SystemTime;

use polyport_ftp_core::listing::{self, facts_line, long_line, matches, name_line};
use polyport_ftp_core::{Failure, ListStyle, Listing};
use polyport_sdk::accounts::Action;
use polyport_sdk::files::Entries;

use crate::files::{Files, client_path, failure, unix};

/// Names in one piece. They are sorted within it: of a folder with more, clients get several sorted runs.
const PIECE: usize = 10_000;

/// A listing that was opened.
pub(crate) struct Lines {
    files: Files,
    asked: Listing,
    rest: Rest,
}

enum Rest {
    /// The names of a folder.
    Folder(Box<Entries>),
    /// A file alone.
    File(Box<listing::Entry>),
    Nothing,
}

impl Files {
    /// Opens a folder, or a file to list alone.
    pub(crate) fn list(&self, asked: Listing) -> Result<Lines, Failure> {
        let path = client_path(&asked.path)?;
        if !self.view.allows(Action::List, &path) {
            return Err(Failure::Forbidden);
        }
        let metadata = self.view.metadata(&path).map_err(failure)?;
        let rest = if metadata.is_file() {
            let name = asked.path.name().as_bytes().to_vec();
            Rest::File(Box::new(self.entry(name, asked.path.as_str(), &metadata)))
        } else {
            Rest::Folder(Box::new(self.view.read_dir(&path).map_err(failure)?))
        };
        Ok(Lines {
            files: self.clone(),
            asked,
            rest,
        })
    }

    /// STAT: all lines of a folder of ordinary size.
    pub(crate) fn show(&self, asked: Listing) -> Result<Vec<u8>, Failure> {
        let mut lines = self.list(asked)?;
        let first = lines.next_piece()?.unwrap_or_default();
        match lines.next_piece()? {
            None => Ok(first),
            Some(_) => Err(Failure::Other(format!("More than {PIECE} names, use LIST"))),
        }
    }
}

impl Lines {
    /// The next lines; none at the end.
    pub(crate) fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let mut output = Vec::new();
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Nothing => return Ok(None),
            Rest::File(entry) => self.line(&entry, &mut output),
            Rest::Folder(mut entries) => {
                let mut found = Vec::new();
                while found.len() < PIECE
                    && let Some(entry) = entries.next()
                {
                    let entry = entry.map_err(failure)?;
                    if self.is_asked_for(&entry) {
                        found.push(entry);
                    }
                }
                if found.is_empty() {
                    return Ok(None);
                }
                found.sort_by(|a, b| a.name.cmp(&b.name));
                let folder = self.asked.path.as_str().trim_end_matches('/').to_owned();
                for entry in found {
                    let full = format!("{folder}/{}", entry.name.to_string_lossy());
                    let name = entry.name.as_bytes().to_vec();
                    let entry = self.files.entry(name, &full, &entry.metadata);
                    self.line(&entry, &mut output);
                }
                self.rest = Rest::Folder(entries);
            }
        }
        Ok(Some(output))
    }

    fn is_asked_for(&self, entry: &polyport_sdk::files::Entry) -> bool {
        let fits = match &self.asked.pattern {
            Some(pattern) => matches(pattern.as_bytes(), entry.name.as_bytes()),
            None => true,
        };
        fits && (self.asked.hidden || !entry.is_hidden())
    }

    fn line(&self, entry: &listing::Entry, output: &mut Vec<u8>) {
        match &self.asked.style {
            ListStyle::Long => long_line(entry, unix(SystemTime::now()), output),
            ListStyle::Names { prefix } => name_line(prefix, entry, output),
            ListStyle::Facts(facts) => facts_line(*facts, entry, output),
        }
    }
}
