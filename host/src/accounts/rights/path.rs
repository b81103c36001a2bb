//! Patterns of paths: `/pub/**`, `/home/%u/*.txt`.

use super::rule::Piece;

/// The most segments of a pattern.
const MAX_SEGMENTS: usize = 64;

/// Which paths a rule is about. A path is the segments between its slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    /// `**`: any number of segments, none included.
    Rest,
    /// This very segment.
    Literal(Vec<u8>),
    /// A segment with `*`, which is `None` here.
    Glob(Vec<Option<u8>>),
}

impl PathPattern {
    /// Reads `text`; `name` stands for `%u`.
    pub fn parse(text: &str, name: &str) -> Result<Self, String> {
        let Some(inner) = text.strip_prefix('/') else {
            return Err(format!(
                "expected a path that begins with \"/\", got {text:?}"
            ));
        };
        let mut segments = Vec::new();
        for part in inner.split('/').filter(|part| !part.is_empty()) {
            segments.push(Segment::parse(part, name)?);
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(format!(
                "expected a path of at most {MAX_SEGMENTS} segments, got {}",
                segments.len()
            ));
        }
        Ok(Self(segments))
    }

    /// Whether `path` is meant.
    pub fn matches(&self, path: &str) -> bool {
        let mut pattern = &self.0[..];
        let mut path = segments(path);
        // Where to go on when the last `**` takes one more segment.
        let mut retry = None;
        loop {
            let before = path.clone();
            let fits = match (pattern.first(), path.next()) {
                (Some(Segment::Rest), _) => {
                    pattern = &pattern[1..];
                    if pattern.is_empty() {
                        return true;
                    }
                    path = before;
                    retry = Some((pattern, path.clone()));
                    continue;
                }
                (None, None) => return true,
                (Some(_), None) => return false, // one more segment taken leaves even fewer
                (None, Some(_)) => false,
                (Some(segment), Some(part)) => segment.matches(part.as_bytes()),
            };
            if fits {
                pattern = &pattern[1..];
                continue;
            }
            let Some((rest, from)) = &mut retry else {
                return false;
            };
            from.next();
            pattern = rest;
            path = from.clone();
        }
    }
}

impl Segment {
    fn parse(part: &str, name: &str) -> Result<Self, String> {
        if part == "**" {
            return Ok(Self::Rest);
        }
        if part.contains("**") {
            return Err(format!("expected \"**\" between slashes, got {part:?}"));
        }
        let mut glob = Vec::new();
        super::rule::expand(part, name, &['/'], |piece| {
            let (text, literal) = match piece {
                Piece::Written(text) => (text, false),
                Piece::Literal(text) => (text, true),
                Piece::ClientId => {
                    return Err(format!(
                        "expected %u or %%: %c, the client's id, is for topics, got {part:?}"
                    ));
                }
            };
            let star = |byte: u8| (literal || byte != b'*').then_some(byte);
            glob.extend(text.bytes().map(star));
            Ok(())
        })?;
        let literal: Option<Vec<u8>> = glob.iter().copied().collect();
        match literal.as_deref() {
            Some(b"." | b"..") => Err(format!(
                "expected a path without \".\" and \"..\", got {part:?}"
            )),
            Some(_) => Ok(Self::Literal(literal.unwrap_or_default())),
            None => Ok(Self::Glob(glob)),
        }
    }

    fn matches(&self, part: &[u8]) -> bool {
        match self {
            Self::Rest => true,
            Self::Literal(literal) => literal == part,
            Self::Glob(glob) => glob_matches(glob, part),
        }
    }
}

