//! Which clients a rule is for, and the names that stand in its topics.

/// Users and client identifiers by patterns, in which `*` stands for any text. No pattern at all means everyone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// Names of accounts.
    pub users: Vec<Box<str>>,
    /// Client identifiers.
    pub client_ids: Vec<Box<str>>,
}

/// What a client is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Names<'a> {
    /// Of its account, if it has one.
    pub user: Option<&'a str>,
    /// Client identifier.
    pub client_id: &'a str,
}

impl Who {
    /// Whether a client is meant.
    #[must_use]
    pub fn matches(&self, names: Names<'_>) -> bool {
        let one = |patterns: &[Box<str>], text: Option<&str>| {
            patterns.is_empty()
                || text.is_some_and(|text| patterns.iter().any(|pattern| stands_for(pattern, text)))
        };
        one(&self.users, names.user) && one(&self.client_ids, Some(names.client_id))
    }
}

impl Names<'_> {
    /// A text with `%u` and `%c` replaced. None if a name is missing or would be more than one level of a topic.
    #[must_use]
    pub fn fill(&self, text: &str) -> Option<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            filled.push_str(&rest[..at]);
            let name = match rest.as_bytes().get(at + 1) {
                Some(b'u') => self.user,
                Some(b'c') => Some(self.client_id),
                _ => {
                    filled.push('%');
                    rest = &rest[at + 1..];
                    continue;
                }
            };
            filled.push_str(name.filter(|name| is_level(name))?);
            rest = &rest[at + 2..];
        }
        filled.push_str(rest);
        Some(filled)
    }
}

fn is_level(name: &str) -> bool {
    !name.is_empty() && !name.contains(['/', '+', '#'])
}

/// `*` is any text, also none; a star that did not match enough takes one character more.
pub(super) fn stands_for(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if *byte == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((star_at, taken)) = star else {
                    return false;
                };
                star = Some((star_at, taken + 1));
                at = star_at + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a"),
            ("dev-*", "dev-"),
            ("*-7", "dev-7"),
            ("a*b*c", "aXbbYc"),
            ("**a", "a"),
        ] {
            assert!(stands_for(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("a", "A"),
            ("dev-*", "dev"),
            ("a*b", "abc"),
        ] {
            assert!(!stands_for(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_client_is_meant_by_user_and_identifier() {
        let names = |user, client_id| Names { user, client_id };
        let who = Who {
            users: vec!["dev-*".into(), "alice".into()],
            client_ids: vec!["c*".into()],
        };
        assert!(who.matches(names(Some("alice"), "c1")));
        assert!(!who.matches(names(Some("alice"), "x")));
        assert!(!who.matches(names(None, "c1")));
        assert!(Who::default().matches(names(None, "")));
    }

    #[test]
    fn names_are_one_level() {
        let names = Names {
            user: Some("alice"),
            client_id: "a/b",
        };
        assert_eq!(names.fill("%/u/%u%%x").as_deref(), Some("%/u/alice%%x"));
        assert_eq!(names.fill("x/%c"), None);
        assert_eq!(
            Names {
                user: None,
                ..names
            }
            .fill("%u"),
            None
        );
    }
}
