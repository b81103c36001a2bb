//! INI text as lines that are kept byte for byte, with the sections and keys found in them.
//!
//! The values are those of rust-ini without escapes (`load_from_str_noescape`), which a property
//! test holds it to. It is not used itself because it gives no line numbers, joins a line without
//! `=` with the next one, and cannot write a file back as it was.

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

    /// The line end that the file uses.
    fn line_end(&self) -> &'static str {
        if self
            .lines
            .first()
            .is_some_and(|line| line.ends_with("\r\n"))
        {
            "\r\n"
        } else {
            "\n"
        }
    }

    /// Replaces the value of the item at `(section, item)`, or adds `key = value` to the section's
    /// end; `Err` if the value cannot be written.
    pub fn set(&mut self, section: usize, key: &str, value: &str) -> Result<(), String> {
        let written = quote(value)?;
        let found = self.sections[section]
            .items
            .iter()
            .find(|item| item.key == key);
        if let Some(Item {
            line, value_range, ..
        }) = found.cloned()
        {
            let space = if self.lines[line][..value_range.start].ends_with(['=', ':']) {
                " "
            } else {
                ""
            };
            self.lines[line].replace_range(value_range, &format!("{space}{written}"));
        } else {
            let last = &self.sections[section];
            let after = last.items.last().map_or(last.line, |item| item.line);
            self.insert(after + 1, &[spell(key, &written)]);
        }
        self.reparse();
        Ok(())
    }

    /// Adds a section with `items` at the end of the file.
    pub fn append(&mut self, id: &str, items: &[(&str, String)]) -> Result<(), String> {
        let mut lines = vec![format!("[{id}]")];
        for (key, value) in items {
            lines.push(spell(key, &quote(value)?));
        }
        if self.lines.last().is_some_and(|line| {
            !line
                .trim_matches(&['\u{feff}', ' ', '\t', '\r', '\n'][..])
                .is_empty()
        }) {
            lines.insert(0, String::new());
        }
        self.insert(self.lines.len(), &lines);
        self.reparse();
        Ok(())
    }

    /// Removes the section's header, keys, and the comments and blank lines among and right after
    /// its keys. A block of comments directly above the next header stays: it belongs to that one.
    pub fn remove(&mut self, section: usize) {
        let start = self.sections[section].line;
        let end = match self.sections.get(section + 1) {
            None => self.lines.len(),
            Some(next) => {
                let is_comment = |line: &String| line.trim_start().starts_with(['#', ';']);
                let above = self.lines[start + 1..next.line]
                    .iter()
                    .rev()
                    .take_while(|line| is_comment(line))
                    .count();
                next.line - above
            }
        };
        let bom = self.lines[start].starts_with('\u{feff}');
        self.lines.drain(start..end);
        if bom {
            match self.lines.first_mut() {
                Some(first) => first.insert(0, '\u{feff}'),
                None => self.lines.push('\u{feff}'.to_string()),
            }
        }
        self.reparse();
    }

    fn insert(&mut self, at: usize, new: &[String]) {
        let end = self.line_end();
        if let Some(before) = at
            .checked_sub(1)
            .and_then(|index| self.lines.get_mut(index))
            && !before.ends_with('\n')
            && before != "\u{feff}"
        {
            before.push_str(end);
        }
        let new = new.iter().map(|line| format!("{line}{end}"));
        self.lines.splice(at..at, new);
    }

    fn reparse(&mut self) {
        *self = Self::parse(&self.text()).0;
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

fn spell(key: &str, written: &str) -> String {
    format!("{key} = {written}").trim_end().to_owned()
}

/// `value` as it is written: in quotes where it would not be read back otherwise.
fn quote(value: &str) -> Result<String, String> {
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err("expected a value without control characters".to_owned());
    }
    if value.trim() == value && !value.starts_with(['"', '\'']) {
        return Ok(value.to_owned());
    }
    match ['"', '\'']
        .into_iter()
        .find(|quote| !value.contains(*quote))
    {
        Some(quote) => Ok(format!("{quote}{value}{quote}")),
        None => Err("expected a value with at most one kind of quotes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Document {
        let (document, malformed) = Document::parse(text);
        assert_eq!(malformed, []);
        document
    }

    fn values(document: &Document) -> Vec<(String, Vec<(String, String)>)> {
        let pairs = |section: &Section| {
            section
                .items
                .iter()
                .map(|i| (i.key.clone(), i.value.clone()))
                .collect()
        };
        document
            .sections
            .iter()
            .map(|section| (section.id.clone(), pairs(section)))
            .collect()
    }

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

    #[test]
    fn edits_keep_every_other_byte() {
        let mut document =
            parse("; top\r\n[a]\r\nname=x\r\n\r\n# of b\r\n[b]\r\nname :  \"y\"  \r\n# end");
        document.set(1, "name", "z").unwrap();
        document.set(0, "home", " /h").unwrap();
        document.append("c", &[("name", "c".to_owned())]).unwrap();
        assert_eq!(
            document.text(),
            "; top\r\n[a]\r\nname=x\r\nhome = \" /h\"\r\n\r\n# of b\r\n[b]\r\nname :  z  \r\n# end\r\n\r\n[c]\r\nname = c\r\n"
        );
        document.remove(0);
        assert_eq!(
            document.text(),
            "; top\r\n# of b\r\n[b]\r\nname :  z  \r\n# end\r\n\r\n[c]\r\nname = c\r\n"
        );
        document.set(0, "empty", "").unwrap();
        document.set(0, "empty", "no more").unwrap();
        assert!(document.text().contains("\r\nempty = no more\r\n"));
        assert!(document.set(0, "name", "a\nb").is_err());
        assert!(document.set(0, "name", "\"'").is_err());
    }

    #[test]
    fn a_byte_order_mark_survives() {
        let mut document = parse("\u{feff}[a]\nk = 1\n[b]\n");
        document.remove(0);
        assert_eq!(document.text(), "\u{feff}[b]\n");
        document.remove(0);
        document.append("c", &[]).unwrap();
        assert_eq!(document.text(), "\u{feff}[c]\n");
        let mut empty = parse("");
        empty.append("a", &[("k", "v".to_owned())]).unwrap();
        assert_eq!(empty.text(), "[a]\nk = v\n");
    }

    /// A well-formed file, blank lines, comments and both line ends included.
    fn file() -> impl Strategy<Value = String> {
        let item = "[ \t]{0,2}[a-z_]{1,6}[ ]{0,2}[=:][ ]{0,2}([a-zA-Z0-9$,=/:.;#-][a-zA-Z0-9 $,=/:.;#'\"\\\\-]{0,12}[a-z0-9])?[ ]?";
        let quoted = "[a-z]{1,6} = \"[a-z0-9 =#'\\\\]{0,8}[a-z]\"";
        let line = prop_oneof![4 => item, 1 => quoted, 1 => "[#;][a-z =\\[]{0,8}", 1 => ""];
        let section = (
            "[a-z0-9 ]{1,6}",
            prop::collection::vec((line, prop_oneof!["\n", "\r\n"]), 0..6),
        );
        prop::collection::vec(section, 0..5).prop_map(|sections| {
            let body = |lines: Vec<(String, String)>| {
                lines
                    .into_iter()
                    .map(|(line, end)| line + &end)
                    .collect::<String>()
            };
            sections
                .into_iter()
                .map(|(id, lines)| format!("[x{id}]\n{}", body(lines)))
                .collect()
        })
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

        #[test]
        fn an_edit_changes_one_value_and_no_other_byte(text in file(), which in any::<prop::sample::Index>(),
                                                       value in "[^\\x00-\\x1f\\x7f-\\u{9f}\"]{0,12}") {
            let document = parse(&text);
            prop_assume!(!document.sections.is_empty());
            let section = which.index(document.sections.len());
            let mut edited = document.clone();
            edited.set(section, "password", &value).unwrap();
            let mut expected = values(&document);
            let items = &mut expected[section].1;
            match items.iter_mut().find(|(key, _)| key == "password") {
                Some((_, old)) => *old = value.clone(),
                None => items.push(("password".to_owned(), value.clone())),
            }
            prop_assert_eq!(values(&edited), expected);
            let before: Vec<&str> = text.split_inclusive('\n').collect();
            let after_text = edited.text();
            let after: Vec<&str> = after_text.split_inclusive('\n').collect();
            let same_head = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
            let same_tail = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
            prop_assert!(same_head + same_tail + 1 >= before.len(), "{:?} {:?}", text, after_text);
        }

        #[test]
        fn a_section_added_and_removed_leaves_the_file(text in file()) {
            let before = values(&parse(&text));
            let mut document = parse(&text);
            document.append("new", &[("name", "n".to_owned())]).unwrap();
            document.remove(document.sections.len() - 1);
            prop_assert_eq!(values(&document), before);
            prop_assert!(document.text().starts_with(text.trim_end_matches('\n')));
        }
    }
}
