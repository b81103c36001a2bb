//! `--set KEY=VALUE`: values from the command line in the places of those of the file.

use toml::de::{DeTable, DeValue};

use super::{Entry, Kind, Node, Origin, Table};
use crate::config::diagnostics::{Diagnostic, Diagnostics, Place};

impl Table {
    /// Puts the value of one `KEY=VALUE` in the place of whatever the key held before.
    pub fn set(&mut self, text: &str) -> Result<(), Diagnostic> {
        let (key, value) = split_override(text)?;
        let place = Place::Override { key: key.into() };
        let path = parse_key(key).ok_or_else(|| {
            Diagnostic::error(
                place.clone(),
                "",
                format!("expected a dotted key such as host.state, got {key:?}"),
            )
        })?;
        let document = DeValue::parse(value.trim()).map_err(|_| {
            Diagnostic::error(
                place.clone(),
                key,
                format!(
                    "expected a TOML value, got {:?}: a string needs quotes, as in --set '{key}=\"text\"'",
                    value.trim()
                ),
            )
        })?;
        let origin = Origin::Override { place: &place };
        let mut diagnostics = Diagnostics::new();
        let node = origin.node(document, key, &mut diagnostics);
        if let Some(problem) = diagnostics.iter().next() {
            return Err(problem.clone());
        }
        self.insert(&path, &place, node).map_err(|parent| {
            Diagnostic::error(
                place.clone(),
                key,
                format!("expected {parent} to be a table, got another value"),
            )
        })
    }

    /// Inserts beneath `path`, making tables on the way; `Err` names the part that is not a table.
    fn insert(&mut self, path: &[String], place: &Place, node: Node) -> Result<(), String> {
        let (last, parents) = path.split_last().ok_or_else(String::new)?;
        let mut table = self;
        for (depth, key) in parents.iter().enumerate() {
            let index = table.position_or_insert(key, place);
            match &mut table.entries[index].node.kind {
                Kind::Table(inner) => table = inner,
                _ => return Err(path[..=depth].join(".")),
            }
        }
        let index = table.position_or_insert(last, place);
        table.entries[index] = Entry {
            key: last.clone(),
            place: place.clone(),
            node,
        };
        Ok(())
    }

    /// The index of `key`, which is an empty table if it was not there.
    fn position_or_insert(&mut self, key: &str, place: &Place) -> usize {
        if let Some(index) = self.entries.iter().position(|entry| entry.key == key) {
            return index;
        }
        let node = Node {
            place: place.clone(),
            kind: Kind::Table(Self::default()),
        };
        self.entries.push(Entry {
            key: key.to_owned(),
            place: place.clone(),
            node,
        });
        self.entries.len() - 1
    }
}

/// The key and the value around the first equals sign outside quotes.
fn split_override(text: &str) -> Result<(&str, &str), Diagnostic> {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None, '=') => return Ok((text[..index].trim(), &text[index + 1..])),
            _ => {}
        }
    }
    Err(Diagnostic::error(
        Place::Override { key: text.into() },
        "",
        format!("expected KEY=VALUE, got {text:?}"),
    ))
}

/// The parts of a dotted TOML key.
fn parse_key(key: &str) -> Option<Vec<String>> {
    if key.contains(['\n', '\r', '#']) {
        return None;
    }
    let document = format!("{key} = 0");
    let mut table = DeTable::parse(&document).ok()?.into_inner();
    let mut path = Vec::new();
    loop {
        let (key, value) = table.into_iter().next()?;
        path.push(key.into_inner().into_owned());
        match value.into_inner() {
            DeValue::Table(inner) => table = inner,
            _ => return Some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Table, Diagnostics> {
        Table::parse(&Arc::from(Path::new("t.toml")), text)
    }

    #[test]
    fn an_override_replaces_adds_and_says_its_place() {
        let mut table = parse("[a]\nb = 1\n").unwrap();
        table.set("a.b = [true]").unwrap();
        table.set("a.\"c=d\".e={ f = 'x' }").unwrap();
        assert_eq!(
            table.to_json(),
            serde_json::json!({"a": {"b": [true], "c=d": {"e": {"f": "x"}}}})
        );
        let Kind::Table(a) = &table.get("a").unwrap().node.kind else {
            panic!()
        };
        assert_eq!(a.get("b").unwrap().place.to_string(), "--set a.b");
    }

    #[test]
    fn a_bad_override_says_how_to_write_it() {
        let mut table = parse("a = 1").unwrap();
        assert_eq!(
            table.set("host.log.level=debug").unwrap_err().to_string(),
            "--set host.log.level: host.log.level: expected a TOML value, got \"debug\": \
             a string needs quotes, as in --set 'host.log.level=\"text\"'"
        );
        assert_eq!(
            table.set("a.b=1").unwrap_err().to_string(),
            "--set a.b: a.b: expected a to be a table, got another value"
        );
        assert_eq!(
            table.set("a").unwrap_err().to_string(),
            "--set a: expected KEY=VALUE, got \"a\""
        );
        assert_eq!(
            table.set("a..b=1").unwrap_err().to_string(),
            "--set a..b: expected a dotted key such as host.state, got \"a..b\""
        );
        assert!(table.set("a=1 # x\nb=2").is_err());
    }

    proptest! {
        #[test]
        fn no_override_makes_the_parser_panic(text in any::<String>(), toml in "[a-c.=\"'0-9 \n#{}\\[\\],]{0,40}") {
            let mut table = parse("a = 1\nb.c = 2").unwrap();
            let _ = table.set(&text);
            let _ = table.set(&toml);
        }

        #[test]
        fn a_set_string_comes_back(text in any::<String>()) {
            let mut table = Table::default();
            let value = toml::Value::String(text.clone()).to_string();
            table.set(&format!("x.y={value}")).unwrap();
            prop_assert_eq!(table.to_json(), serde_json::json!({"x": {"y": text}}));
        }
    }
}
