//! Commands of an operator to the broker: `polyport mqtt clients` and the like. Answers come in pages: the engine is
//! locked for one at a time, and never while somebody reads.

mod bans;
mod bridges;
mod kick;
mod retained;
mod sessions;
mod tail;

use std::sync::Arc;

use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Command, Failure};
use serde_json::{Value, json};

use crate::Mqtt;
use crate::engine::{Engine, Standing};

/// What there is.
pub(crate) const COMMANDS: &[Command] = &[
    sessions::CLIENTS,
    sessions::SESSIONS,
    kick::KICK,
    bans::BAN,
    bans::UNBAN,
    bans::BANS,
    bridges::BRIDGES,
    retained::RETAINED,
    tail::TAIL,
];

/// Does a command.
pub(crate) async fn operate(
    mqtt: Arc<Mqtt>,
    command: &'static Command,
    arguments: Arguments,
    answer: Answer,
) -> Result<(), Failure> {
    match command.name {
        "clients" => sessions::list(&mqtt, true, arguments, &answer).await,
        "sessions" => sessions::list(&mqtt, false, arguments, &answer).await,
        "kick" => kick::kick(&mqtt, arguments, &answer).await,
        "ban" => bans::ban(&mqtt, arguments, &answer).await,
        "unban" => bans::unban(&mqtt, arguments, &answer).await,
        "bans" => bans::bans(&mqtt, arguments, &answer).await,
        "bridges" => bridges::bridges(&mqtt, arguments, &answer).await,
        "retained" => retained::retained(&mqtt, arguments, &answer).await,
        _ => tail::tail(&mqtt, arguments, &answer).await,
    }
}

/// Asks an engine, which says nothing while it is frozen, and whose place another may take.
async fn ask<T>(engine: &Engine, mut ask: impl FnMut(&Engine) -> Option<T>) -> Result<T, Failure> {
    loop {
        match engine.standing() {
            Standing::Serving => {
                if let Some(answer) = ask(engine) {
                    return Ok(answer);
                }
            }
            Standing::Frozen => engine.moved(Standing::Frozen).await,
            Standing::Retired => return Err(Failure::Elsewhere),
        }
    }
}

/// How many rows are wanted.
fn limit(arguments: &Arguments) -> Result<u64, Failure> {
    Ok(arguments.number("-n", u64::MAX, 1, u64::MAX)?)
}

/// Whether a text is like a pattern, in which `*` stands for anything.
fn is_like(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}

/// A payload's first bytes as JSON: text where it is text.
fn payload(bytes: &[u8], most: usize) -> Value {
    let cut = bytes.len() > most;
    let shown = &bytes[..bytes.len().min(most)];
    let text = match std::str::from_utf8(shown) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(error) if cut && error.error_len().is_none() => {
            std::str::from_utf8(&shown[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    match text {
        Some(text) if cut => format!("{text}…").into(),
        Some(text) => text.into(),
        None => {
            use base64::Engine as _;
            json!({ "base64": base64::prelude::BASE64_STANDARD.encode(shown) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a*a", "a", false),
            ("**", "x", true),
            ("a*b*c", "abc", true),
            ("*b*b", "b", false),
        ] {
            assert_eq!(is_like(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_payload_is_text_where_it_is_text() {
        assert_eq!(payload(b"on", 10), json!("on"));
        assert_eq!(payload("größer".as_bytes(), 3), json!("gr…"));
        assert_eq!(payload(b"a\xff", 10), json!({"base64": "Yf8="}));
        assert_eq!(payload(b"", 0), json!(""));
    }
}
