//! From the lines of a transcript to steps, and from their text to bytes and patterns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::pattern::{Pattern, Piece};
use super::{Case, Step, Text};

/// The cases, or the line that is wrong and why.
pub(super) fn parse(text: &str) -> Result<Vec<Case>, (usize, String)> {
    let mut cases: Vec<Case> = Vec::new();
    let mut crlf = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(name) = line.strip_prefix("==") {
            let name = name.trim().to_string();
            if name.is_empty() || cases.iter().any(|case| case.name == name) {
                return Err((
                    number,
                    format!("expected a case name of its own, got {name:?}"),
                ));
            }
            cases.push(Case {
                name,
                steps: Vec::new(),
            });
        } else if let Some(eol) = line.strip_prefix("eol ") {
            crlf = match eol.trim() {
                "crlf" => true,
                "none" => false,
                other => return Err((number, format!("expected crlf or none, got {other:?}"))),
            };
        } else if !line.trim().is_empty() && !line.starts_with('#') {
            let step = step(line, crlf).map_err(|why| (number, why))?;
            let case = cases.last_mut().ok_or((
                number,
                "expected `== NAME` before the first line".to_string(),
            ))?;
            case.steps.push((number, step));
        }
    }
    match cases.iter().find(|case| case.steps.is_empty()) {
        Some(case) => Err((
            text.lines().count(),
            format!("case {:?} has no lines", case.name),
        )),
        None if cases.is_empty() => Err((1, "no cases".into())),
        None => Ok(cases),
    }
}

fn step(line: &str, crlf: bool) -> Result<Step, String> {
    let (mark, rest) = line.split_once(':').unwrap_or((line, ""));
    let text = rest.strip_prefix(' ').unwrap_or(rest);
    let plain = || Text::Plain {
        text: text.to_string(),
        crlf,
    };
    let step = match mark.trim_end() {
        "C" => Step::Send(plain()),
        "S" => Step::Expect(plain()),
        "C-hex" => Step::Send(Text::Hex(text.into())),
        "S-hex" => Step::Expect(Text::Hex(text.into())),
        "C-close" => Step::ClientClose,
        "S-close" => Step::ServerClose,
        "T" => Step::Pass(duration(text.trim())?),
        other => return Err(format!("expected a line of C, S or T, got {other:?}")),
    };
    // Variables are not known yet, but what is wrong without them is wrong for good.
    match &step {
        Step::Send(Text::Hex(text)) if !text.contains('{') => drop(hex_pieces(text)?),
        Step::Expect(Text::Hex(text)) if !text.contains('{') => drop(hex_pieces(text)?),
        Step::Send(Text::Plain { text, .. }) | Step::Expect(Text::Plain { text, .. }) => {
            drop(unescape(text)?)
        }
        _ => {}
    }
    Ok(step)
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a time such as 1500ms or 30s, got {text:?}");
    let (number, unit): (_, fn(u64) -> Duration) =
        match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => (number, Duration::from_millis),
            (None, Some(number)) => (number, Duration::from_secs),
            (None, None) => return Err(wrong()),
        };
    number.parse().map(unit).map_err(|_| wrong())
}

/// The bytes that a `C` line sends.
pub(super) fn bytes(text: &Text, vars: &BTreeMap<String, String>) -> Result<Vec<u8>, String> {
    match text {
        Text::Plain { text, crlf } => {
            let mut bytes = unescape(&substitute(text, vars))?;
            bytes.extend_from_slice(if *crlf { b"\r\n" } else { b"" });
            Ok(bytes)
        }
        Text::Hex(text) => {
            let pieces = hex_pieces(&substitute(text, vars))?;
            let byte = |piece| match piece {
                Piece::Byte(byte) => Ok(byte),
                Piece::AnyByte | Piece::Any => Err("a client sends bytes, not `..`".to_string()),
            };
            pieces.into_iter().map(byte).collect()
        }
    }
}

/// What an `S` line accepts.
pub(super) fn pattern(text: &Text, vars: &BTreeMap<String, String>) -> Result<Pattern, String> {
    let pieces = match text {
        Text::Hex(text) => hex_pieces(&substitute(text, vars))?,
        Text::Plain { text, crlf } => {
            let text = substitute(text, vars);
            let mut pieces = Vec::new();
            for (index, part) in text.split("...").enumerate() {
                if index > 0 {
                    pieces.push(Piece::Any);
                }
                pieces.extend(unescape(part)?.into_iter().map(Piece::Byte));
            }
            let eol: &[u8] = if *crlf { b"\r\n" } else { b"" };
            pieces.extend(eol.iter().copied().map(Piece::Byte));
            pieces
        }
    };
    Ok(Pattern::new(pieces))
}

/// Replaces each `{name}` that is known; a brace of JSON stays.
fn substitute(text: &str, vars: &BTreeMap<String, String>) -> String {
    vars.iter().fold(text.to_string(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), value)
    })
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\\' {
            bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        bytes.push(match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('t') => b'\t',
            Some('0') => 0,
            Some('\\') => b'\\',
            Some('x') => {
                let digits: String = chars.by_ref().take(2).collect();
                hex_byte(&digits)?
            }
            other => {
                return Err(format!(
                    "expected r, n, t, 0, x or \\ after a backslash, got {other:?}"
                ));
            }
        });
    }
    Ok(bytes)
}

fn hex_pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    for word in text.split_whitespace() {
        match word {
            ".." => pieces.push(Piece::AnyByte),
            "..." => pieces.push(Piece::Any),
            _ => {
                for pair in word.as_bytes().chunks(2) {
                    let digits = String::from_utf8_lossy(pair);
                    pieces.push(if digits == ".." {
                        Piece::AnyByte
                    } else {
                        Piece::Byte(hex_byte(&digits)?)
                    });
                }
            }
        }
    }
    Ok(pieces)
}

fn hex_byte(digits: &str) -> Result<u8, String> {
    let all_hex = digits.len() == 2 && digits.chars().all(|digit| digit.is_ascii_hexdigit());
    let byte = all_hex
        .then(|| u8::from_str_radix(digits, 16).ok())
        .flatten();
    byte.ok_or_else(|| format!("expected two hexadecimal digits, got {digits:?}"))
}
