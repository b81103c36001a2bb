//! Settings: from JSON to a plugin's struct with every problem found at once.

pub use polyport_abi::plugin::SettingProblem as Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is got where nobody knows the key.
pub(crate) const UNKNOWN: &str = "an unknown key";

/// Reads settings, gathering all problems: each offending key is noted, taken out, and the rest read again.
///
/// # Errors
/// The problems, in the order of the keys as they were found.
pub fn read<C: DeserializeOwned>(settings: &Value) -> Result<C, Vec<Problem>> {
    match read_rest(settings) {
        (Some(config), problems) if problems.is_empty() => Ok(config),
        (_, problems) => Err(problems),
    }
}

/// As [`read`], with what could be read in spite of the problems: without the keys they name.
pub(crate) fn read_rest<C: DeserializeOwned>(settings: &Value) -> (Option<C>, Vec<Problem>) {
    let mut settings = settings.clone();
    let mut problems = Vec::new();
    loop {
        let error = match serde_path_to_error::deserialize::<_, C>(&settings) {
            Ok(config) => return (Some(config), problems),
            Err(error) => error,
        };
        let path = error.path().to_string();
        let key = if path == "." { String::new() } else { path };
        let found = take(&mut settings, &key);
        let stuck = found.is_none();
        problems.push(explain(key, found, &error.into_inner().to_string()));
        if stuck {
            return (None, problems);
        }
    }
}

/// serde's sentence as expected against got.
fn explain(key: String, found: Option<Value>, message: &str) -> Problem {
    let got = || {
        found
            .as_ref()
            .map_or_else(|| "nothing".into(), Value::to_string)
    };
    if message.starts_with("unknown field") {
        let expected = message
            .split_once("expected ")
            .map_or("no such key", |(_, rest)| rest)
            .replace('`', "");
        return Problem {
            key,
            expected: format!("a known key: {expected}"),
            got: UNKNOWN.into(),
        };
    }
    match message.split_once("expected ") {
        Some((_, expected)) => Problem {
            key,
            expected: expected.replace('`', "\""),
            got: got(),
        },
        None => Problem {
            key,
            expected: message.to_owned(),
            got: got(),
        },
    }
}

/// Takes the value at a dotted path (`a.b[2].c`) out; `None` where there is none.
fn take(value: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = path
        .rsplit_once(['.', '['])
        .map_or(("", path), |(parent, last)| (parent, last));
    let last = last.trim_end_matches(']');
    let mut at = value;
    for step in parent.split(['.', '[']).filter(|step| !step.is_empty()) {
        let step = step.trim_end_matches(']');
        at = match at {
            Value::Object(map) => map.get_mut(step)?,
            Value::Array(list) => list.get_mut(step.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    match at {
        Value::Object(map) => map.shift_remove(last),
        Value::Array(list) => {
            let index = last.parse::<usize>().ok()?;
            (index < list.len()).then(|| list.remove(index))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Settings {
        port: u16,
        mode: Mode,
        inner: Inner,
        list: Vec<u8>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Soft,
        Hard,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        depth: u8,
    }

    #[test]
    fn good_settings_are_read() {
        let read: Settings =
            read(&json!({"port": 21, "mode": "hard", "inner": {"depth": 3}})).unwrap();
        assert_eq!(
            read,
            Settings {
                port: 21,
                mode: Mode::Hard,
                inner: Inner { depth: 3 },
                list: vec![]
            }
        );
    }

    #[test]
    fn every_problem_is_found_at_once() {
        let problems = read::<Settings>(&json!({
            "port": 70000, "mode": "soggy", "inner": {"depth": "x", "deep": 1}, "list": [1, "two"], "colour": 1
        }))
        .unwrap_err();
        let mut lines: Vec<String> = problems
            .iter()
            .map(|p| format!("{}: expected {}, got {}", p.key, p.expected, p.got))
            .collect();
        lines.sort();
        assert_eq!(
            lines,
            [
                "colour: expected a known key: one of port, mode, inner, list, got an unknown key",
                "inner.deep: expected a known key: depth, got an unknown key",
                "inner.depth: expected u8, got \"x\"",
                "list[1]: expected u8, got \"two\"",
                "mode: expected \"soft\" or \"hard\", got \"soggy\"",
                "port: expected u16, got 70000",
            ]
        );
    }

    #[test]
    fn settings_that_are_no_table_are_one_problem() {
        let problems = read::<Settings>(&json!(5)).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "");
    }
}
