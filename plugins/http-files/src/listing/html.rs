//! A listing for people: one page without scripts or other files.

use std::os::unix::ffi::OsStrExt;

use polyport_sdk::files::ClientPath;
use polyport_sdk::http::escape_html;

use super::{Listing, Row, Sort};
use crate::target::folder_link;

const STYLE: &str = include_str!("style.css");

pub(super) fn page(listing: &Listing) -> String {
    let title = escape_html(&listing.shown_path());
    let mut page = String::with_capacity(4096 + listing.rows.len() * 256);
    page.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    page.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    page.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    page.push_str(&format!(
        "<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header>\n"
    ));
    page.push_str(&format!("<h1>{}</h1>\n<nav>", trail(&listing.path)));
    if listing.view.archive {
        page.push_str("<a href=\"?archive=tar.gz\">.tar.gz</a> <a href=\"?archive=zip\">.zip</a>");
    }
    if listing.view.login {
        page.push_str(" <a href=\"?login\">Log in</a>");
    }
    page.push_str("</nav>\n</header>\n");
    if listing.view.upload {
        page.push_str(
            "<form method=\"post\" enctype=\"multipart/form-data\">\
             <input type=\"file\" name=\"path\" multiple required aria-label=\"Files\"> \
             <button>Upload</button></form>\n",
        );
    }
    page.push_str("<table>\n<thead><tr>");
    for (sort, label) in [
        (Sort::Name, "Name"),
        (Sort::Size, "Size"),
        (Sort::Date, "Date (UTC)"),
    ] {
        page.push_str(&heading(listing, sort, label));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    if !listing.path.is_root() {
        page.push_str("<tr class=\"dir\"><td><a href=\"../\">..</a></td><td></td><td></td></tr>\n");
    }
    for row in &listing.rows {
        push_row(&mut page, row);
    }
    page.push_str("</tbody>\n</table>\n");
    if listing.rows.is_empty() {
        page.push_str("<p>This folder is empty.</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The path with a link on each folder above.
fn trail(path: &ClientPath) -> String {
    let mut trail = String::from(if path.is_root() {
        "/"
    } else {
        "<a href=\"/\">/</a>"
    });
    let mut folder = ClientPath::root();
    let depth = path.components().count();
    for (at, name) in path.components().enumerate() {
        let shown = escape_html(&String::from_utf8_lossy(name.as_bytes()));
        // A component of a client's path is fit to be one again.
        folder = folder.child(name).unwrap_or_default();
        if at + 1 == depth {
            trail.push_str(&format!("<span>{shown}/</span>"));
        } else {
            trail.push_str(&format!(
                "<a href=\"{}\">{shown}/</a>",
                folder_link(&folder)
            ));
        }
    }
    trail
}

/// A heading sorts by its column, and the other way round when it already does.
fn heading(listing: &Listing, sort: Sort, label: &str) -> String {
    let current = listing.view.sort == sort;
    let (order, mark, state) = match (current, listing.view.descending) {
        (true, false) => ("desc", " \u{25b2}", " aria-sort=\"ascending\""),
        (true, true) => ("asc", " \u{25bc}", " aria-sort=\"descending\""),
        (false, _) => ("asc", "", ""),
    };
    format!(
        "<th{state}><a href=\"?sort={}&amp;order={order}\">{label}{mark}</a></th>",
        sort.name()
    )
}

fn push_row(page: &mut String, row: &Row) {
    let (class, slash) = if row.is_dir {
        ("dir", "/")
    } else {
        ("file", "")
    };
    let (hour, minute, second) = row.modified.to_hms();
    let size = if row.is_dir {
        "<td></td>".to_owned()
    } else {
        format!("<td title=\"{} bytes\">{}</td>", row.size, human(row.size))
    };
    page.push_str(&format!(
        "<tr class=\"{class}\"><td><a href=\"{}\">{}{slash}</a></td>{size}\
         <td>{} {hour:02}:{minute:02}:{second:02}</td></tr>\n",
        row.link,
        escape_html(&row.name),
        row.modified.date(),
    ));
}

/// `1.5 MiB`
fn human(size: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if size < 1024 {
        return format!("{size} B");
    }
    let (mut whole, mut rest, mut unit) = (size, 0, "B");
    for next in UNITS {
        if whole < 1024 {
            break;
        }
        (rest, whole, unit) = (whole % 1024, whole / 1024, next);
    }
    format!("{whole}.{} {unit}", rest * 10 / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        for (size, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (268_435_456, "256.0 MiB"),
            (u64::MAX, "15.9 EiB"),
        ] {
            assert_eq!(human(size), shown);
        }
    }

    #[test]
    fn the_trail_links_every_folder_above() {
        let path = ClientPath::parse("/a b/<c>/d").unwrap();
        assert_eq!(
            trail(&path),
            "<a href=\"/\">/</a><a href=\"/a%20b/\">a b/</a>\
             <a href=\"/a%20b/%3Cc%3E/\">&lt;c&gt;/</a><span>d/</span>"
        );
    }
}
