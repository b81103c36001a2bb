//! Editing: what must change, and no other byte.

use super::{Document, Item};

impl Document {
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

    /// Removes the line of a section's key; false if there is none.
    pub fn remove_item(&mut self, section: usize, key: &str) -> bool {
        let mut items = self.sections[section].items.iter();
        let Some(line) = items.find(|item| item.key == key).map(|item| item.line) else {
            return false;
        };
        self.lines.remove(line);
        self.reparse();
        true
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

    use super::super::fixture::{file, parse, values};

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
    fn a_key_goes_and_its_neighbours_stay() {
        let mut document = parse("[a]\n# one\none = 1\n; two\ntwo = 2\n[b]\ntwo = 3");
        assert!(document.remove_item(0, "two") && !document.remove_item(0, "two"));
        assert!(document.remove_item(1, "two"));
        assert_eq!(document.text(), "[a]\n# one\none = 1\n; two\n[b]\n");
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

    proptest! {
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
