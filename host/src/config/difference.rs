//! Which keys differ between two configurations, as they were written; never a secret value.

use polyport_abi::live;
use serde_json::Value;

use super::{Config, Place};

/// The longest value that is shown, in characters.
const SHOWN: usize = 80;

/// What the name of a secret's key has in it.
const SECRETS: [&str; 5] = ["password", "passwd", "secret", "token", "key"];

/// A key that was added, removed, or has another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChange {
    /// The dotted key.
    pub key: String,
    /// Where it is written now; for one that is gone, where the nearest above it is.
    pub place: Place,
    /// `BEFORE -> AFTER`, with `default` for a key that is not there; `changed` for a secret.
    pub change: String,
}

impl std::fmt::Display for KeyChange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}: {}", self.place, self.key, self.change)
    }
}

/// The keys in which `after` differs, in its order; those that are gone come last in their table.
pub fn differences(before: &Config, after: &Config) -> Vec<KeyChange> {
    let changed = live::changed(&before.tree, &after.tree).into_iter();
    let told = changed.map(
        |live::Changed {
             key,
             before,
             after: value,
         }| {
            let hidden = key.split(['.', '[']).any(is_secret)
                || [before, value].into_iter().flatten().any(holds_secret);
            let change = if hidden {
                "changed".to_owned()
            } else {
                format!("{} -> {}", spelt(before), spelt(value))
            };
            KeyChange {
                place: after.place(&key),
                key,
                change,
            }
        },
    );
    told.collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRETS.iter().any(|word| name.contains(word))
}

/// Whether something in the value has a name of a secret, or is an address with a password in it.
fn holds_secret(value: &Value) -> bool {
    match value {
        Value::Object(table) => table
            .iter()
            .any(|(key, value)| is_secret(key) || holds_secret(value)),
        Value::Array(items) => items.iter().any(holds_secret),
        Value::String(text) => text
            .split_once("://")
            .is_some_and(|(_, rest)| rest.split('/').next().unwrap_or_default().contains('@')),
        _ => false,
    }
}

fn spelt(value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "default".to_owned();
    };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::*;

    fn config(text: &str) -> Config {
        let source = Source {
            file: "a.toml".into(),
            set: vec![],
            plugins: None,
            control: None,
        };
        Config::parse(&source, text.as_bytes()).unwrap()
    }

    fn lines(before: &str, after: &str) -> Vec<String> {
        let changes = differences(&config(before), &config(after));
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_key_that_differs_has_its_line() {
        assert_eq!(
            lines(
                "[services.x]\nplugin = 'p'\n[services.x.settings]\na = 1\nsame = 2\nb.c = 'x'\n",
                "[services.x]\nplugin = 'p'\n[services.x.settings]\nsame = 2\na = [1]\nd = true\n"
            ),
            [
                "a.toml:5:1: services.x.settings.a: 1 -> [1]",
                "a.toml:6:1: services.x.settings.d: default -> true",
                "a.toml:3:13: services.x.settings.b.c: \"x\" -> default",
            ]
        );
    }

    #[test]
    fn no_secret_is_shown() {
        let text = |secret: &str| {
            format!(
                "[services.x]\nplugin = 'p'\n[services.x.settings]\nApiToken = '{secret}'\nlogin.password.is = '{secret}'\nmany = [{{ secret = '{secret}' }}]\nupstream = 'mqtt://me:{secret}@host/x'\nlong = '{}{secret}'\n",
                "x".repeat(SHOWN)
            )
        };
        let lines = lines(&text("hush1"), &text("hush2"));
        assert_eq!(lines.len(), 5, "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("hush")), "{lines:?}");
        assert_eq!(
            lines
                .iter()
                .filter(|line| line.ends_with(": changed"))
                .count(),
            4,
            "{lines:?}"
        );
    }
}