/// `*` is any number of bytes.
fn glob_matches(glob: &[Option<u8>], part: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut retry = None;
    loop {
        match (glob.get(at), part.get(place)) {
            (Some(None), _) => {
                at += 1;
                retry = Some((at, place));
            }
            (None, None) => return true,
            (Some(Some(wanted)), Some(byte)) if wanted == byte => {
                at += 1;
                place += 1;
            }
            (_, None) => return false,
            _ => match &mut retry {
                None => return false,
                Some((after_star, taken)) => {
                    *taken += 1;
                    (at, place) = (*after_star, *taken);
                }
            },
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> + Clone {
    path.split('/').filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> PathPattern {
        PathPattern::parse(text, "alice").unwrap()
    }

    /// The same by the definition, without care for time.
    fn naive(pattern: &[Segment], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (None, Some(_)) => false,
            (Some((Segment::Rest, rest)), _) => {
                (0..=path.len()).any(|taken| naive(rest, &path[taken..]))
            }
            (Some(_), None) => false,
            (Some((segment, rest)), Some((part, parts))) => {
                let fits = match segment {
                    Segment::Glob(glob) => naive_glob(glob, part.as_bytes()),
                    other => other.matches(part.as_bytes()),
                };
                fits && naive(rest, parts)
            }
        }
    }

    fn naive_glob(glob: &[Option<u8>], part: &[u8]) -> bool {
        match (glob.split_first(), part.split_first()) {
            (None, None) => true,
            (Some((None, rest)), _) => {
                (0..=part.len()).any(|taken| naive_glob(rest, &part[taken..]))
            }
            (Some((Some(a), rest)), Some((b, bytes))) => a == b && naive_glob(rest, bytes),
            _ => false,
        }
    }

    #[test]
    fn stars_and_names() {
        for (text, path, meant) in [
            ("/", "/", true),
            ("/", "/a", false),
            ("/pub", "/pub/", true),
            ("/pub", "/pub/a", false),
            ("/pub/**", "/pub", true),
            ("/pub/**", "/pub/a/b", true),
            ("/pub/**", "/public", false),
            ("/**", "/", true),
            ("/**/x", "/x", true),
            ("/**/x", "/a/b/x", true),
            ("/**/x", "/a/x/b", false),
            ("/*", "/a", true),
            ("/*", "/", false),
            ("/*", "/a/b", false),
            ("/*.txt", "/a.txt", true),
            ("/*.txt", "/a.txt.gz", false),
            ("/a*b*c", "/a-b-b-c", true),
            ("/home/%u/**", "/home/alice/x", true),
            ("/home/%u/**", "/home/bob/x", false),
            ("/100%%", "/100%", true),
            ("/with space, and comma", "/with space, and comma", true),
            ("/%u.txt", "/alice.txt", true),
        ] {
            assert_eq!(pattern(text).matches(path), meant, "{text} {path}");
        }
    }

    #[test]
    fn a_name_is_no_pattern_of_its_own() {
        let star = PathPattern::parse("/home/%u", "*").unwrap();
        assert!(star.matches("/home/*") && !star.matches("/home/x"));
        let refused = PathPattern::parse("/home/%u", "a/b").unwrap_err();
        assert!(refused.contains("\"a/b\""), "{refused}");
    }

    #[test]
    fn what_could_never_match_is_refused() {
        for wrong in ["", "pub", "/a/../b", "/.", "/a**", "/%c", "/%", "/%x"] {
            assert!(PathPattern::parse(wrong, "alice").is_err(), "{wrong}");
        }
        assert!(PathPattern::parse(&"/a".repeat(65), "alice").is_err());
        assert!(PathPattern::parse("/%u", "..").is_err());
    }

    proptest! {
        #[test]
        fn matching_follows_the_definition(text in "(/(a|b|\\*|\\*\\*|a\\*|\\*b\\*)){0,6}", path in "(/[ab]{1,3}){0,6}") {
            let pattern = pattern(&format!("/{text}"));
            let parts: Vec<&str> = segments(&path).collect();
            prop_assert_eq!(pattern.matches(&path), naive(&pattern.0, &parts));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), name in any::<String>(), near in "[/*%uc.a]{0,20}") {
            for text in [text, near] {
                if let Ok(pattern) = PathPattern::parse(&text, &name) {
                    let _ = pattern.matches(&text);
                }
            }
        }
    }
}
