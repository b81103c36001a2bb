//! What a line must not show: passwords and what stands in for them.

/// Begin a line whose rest is secret.
const LINE_KEYS: [&str; 6] = [
    "PASS ",
    "ACCT ",
    "Authorization:",
    "Proxy-Authorization:",
    "Cookie:",
    "Set-Cookie:",
];
/// Stand before a secret within a line: the key, and what ends the secret.
const INLINE_KEYS: [&str; 6] = [
    "\"password\"",
    "\"passwd\"",
    "\"token\"",
    "password=",
    "passwd=",
    "token=",
];
const MASK: &str = "***";

/// The line with its secrets replaced by `***`.
#[must_use]
pub fn masked(line: &str) -> String {
    if let Some(key) = LINE_KEYS.iter().find(|key| begins(line, key)) {
        return format!("{} {MASK}", line[..key.len()].trim_end());
    }
    let mut out = String::new();
    let mut rest = line;
    while let Some((start, end)) = next_secret(rest) {
        out.push_str(&rest[..start]);
        out.push_str(MASK);
        rest = &rest[end..];
    }
    out + rest
}

/// Whether the end of the line decides what of it is secret.
pub(super) fn undecided(partial: &str) -> bool {
    LINE_KEYS
        .iter()
        .any(|key| begins(partial, key) || begins(key, partial))
        || next_secret(partial).is_some_and(|(_, end)| end == partial.len())
        || INLINE_KEYS
            .iter()
            .any(|key| (2..key.len()).any(|cut| ends(partial, &key[..cut])))
}

fn begins(line: &str, key: &str) -> bool {
    line.as_bytes()
        .get(..key.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(key.as_bytes()))
}

fn ends(line: &str, part: &str) -> bool {
    line.len() >= part.len()
        && line.as_bytes()[line.len() - part.len()..].eq_ignore_ascii_case(part.as_bytes())
}

/// Where the first secret within a line starts and ends.
fn next_secret(line: &str) -> Option<(usize, usize)> {
    let (at, key) = INLINE_KEYS
        .iter()
        .filter_map(|key| {
            let at = line
                .as_bytes()
                .windows(key.len())
                .position(|window| window.eq_ignore_ascii_case(key.as_bytes()))?;
            Some((at, *key))
        })
        .min()?;
    let after = at + key.len();
    if key.ends_with('=') {
        let end = line[after..].find(|c: char| c == '&' || c == '"' || c.is_whitespace());
        return Some((after, end.map_or(line.len(), |end| after + end)));
    }
    // What follows the key of JSON: a colon and a value.
    let value = line[after..].trim_start_matches([':', ' ', '\t']);
    let start = line.len() - value.len();
    let length = match value.strip_prefix('"') {
        Some(string) => string_end(string).map(|end| end + 1),
        None => value.find([',', '}', ' ']),
    };
    Some((start, length.map_or(line.len(), |length| start + length)))
}

/// The length of a JSON string whose opening quote is gone, with its closing one.
fn string_end(string: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in string.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t35_secrets_are_masked_wherever_they_stand() {
        for (line, expected) in [
            ("PASS 123456", "PASS ***"),
            ("pass a b", "pass ***"),
            ("PASV", "PASV"),
            ("authorization: Basic eHp6OjE=", "authorization: ***"),
            (
                r#"{"username":"xzz","password":"12\"34"}"#,
                r#"{"username":"xzz","password":***}"#,
            ),
            (
                r#"{"password" : 1234, "a":1}"#,
                r#"{"password" : ***, "a":1}"#,
            ),
            (
                "GET /?token=abc&b=1 HTTP/1.1",
                "GET /?token=***&b=1 HTTP/1.1",
            ),
            ("password=a&token=b", "password=***&token=***"),
            (r#"{"password":"#, r#"{"password":***"#),
            ("", ""),
        ] {
            assert_eq!(masked(line), expected);
        }
    }

    #[test]
    fn t35_a_line_cut_before_its_secret_ends_is_undecided() {
        for cut in [
            "P",
            "PASS 12",
            "Authori",
            r#"{"password":"12"#,
            r#"{"passw"#,
        ] {
            assert!(undecided(cut), "{cut}");
        }
        for clear in ["RETR a", r#"{"cmd":"get","file":"a"}"#, "hello"] {
            assert!(!undecided(clear), "{clear}");
        }
    }
}
