//! Settings: from JSON to a plugin's struct with every problem found at once.

pub use polyport_abi::plugin::SettingProblem as Problem;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is got where nobody knows the key.
pub(crate) const UNKNOWN: &str = "an unknown key";

/// What is expected there, where serde does not tell which are known.
pub(crate) const A_KNOWN_KEY: &str = "a known key";

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
        let message = error.into_inner().to_string();
        let key = match path.as_str() {
            "." => blamed::<C>(&settings, &message).unwrap_or_default(),
            _ => path,
        };
        let found = take(&mut settings, &key);
        let stuck = found.is_none();
        problems.push(explain(key, found, &message));
        if stuck {
            return (None, problems);
        }
    }
}

/// The key behind an error without a place: those of a flattened struct have none. It is the first that has the
/// same error by itself.
fn blamed<C: DeserializeOwned>(settings: &Value, message: &str) -> Option<String> {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        return rest.split_once('`').map(|(name, _)| name.to_owned());
    }
    let mut settings = settings.as_object()?.iter();
    let blamed = settings.find(|(key, value)| {
        let alone = Value::Object([((*key).clone(), (*value).clone())].into_iter().collect());
        C::deserialize(alone).is_err_and(|error| error.to_string() == message)
    });
    blamed.map(|(key, _)| key.clone())
}

/// serde's sentence as expected against got.
fn explain(key: String, found: Option<Value>, message: &str) -> Problem {
    let got = || {
        found
            .as_ref()
            .map_or_else(|| "nothing".into(), Value::to_string)
    };
    if message.starts_with("unknown field") {
        let expected = match message.split_once("expected ") {
            Some((_, keys)) => format!("a known key: {}", keys.replace('`', "")),
            None => A_KNOWN_KEY.into(),
        };
        return Problem {
            key,
            expected,
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
    fn problems_of_a_flattened_struct_name_their_key() {
        #[derive(Debug, Default, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Outer {
            root: String,
            #[serde(flatten)]
            inner: Flat,
        }
        #[derive(Debug, Default, Deserialize)]
        #[serde(default)]
        struct Flat {
            depth: u8,
            width: u8,
        }
        let good = read::<Outer>(&json!({"root": "a", "depth": 3, "width": 4})).unwrap();
        assert_eq!((good.inner.depth, good.inner.width), (3, 4));
        assert_eq!(good.root, "a");
        let bad = json!({"root": 1, "depth": 300, "width": 300, "colour": 1});
        let problems = read::<Outer>(&bad).unwrap_err();
        let told: Vec<_> = problems
            .iter()
            .map(|problem| (problem.key.as_str(), problem.got.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("root", "1"),
                ("depth", "300"),
                ("width", "300"),
                ("colour", UNKNOWN)
            ]
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
