//! A TOML document as a tree of values that each know their place, and the `--set` overrides
//! merged into it. Knows the syntax, none of the keys.

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
        if diagnostics.has_errors() {
            Err(diagnostics.sorted())
        } else {
            Ok(table)
        }
    }

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
        fn no_text_makes_the_parser_panic(text in any::<String>(), toml in "[\\[\\]a-c.=\"'0-9 \n#{},]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&toml);
        }

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
