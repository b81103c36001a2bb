//! The same lists for people: pages that a browser shows, and what lists and pages share.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use polyport_sdk::http::{Response, escape_html, header};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::target::CollectionName;
use crate::store::{Collection, Listing, Revision};

/// The type of a page.
pub const HTML: &str = "text/html; charset=utf-8";

/// What a query's value may hold as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Where a list goes on.
pub fn next(path: &str, last: &str, limit: usize, content: bool) -> String {
    let after = utf8_percent_encode(last, UNRESERVED);
    let content = if content { "" } else { "&content=false" };
    format!("{path}?after={after}&limit={limit}{content}")
}

/// A revision's time as RFC 3339 writes it.
pub fn time(revision: Revision) -> String {
    let time = OffsetDateTime::from(revision.time());
    time.format(&Rfc3339).unwrap_or_default()
}

/// A page runs nothing and loads nothing.
pub fn guard(response: Response, is_page: bool) -> Response {
    if !is_page {
        return response;
    }
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    response
        .header(header::CONTENT_SECURITY_POLICY, policy)
        .header(header::REFERRER_POLICY, "no-referrer")
}

/// The collections as a page.
pub fn collections(collections: &[Collection], next: Option<&str>) -> String {
    let rows = collections.iter().map(|collection| {
        let path = format!("/{}", collection.name);
        [
            link(&path, &collection.name),
            collection.documents.to_string(),
            time(collection.revision),
        ]
    });
    page(
        "Collections",
        "",
        ["Name", "Documents", "Modified"],
        rows,
        next,
    )
}

/// A collection's documents as a page; each leads to its `?pretty` form.
pub fn documents(name: &CollectionName, listing: &Listing, next: Option<&str>) -> String {
    let rows = listing.entries.iter().map(|(id, document)| {
        let revision = document.revision;
        [
            link(&format!("{name}/{id}?pretty"), id),
            revision.0.to_string(),
            time(revision),
        ]
    });
    let total = listing.total;
    let about = format!(
        "<p><a href=\"/\">All collections</a> · {total} in all · {}</p>\n",
        link(&format!("{name}?pretty"), "as JSON")
    );
    page(&name.0, &about, ["Id", "Revision", "Modified"], rows, next)
}

fn page(
    title: &str,
    about: &str,
    heads: [&str; 3],
    rows: impl Iterator<Item = [String; 3]>,
    next: Option<&str>,
) -> String {
    let title = escape_html(title);
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}\
         table{{border-collapse:collapse;width:100%}}th,td{{text-align:left;padding:.25rem .75rem .25rem 0;\
         border-bottom:1px solid #8884}}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{about}<table>\n"
    );
    // Writing to a String cannot fail.
    let _ = writeln!(out, "<tr><th>{}</th></tr>", heads.join("</th><th>"));
    for row in rows {
        let _ = writeln!(out, "<tr><td>{}</td></tr>", row.join("</td><td>"));
    }
    out.push_str("</table>\n");
    if let Some(next) = next {
        let _ = writeln!(out, "<p>{}</p>", link(next, "Next page"));
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn link(href: &str, text: &str) -> String {
    format!(
        "<a href=\"{}\">{}</a>",
        escape_html(href),
        escape_html(text)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_where_settings_let_them_hold_anything() {
        let collection = Collection {
            name: "a'&b".to_owned(),
            documents: 2,
            revision: Revision(0),
        };
        let page = collections(&[collection], Some(&next("/", "a'&b", 1, true)));
        assert!(
            page.contains(
                "<a href=\"/a&#39;&amp;b\">a&#39;&amp;b</a></td><td>2</td><td>1970-01-01T00:00:00Z"
            ),
            "{page}"
        );
        assert!(
            page.contains("<a href=\"/?after=a%27%26b&amp;limit=1\">Next page</a>"),
            "{page}"
        );
    }
}
