//! A TOML document as a tree of values that each know their place, and the `--set` overrides
//! merged into it. Knows the syntax, none of the keys.

mod overrides;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostics::{Diagnostic, Diagnostics, Place};

/// A value and where it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value begins; for a table its header or its first key.
    pub place: Place,
    /// The value.
    pub kind: Kind,
}

/// A TOML value.
#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    /// A string.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A float, possibly not finite.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A date, a time or both, as written.
    Datetime(String),
    /// An array.
    Array(Vec<Node>),
    /// A table, in the order of the file.
    Table(Table),
}

/// A table's entries in the order of the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The entries; keys are unique.
    pub entries: Vec<Entry>,
}

/// One key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key, without quotes.
    pub key: String,
    /// Where the key was written.
    pub place: Place,
    /// Its value.
    pub node: Node,
}

impl Table {
    /// The entry of `key`.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Parses a whole file; all syntax errors at once.
    pub fn parse(file: &Arc<Path>, text: &str) -> Result<Self, Diagnostics> {
        let (table, diagnostics) = Self::parse_lenient(file, text);
        if diagnostics.has_errors() {
            Err(diagnostics.sorted())
        } else {
            Ok(table)
        }
    }

    /// What can be read of a whole file, and all syntax errors.
    pub fn parse_lenient(file: &Arc<Path>, text: &str) -> (Self, Diagnostics) {
        let (document, errors) = DeTable::parse_recoverable(text.trim_start_matches('\u{feff}'));
        let skipped = text.len() - text.trim_start_matches('\u{feff}').len();
        let origin = Origin::File {
            file,
            text,
            skipped,
        };
        let mut diagnostics: Diagnostics = errors
            .iter()
            .map(|error| syntax_error(&origin, error))
            .collect();
        let table = origin.table(document.into_inner(), &mut diagnostics);
        (table, diagnostics)
    }

    /// Calls `visit` with the dotted path and place of every key beneath this table.
    pub fn places(&self, path: &str, visit: &mut dyn FnMut(String, &Place)) {
        for entry in &self.entries {
            let key = join(path, &entry.key);
            visit(key.clone(), &entry.place);
            entry.node.places(&key, visit);
        }
    }

    /// As JSON, for a plugin.
    pub fn to_json(&self) -> Value {
        Value::Object(
            self.entries
                .iter()
                .map(|entry| (entry.key.clone(), entry.node.to_json()))
                .collect(),
        )
    }
}

impl Node {
    fn places(&self, path: &str, visit: &mut dyn FnMut(String, &Place)) {
        match &self.kind {
            Kind::Table(table) => table.places(path, visit),
            Kind::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let key = format!("{path}[{index}]");
                    visit(key.clone(), &item.place);
                    item.places(&key, visit);
                }
            }
            _ => {}
        }
    }

    /// As JSON; dates become strings. Floats are finite: [`Table::parse`] refuses the others.
    fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Text(text) | Kind::Datetime(text) => Value::from(text.as_str()),
            Kind::Integer(number) => Value::from(*number),
            Kind::Float(number) => Value::from(*number),
            Kind::Boolean(truth) => Value::from(*truth),
            Kind::Array(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Kind::Table(table) => table.to_json(),
        }
    }

    /// The value as an operator would recognise it in an error.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Text(text) => format!("{text:?}"),
            Kind::Datetime(text) => text.clone(),
            Kind::Integer(number) => number.to_string(),
            Kind::Float(number) => number.to_string(),
            Kind::Boolean(truth) => truth.to_string(),
            Kind::Array(_) => "an array".to_owned(),
            Kind::Table(_) => "a table".to_owned(),
        }
    }
}

/// `a.b`, or `b` at the top.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Where the nodes being built come from.
enum Origin<'a> {
    File {
        file: &'a Arc<Path>,
        text: &'a str,
        skipped: usize,
    },
    Override {
        place: &'a Place,
    },
}

