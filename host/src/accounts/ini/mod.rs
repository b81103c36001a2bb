//! INI text as lines that are kept byte for byte, with the sections and keys found in them.
//!
//! The values are those of rust-ini without escapes (`load_from_str_noescape`), which a property
//! test holds it to. That crate itself is not used: it gives no line numbers, joins a line without
//! `=` with the next one, and cannot write a file back as it was.

mod edit;
#[cfg(test)]
mod fixture;

use std::ops::Range;

/// A parsed file.
#[derive(Debug, Clone, Default)]
pub struct Document {
    lines: Vec<String>,
    /// The sections in order.
    pub sections: Vec<Section>,
}

/// `[id]` and what follows it.
#[derive(Debug, Clone)]
pub struct Section {
    /// The text between the brackets, trimmed.
    pub id: String,
    /// Its line, from 0.
    pub line: usize,
    /// Its keys in order, duplicates included.
    pub items: Vec<Item>,
}

/// `key = value`
#[derive(Debug, Clone)]
pub struct Item {
    /// The key, trimmed.
    pub key: String,
    /// The value, trimmed and without its quotes.
    pub value: String,
    /// Its line, from 0.
    pub line: usize,
    /// The byte in the line at which the key begins.
    pub key_start: usize,
    /// The bytes of the line that spell the value, quotes included.
    pub value_range: Range<usize>,
}

/// A line that is none of section, key and comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// Its line, from 0.
    pub line: usize,
    /// The byte in the line.
    pub offset: usize,
    /// What was expected, what was found.
    pub message: String,
}

enum Line {
    Nothing,
    Section(String),
    Item(Item),
}

impl Document {
    /// Parses `text`; every malformed line at once, and whatever the others say.
    pub fn parse(text: &str) -> (Self, Vec<Malformed>) {
        let mut document = Self::default();
        let mut malformed = Vec::new();
        for (number, line) in text.split_inclusive('\n').enumerate() {
            match classify(number, line) {
                Ok(Line::Nothing) => {}
                Ok(Line::Section(id)) => document.sections.push(Section {
                    id,
                    line: number,
                    items: Vec::new(),
                }),
                Ok(Line::Item(item)) => match document.sections.last_mut() {
                    Some(section) => section.items.push(item),
                    None => malformed.push(Malformed {
                        line: number,
                        offset: item.key_start,
                        message: format!(
                            "expected a [section] before the first key, got {:?}",
                            item.key
                        ),
                    }),
                },
                Err((offset, message)) => malformed.push(Malformed {
                    line: number,
                    offset,
                    message,
                }),
            }
            document.lines.push(line.to_owned());
        }
        (document, malformed)
    }

    /// The line `number`, from 0, with its line end.
    pub fn line(&self, number: usize) -> &str {
        self.lines.get(number).map_or("", String::as_str)
    }

    /// The file's text; unless edited, byte for byte what was parsed.
    pub fn text(&self) -> String {
        self.lines.concat()
    }
}

fn classify(number: usize, line: &str) -> Result<Line, (usize, String)> {
    let start = line.len()
        - line
            .trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace())
            .len();
    let body = line[start..].trim_end();
    if body.is_empty() || body.starts_with(['#', ';']) {
        return Ok(Line::Nothing);
    }
    if let Some((offset, c)) = body
        .char_indices()
        .find(|(_, c)| c.is_control() && *c != '\t')
    {
        return Err((
            start + offset,
            format!("expected text, got the control character {c:?}"),
        ));
    }
    if let Some(rest) = body.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((id, "")) => Ok(Line::Section(id.trim().to_owned())),
            Some((_, after)) => Err((
                start + body.len() - after.len(),
                format!("expected nothing after \"]\", got {after:?}"),
            )),
            None => Err((start, format!("expected a \"]\" at the end, got {body:?}"))),
        };
    }
    let Some(equals) = body.find(['=', ':']) else {
        return Err((
            start,
            format!("expected [section], key = value or a comment, got {body:?}"),
        ));
    };
    let key = body[..equals].trim_end();
    if key.is_empty() {
        return Err((
            start,
            format!("expected a key before {:?}", &body[equals..=equals]),
        ));
    }
    let after = &body[equals + 1..];
    let spelt = after.trim_start();
    let value_start = start + body.len() - spelt.len();
    let value = unquote(spelt).map_err(|message| (value_start, message))?;
    Ok(Line::Item(Item {
        key: key.to_owned(),
        value: value.to_owned(),
        line: number,
        key_start: start,
        value_range: value_start..value_start + spelt.len(),
    }))
}

fn unquote(spelt: &str) -> Result<&str, String> {
    let Some(quote) = spelt.chars().next().filter(|c| matches!(c, '"' | '\'')) else {
        return Ok(spelt);
    };
    match spelt[1..].split_once(quote) {
        Some((value, "")) => Ok(value),
        _ => Err(format!(
            "expected a value that ends with the {quote} it begins with"
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fixture::{file, parse, values};
    use super::*;

    #[test]
    fn sections_keys_quotes_and_comments() {
        let document =
            parse("\u{feff}# c\n[a]\n  k = v = w \r\n;x\nq: \" s \"\ne =\nt = \\t'\n[ b ]");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let a = vec![
            pair("k", "v = w"),
            pair("q", " s "),
            pair("e", ""),
            pair("t", "\\t'"),
        ];
        assert_eq!(
            values(&document),
            [("a".to_owned(), a), ("b".to_owned(), vec![])]
        );
        assert_eq!(document.sections[0].items[1].line, 4);
    }

    #[test]
    fn every_malformed_line_is_found() {
        let (document, malformed) =
            Document::parse("k = 1\n[a\n[b] ; c\nword\n= v\n[c]\nq = \"x\nr = 'y'z\nn = \0\n");
        let lines: Vec<(usize, usize)> =
            malformed.iter().map(|one| (one.line, one.offset)).collect();
        assert_eq!(
            lines,
            [
                (0, 0),
                (1, 0),
                (2, 3),
                (3, 0),
                (4, 0),
                (6, 4),
                (7, 4),
                (8, 4)
            ]
        );
        assert_eq!(document.sections.len(), 1);
    }

    proptest! {
        #[test]
        fn values_are_those_of_rust_ini(text in file()) {
            let ours = values(&parse(&text));
            let theirs = ini::Ini::load_from_str_noescape(&text).unwrap();
            let theirs: Vec<(String, Vec<(String, String)>)> = theirs
                .iter()
                .filter_map(|(id, items)| Some((id?, items)))
                .map(|(id, items)| (id.to_owned(), items.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()))
                .collect();
            let mut ours_sorted = ours.clone();
            let mut theirs_sorted = theirs.clone();
            ours_sorted.sort();
            theirs_sorted.sort();
            prop_assert_eq!(ours_sorted, theirs_sorted, "{:?}", text);
        }

        #[test]
        fn unedited_text_comes_back(text in any::<String>(), near in "[\\[\\]a-z=:;# \"'\r\n\u{feff}]{0,60}") {
            prop_assert_eq!(Document::parse(&text).0.text(), text);
            prop_assert_eq!(Document::parse(&near).0.text(), near);
        }

    }
}
