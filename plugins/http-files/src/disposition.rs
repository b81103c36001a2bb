//! `Content-Disposition`: the name a client keeps a file by (RFC 6266, RFC 8187).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// `attr-char` of RFC 8187, 3.2.1 stays as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Shown in the browser where it can be.
pub fn inline(name: &str) -> String {
    disposition("inline", name)
}

/// Always saved.
pub fn attachment(name: &str) -> String {
    disposition("attachment", name)
}

/// `filename` for every client, and `filename*` as well where that cannot hold the name.
fn disposition(kind: &str, name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' | '%' | '/' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    if plain == name {
        format!("{kind}; filename=\"{plain}\"")
    } else {
        format!(
            "{kind}; filename=\"{plain}\"; filename*=UTF-8''{}",
            utf8_percent_encode(name, ENCODED)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_name_is_quoted() {
        assert_eq!(inline("a b.txt"), "inline; filename=\"a b.txt\"");
        assert_eq!(attachment("x.tar.gz"), "attachment; filename=\"x.tar.gz\"");
    }

    #[test]
    fn any_other_name_is_given_twice() {
        assert_eq!(
            inline("\u{20ac} rates\"\r\n.txt"),
            "inline; filename=\"_ rates___.txt\"; filename*=UTF-8''%E2%82%AC%20rates%22%0D%0A.txt"
        );
    }
}