impl Origin<'_> {
    fn place(&self, offset: usize) -> Place {
        match self {
            Self::File {
                file,
                text,
                skipped,
            } => Place::at(file, text, offset + skipped),
            Self::Override { place } => (*place).clone(),
        }
    }

    fn table(&self, table: DeTable<'_>, diagnostics: &mut Diagnostics) -> Table {
        self.table_at("", table, diagnostics)
    }

    fn table_at(&self, path: &str, table: DeTable<'_>, diagnostics: &mut Diagnostics) -> Table {
        let mut entries: Vec<(usize, Entry)> = table
            .into_iter()
            .map(|(key, value)| {
                let start = key.span().start;
                let place = self.place(start);
                let key = key.into_inner().into_owned();
                let node = self.node(value, &join(path, &key), diagnostics);
                (start, Entry { key, place, node })
            })
            .collect();
        entries.sort_by_key(|(start, _)| *start);
        Table {
            entries: entries.into_iter().map(|(_, entry)| entry).collect(),
        }
    }

    fn node(&self, value: Spanned<DeValue<'_>>, path: &str, diagnostics: &mut Diagnostics) -> Node {
        let place = self.place(value.span().start);
        let kind = match value.into_inner() {
            DeValue::String(text) => Kind::Text(text.into_owned()),
            DeValue::Boolean(truth) => Kind::Boolean(truth),
            DeValue::Datetime(datetime) => Kind::Datetime(datetime.to_string()),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => Kind::Integer(number),
                    Err(_) => {
                        diagnostics.expected(
                            &place,
                            path,
                            "an integer of 64 bits",
                            integer.as_str(),
                        );
                        Kind::Integer(0)
                    }
                }
            }
            DeValue::Float(float) => match float.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Kind::Float(number),
                _ => {
                    diagnostics.expected(&place, path, "a finite number", float.as_str());
                    Kind::Float(0.0)
                }
            },
            DeValue::Array(items) => Kind::Array(
                items
                    .into_iter()
                    .enumerate()
                    .map(|(index, item)| self.node(item, &format!("{path}[{index}]"), diagnostics))
                    .collect(),
            ),
            DeValue::Table(table) => Kind::Table(self.table_at(path, table, diagnostics)),
        };
        Node { place, kind }
    }
}

fn syntax_error(origin: &Origin<'_>, error: &toml::de::Error) -> Diagnostic {
    let offset = error.span().map_or(0, |span| span.start);
    Diagnostic::error(
        origin.place(offset),
        "",
        error.message().replace('\n', ", "),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Table, Diagnostics> {
        Table::parse(&Arc::from(Path::new("t.toml")), text)
    }

    #[test]
    fn values_know_their_line_and_column() {
        let table = parse(
            "# comment\n[host]\nstate = \"x\"\n[services.b]\n[services.a]\nlisten = [1,\n  2]\n",
        )
        .unwrap();
        let mut places = Vec::new();
        table.places("", &mut |key, place| places.push(format!("{key} {place}")));
        assert_eq!(
            places,
            [
                "host t.toml:2:2",
                "host.state t.toml:3:1",
                "services t.toml:4:2",
                "services.b t.toml:4:11",
                "services.a t.toml:5:11",
                "services.a.listen t.toml:6:1",
                "services.a.listen[0] t.toml:6:11",
                "services.a.listen[1] t.toml:7:3",
            ]
        );
    }

    #[test]
    fn all_syntax_errors_are_reported_at_once() {
        let errors = parse("a = \nb = 1\nb = 2\nc = [1\n").unwrap_err();
        let lines: Vec<String> = errors.iter().map(|one| one.place.to_string()).collect();
        assert!(lines.len() >= 3, "{errors}");
        assert!(lines[0].starts_with("t.toml:1:"), "{errors}");
        assert!(lines[1].starts_with("t.toml:3:"), "{errors}");
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let errors = parse("a = 99999999999999999999\nb = [nan]\nc = inf")
            .unwrap_err()
            .to_string();
        assert_eq!(
            errors,
            "t.toml:1:5: a: expected an integer of 64 bits, got 99999999999999999999\n\
             t.toml:2:6: b[0]: expected a finite number, got nan\n\
             t.toml:3:5: c: expected a finite number, got inf"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), toml in "[\\[\\]a-c.=\"'0-9 \n#{},]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&toml);
        }

    }
}
