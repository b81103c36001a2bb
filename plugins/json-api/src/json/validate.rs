//! The rules a text must pass before it is stored.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::lexer::{Kind, Lexer};
use super::string::decode;
use super::syntax_error::SyntaxError;

/// What to do with an object that names a key twice (RFC 8259 section 4 leaves it open).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DuplicateKeys {
    /// Store the document as it came; readers mostly take the last one.
    #[default]
    Keep,
    /// Refuse the document, as I-JSON (RFC 7493 section 2.3) asks.
    Refuse,
}

/// What a document may be, beyond being JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Containers inside each other, from 1.
    pub max_depth: usize,
    /// Objects that name a key twice.
    pub duplicate_keys: DuplicateKeys,
}

/// `bytes` as text if they are one JSON value in UTF-8 that keeps the `rules`.
///
/// Accepted is the grammar of RFC 8259, with numbers of any size and any precision; refused are a
/// byte order mark and unpaired surrogates.
pub fn validate(bytes: &[u8], rules: Rules) -> Result<&str, SyntaxError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let good = error.valid_up_to();
        let prefix = std::str::from_utf8(&bytes[..good]).unwrap_or_default();
        let got = format!(
            "the byte 0x{:02x}",
            bytes.get(good).copied().unwrap_or_default()
        );
        SyntaxError::with(prefix, good, "text in UTF-8", got)
    })?;
    let mut lexer = Lexer::new(text, rules.max_depth);
    let mut keys = Vec::new();
    while let Some(token) = lexer.token()? {
        if rules.duplicate_keys == DuplicateKeys::Keep {
            continue;
        }
        match token.kind {
            Kind::ObjectStart => keys.push(HashSet::new()),
            Kind::ObjectEnd => drop(keys.pop()),
            Kind::Key => {
                let spelling = &text[token.start..token.end];
                let fresh = keys
                    .last_mut()
                    .is_none_or(|seen| seen.insert(decode(spelling)));
                if !fresh {
                    let got = format!("{spelling} again");
                    return Err(SyntaxError::with(text, token.start, "each key once", got));
                }
            }
            _ => {}
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: Rules = Rules {
        max_depth: 100,
        duplicate_keys: DuplicateKeys::Keep,
    };

    fn refusal(text: &str) -> String {
        validate(text.as_bytes(), RULES).unwrap_err().to_string()
    }

    #[test]
    fn positions_and_expectations_are_told() {
        let cases = [
            (
                "",
                "line 1, column 1 (byte 0): expected a value, got the end of the text",
            ),
            (
                "{\n  \"a\": 01\n}",
                "line 2, column 9 (byte 10): expected no digit after a leading zero, got '1'",
            ),
            (
                "{\"ä\" 1}",
                "line 1, column 6 (byte 6): expected ':' after the key, got '1'",
            ),
            (
                "{\"a\":1,}",
                "line 1, column 8 (byte 7): expected a key in double quotes, got '}'",
            ),
            (
                "{a:1}",
                "line 1, column 2 (byte 1): expected a key in double quotes or '}', got 'a'",
            ),
            (
                "[1 2]",
                "line 1, column 4 (byte 3): expected ',' or ']', got '2'",
            ),
            (
                "[1",
                "line 1, column 3 (byte 2): expected ',' or ']', got the end of the text",
            ),
            (
                "{} x",
                "line 1, column 4 (byte 3): expected the end of the text, got 'x'",
            ),
            ("nul", "line 1, column 1 (byte 0): expected null, got 'n'"),
            (
                "\u{feff}{}",
                "line 1, column 1 (byte 0): expected a value, got a byte order mark",
            ),
            (
                "\"a\tb\"",
                "line 1, column 3 (byte 2): expected control characters in a string to be escaped, got '\\t'",
            ),
            (
                "\"\\x\"",
                "line 1, column 3 (byte 2): expected one of \" \\ / b f n r t u after '\\', got 'x'",
            ),
            (
                "\"\\ud83d\"",
                "line 1, column 2 (byte 1): expected a surrogate pair of two \\u escapes, high then low, got an unpaired \"\\ud83d\"",
            ),
            (
                "'a'",
                "line 1, column 1 (byte 0): expected a value, got '\\''",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(refusal(text), expected, "{text:?}");
        }
        let latin1 = validate(b"\"caf\xe9\"", RULES).unwrap_err().to_string();
        assert_eq!(
            latin1,
            "line 1, column 5 (byte 4): expected text in UTF-8, got the byte 0xe9"
        );
    }

    #[test]
    fn numbers_have_no_limits() {
        for text in [
            "1e400",
            "-0",
            "0.1000000000000000055511151231257827",
            "123456789012345678901234567890",
        ] {
            assert_eq!(validate(text.as_bytes(), RULES), Ok(text));
        }
    }

    #[test]
    fn depth_is_limited_without_recursion() {
        let deep = "[".repeat(100) + &"]".repeat(100);
        assert!(validate(deep.as_bytes(), RULES).is_ok());
        let deeper = format!("[{deep}]");
        assert_eq!(
            refusal(&deeper),
            "line 1, column 101 (byte 100): expected at most 100 levels of nesting, got one more"
        );
        let wide = Rules {
            max_depth: usize::MAX,
            ..RULES
        };
        assert!(validate("[".repeat(3_000_000).as_bytes(), wide).is_err());
    }

    #[test]
    fn duplicate_keys_are_compared_decoded_and_per_object() {
        let strict = Rules {
            duplicate_keys: DuplicateKeys::Refuse,
            ..RULES
        };
        let once = br#"{"a":{"a":1},"b":[{"a":1},{"a":2}]}"#;
        assert!(validate(once, strict).is_ok());
        let twice = br#"{"a":1,"\u0061":2}"#;
        assert!(validate(twice, RULES).is_ok());
        assert_eq!(
            validate(twice, strict).unwrap_err().to_string(),
            "line 1, column 8 (byte 7): expected each key once, got \"\\u0061\" again"
        );
    }

    /// Texts near the grammar: valid values, and the same with one byte changed, cut or doubled.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        let text = super::super::strategies::text();
        (text, any::<prop::sample::Index>(), any::<u8>(), 0..4u8).prop_map(
            |(text, index, byte, change)| {
                let mut bytes = text.into_bytes();
                let at = index.index(bytes.len());
                match change {
                    0 => bytes[at] = b"{}[],:\"\\ue0.-+1tfn \n"[usize::from(byte) % 20],
                    1 => bytes.truncate(at),
                    2 => bytes.insert(at, byte),
                    _ => {}
                }
                bytes
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn accepts_what_serde_json_accepts(bytes in nearly_json()) {
            let ours = validate(&bytes, RULES);
            let theirs = serde_json::from_slice::<serde_json::Value>(&bytes);
            // serde_json reads numbers into a float and refuses those that overflow it.
            let overflow = theirs.as_ref().is_err_and(|e| e.to_string().contains("number out of range"));
            prop_assert!(ours.is_ok() == theirs.is_ok() || overflow, "{:?} {:?}", ours, theirs);
        }

        #[test]
        fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let ours = validate(&bytes, RULES).is_ok();
            let theirs = serde_json::from_slice::<serde_json::Value>(&bytes).is_ok();
            prop_assert_eq!(ours, theirs);
        }
    }
}
