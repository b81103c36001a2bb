//! JSON Pointer (RFC 6901).

use super::string::encode;

/// The reference tokens of a pointer, unescaped; none means the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads `/a/0/b~1c`. The error says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let Some(tokens) = text.strip_prefix('/') else {
            return Err(format!(
                "expected \"\" or a pointer that starts with '/', got {}",
                encode(text)
            ));
        };
        tokens
            .split('/')
            .map(unescape)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// The unescaped tokens.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }

    /// Whether `other` lies inside what this points at.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.len() > self.0.len() && other.0.starts_with(&self.0)
    }
}

/// An index into an array of `len` elements: digits without leading zeros (section 4).
pub fn array_index(token: &str, len: usize) -> Option<usize> {
    let plain =
        token == "0" || (!token.starts_with('0') && token.bytes().all(|b| b.is_ascii_digit()));
    token.parse().ok().filter(|&index| plain && index < len)
}

fn unescape(token: &str) -> Result<String, String> {
    let mut rest = token;
    while let Some(tilde) = rest.find('~') {
        rest = &rest[tilde + 1..];
        if !rest.starts_with(['0', '1']) {
            return Err(format!(
                "expected \"~0\" or \"~1\" where a pointer has '~', got {}",
                encode(token)
            ));
        }
    }
    Ok(token.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &str) -> Vec<String> {
        Pointer::parse(text).unwrap().tokens().to_vec()
    }

    #[test]
    fn tokens_are_unescaped_in_order() {
        assert!(tokens("").is_empty());
        assert_eq!(tokens("/"), [""]);
        assert_eq!(tokens("/a~1b/m~0n/~01/0"), ["a/b", "m~n", "~1", "0"]);
    }

    #[test]
    fn other_texts_are_refused() {
        assert_eq!(
            Pointer::parse("a").unwrap_err(),
            "expected \"\" or a pointer that starts with '/', got \"a\""
        );
        for text in ["/~", "/a~2", "/~0~"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn indexes_have_one_spelling() {
        assert_eq!(array_index("0", 1), Some(0));
        assert_eq!(array_index("10", 11), Some(10));
        for token in ["", "-", "00", "01", "+1", "1", "99999999999999999999999"] {
            assert_eq!(array_index(token, 1), None, "{token}");
        }
    }
}
