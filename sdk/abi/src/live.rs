//! Which settings a running instance takes over in place: `"live"` in what `plugin/1` describes, a list of keys.
//!
//! A key is a dotted path beneath the settings. One that names a table stands for all beneath it. Where the list is
//! there, a host swaps an instance whose settings differ in any other key; where it is not, it asks the instance.

use serde_json::{Map, Value};

/// A key with another value than before.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed<'a> {
    /// The dotted path; the keys of a table are told one by one, arrays as a whole.
    pub key: String,
    /// What it was; none where it was not there.
    pub before: Option<&'a Value>,
    /// What it is.
    pub after: Option<&'a Value>,
}

/// The keys in which `after` differs, in its order; those that are gone come last in their table.
#[must_use]
pub fn changed<'a>(before: &'a Value, after: &'a Value) -> Vec<Changed<'a>> {
    let mut all = Vec::new();
    collect(String::new(), Some(before), Some(after), &mut all);
    all
}

/// Whether one of the `live` keys stands for this one.
pub fn is_live(live: &[impl AsRef<str>], key: &str) -> bool {
    live.iter().any(|live| {
        key.strip_prefix(live.as_ref())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

fn collect<'a>(
    key: String,
    before: Option<&'a Value>,
    after: Option<&'a Value>,
    all: &mut Vec<Changed<'a>>,
) {
    if before == after {
        return;
    }
    let empty = Map::new();
    let known = all.len();
    if let (Some(old), Some(new)) = (table(before), table(after)) {
        let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        for name in new.keys().chain(gone) {
            let key = match key.as_str() {
                "" => name.clone(),
                table => format!("{table}.{name}"),
            };
            let of = |table: Option<&'a Value>| table.and_then(|table| table.get(name));
            collect(key, of(before), of(after), all);
        }
    }
    // A table without keys that came or went differs as well.
    if all.len() == known {
        all.push(Changed { key, before, after });
    }
}

/// A table, or the place of one that is not there; none where something else is.
fn table(value: Option<&Value>) -> Option<Option<&Map<String, Value>>> {
    match value {
        Some(Value::Object(table)) => Some(Some(table)),
        None => Some(None),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_of_tables_are_told_one_by_one() {
        let before = json!({"a": 1, "same": [1], "t": {"x": 1, "y": {"z": 2}}, "gone": {}});
        let after = json!({"same": [1], "t": {"x": 2}, "new": {"deep": true}, "a": [1]});
        let keys: Vec<String> = changed(&before, &after)
            .into_iter()
            .map(|changed| changed.key)
            .collect();
        assert_eq!(keys, ["t.x", "t.y.z", "new.deep", "a", "gone"]);
        assert_eq!(changed(&before, &before), []);
    }

    #[test]
    fn a_table_stands_for_its_keys_alone() {
        let live = ["limits", "a.b"];
        for (key, expected) in [
            ("limits", true),
            ("limits.size", true),
            ("limitsize", false),
            ("a", false),
            ("a.b", true),
            ("a.bc", false),
        ] {
            assert_eq!(is_live(&live, key), expected, "{key}");
        }
    }
}
