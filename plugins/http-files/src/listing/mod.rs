//! What is in a folder, in the order and the form the client wants.

mod html;
mod json;

use std::cmp::Ordering;
use std::os::unix::ffi::OsStrExt;

use polyport_sdk::files::{ClientPath, Entry, Error};
use polyport_sdk::http::{Problem, Request, Response, StatusCode, header};
use time::OffsetDateTime;

use crate::target::segment;
use crate::utc;

/// One line of a listing.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    /// Relative link, encoded.
    link: String,
    is_dir: bool,
    size: u64,
    modified: OffsetDateTime,
}

/// A folder to be shown.
#[derive(Debug)]
pub struct Listing {
    path: ClientPath,
    rows: Vec<Row>,
    view: View,
}

/// How it is to be shown.
#[derive(Clone, Debug)]
pub struct View {
    format: Format,
    sort: Sort,
    descending: bool,
    /// Whether the client may upload here, and is offered to.
    pub upload: bool,
    /// Whether it may fetch the folder as a whole.
    pub archive: bool,
    /// Whether it is offered to log in, for rights it lacks.
    pub login: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Html,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    Name,
    Size,
    Date,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Size => "size",
            Self::Date => "date",
        }
    }
}

impl View {
    /// Reads `?format=`, `?sort=` and `?order=`; without a format the `Accept` field decides.
    ///
    /// # Errors
    /// 400 for a value that is not known.
    pub fn of(request: &Request) -> Result<Self, Problem> {
        let format = match request.query_value("format").as_deref() {
            Some("json") => Format::Json,
            Some("html") => Format::Html,
            Some(other) => return Err(unknown("format", "html or json", other)),
            None if request.accepts("application/json") > request.accepts("text/html") => {
                Format::Json
            }
            None => Format::Html,
        };
        let sort = match request.query_value("sort").as_deref() {
            Some("name") | None => Sort::Name,
            Some("size") => Sort::Size,
            Some("date") => Sort::Date,
            Some(other) => return Err(unknown("sort", "name, size or date", other)),
        };
        let descending = match request.query_value("order").as_deref() {
            Some("asc") | None => false,
            Some("desc") => true,
            Some(other) => return Err(unknown("order", "asc or desc", other)),
        };
        Ok(Self {
            format,
            sort,
            descending,
            upload: false,
            archive: false,
            login: false,
        })
    }
}

fn unknown(key: &str, expected: &str, got: &str) -> Problem {
    Problem::bad_request(format!("{key}: expected {expected}, got {got:?}"))
}

impl Listing {
    /// Shows the entries of a folder. Blocks.
    ///
    /// # Errors
    /// What the file system says of one of them.
    pub fn read(
        entries: impl Iterator<Item = Result<Entry, Error>>,
        path: &ClientPath,
        view: View,
    ) -> Result<Self, Error> {
        let mut rows = Vec::new();
        for entry in entries {
            rows.push(Row::of(&entry?));
        }
        rows.sort_by(|a, b| compare(a, b, view.sort, view.descending));
        Ok(Self {
            path: path.clone(),
            rows,
            view,
        })
    }

    /// The path with the slash that makes it a folder's.
    fn shown_path(&self) -> String {
        let slash = if self.path.is_root() { "" } else { "/" };
        format!("{}{slash}", self.path)
    }

    /// The response, and its header for `HEAD`.
    pub fn respond(&self) -> Response {
        let (kind, body) = match self.view.format {
            Format::Html => ("text/html; charset=utf-8", html::page(self)),
            Format::Json => ("application/json", json::document(self)),
        };
        Response::new(StatusCode::OK)
            .content(kind, body)
            .header(header::VARY, "accept")
            .header(header::CACHE_CONTROL, "no-cache")
            .header(
                header::CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'self'",
            )
    }
}

impl Row {
    fn of(entry: &Entry) -> Self {
        let is_dir = entry.metadata.is_dir();
        let slash = if is_dir { "/" } else { "" };
        Self {
            name: entry.name.to_string_lossy().into_owned(),
            // "./" keeps a name with a colon from being read as a scheme.
            link: format!("./{}{slash}", segment(entry.name.as_bytes())),
            is_dir,
            size: entry.metadata.len,
            modified: utc::of(entry.metadata.modified),
        }
    }
}

/// Folders first, whatever the order; names break ties.
fn compare(a: &Row, b: &Row, sort: Sort, descending: bool) -> Ordering {
    let names = || {
        a.name
            .to_lowercase()
            .cmp(&b.name.to_lowercase())
            .then_with(|| a.name.cmp(&b.name))
    };
    let by_key = match sort {
        Sort::Name => names(),
        Sort::Size => a.size.cmp(&b.size).then_with(names),
        Sort::Date => a.modified.cmp(&b.modified).then_with(names),
    };
    b.is_dir
        .cmp(&a.is_dir)
        .then(if descending { by_key.reverse() } else { by_key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyport_sdk::files::{Jail, Symlinks};

    fn view(format: Format, sort: Sort, descending: bool) -> View {
        View {
            format,
            sort,
            descending,
            upload: true,
            archive: true,
            login: false,
        }
    }

    fn listing(format: Format, sort: Sort, descending: bool) -> Listing {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("zoo")).unwrap();
        for (name, size) in [("b<i>.txt", 3), ("A.txt", 2000), ("c&d.txt", 0)] {
            std::fs::write(folder.path().join(name), vec![b'x'; size]).unwrap();
        }
        let jail = Jail::open(folder.path(), Symlinks::Inside).unwrap();
        let root = ClientPath::root();
        let entries = jail.read_dir(&root).unwrap();
        Listing::read(entries, &root, view(format, sort, descending)).unwrap()
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn folders_come_first_in_every_order() {
        assert_eq!(
            names(&listing(Format::Html, Sort::Name, false)),
            ["zoo", "A.txt", "b<i>.txt", "c&d.txt"]
        );
        assert_eq!(
            names(&listing(Format::Html, Sort::Name, true)),
            ["zoo", "c&d.txt", "b<i>.txt", "A.txt"]
        );
        assert_eq!(
            names(&listing(Format::Html, Sort::Size, false)),
            ["zoo", "c&d.txt", "b<i>.txt", "A.txt"]
        );
    }

    #[test]
    fn a_page_escapes_names_and_offers_what_is_allowed() {
        let mut listing = listing(Format::Html, Sort::Name, false);
        let page = html::page(&listing);
        assert!(
            page.contains("<a href=\"./b%3Ci%3E.txt\">b&lt;i&gt;.txt</a>"),
            "{page}"
        );
        assert!(page.contains("c&amp;d.txt"));
        assert!(page.contains("multipart/form-data") && page.contains("archive=tar.gz"));
        listing.view.upload = false;
        listing.view.archive = false;
        let page = html::page(&listing);
        assert!(!page.contains("multipart/form-data") && !page.contains("archive=tar.gz"));
    }

    #[test]
    fn json_tells_name_kind_size_and_time() {
        let document = json::document(&listing(Format::Json, Sort::Name, false));
        let document: serde_json::Value = serde_json::from_str(&document).unwrap();
        assert_eq!(document["path"], "/");
        assert_eq!(document["entries"][0]["name"], "zoo");
        assert_eq!(document["entries"][0]["type"], "directory");
        assert_eq!(document["entries"][1]["size"], 2000);
        let modified = document["entries"][1]["modified"].as_str().unwrap();
        assert!(
            modified.len() == 20 && modified.ends_with('Z'),
            "{modified}"
        );
    }
}
