//! Patterns of topics, which are topic filters: `sensors/%u/#`, `+/state`.
//!
//! `+` is one level, `#` at the end any number of levels, none included. Neither stands for a first
//! level that begins with `$`.

/// Which topics a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Vec<Level>,
    /// Whether it ends with `#`.
    rest: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Any,
    Literal(String),
}

/// A filter of a client, level by level.
#[derive(Clone)]
struct Filter<'a> {
    levels: std::str::Split<'a, char>,
    rest: bool,
}

impl TopicPattern {
    /// Reads `text`; `name` stands for `%u`.
    pub fn parse(text: &str, name: &str) -> Result<Self, String> {
        let mut levels = Vec::new();
        let mut rest = false;
        for part in text.split('/') {
            if rest {
                return Err(format!("expected \"#\" at the end, got {text:?}"));
            }
            match part {
                "#" => rest = true,
                "+" => levels.push(Level::Any),
                part if part.contains(['+', '#']) => {
                    return Err(format!(
                        "expected \"+\" and \"#\" between slashes, got {part:?}"
                    ));
                }
                part => {
                    let mut literal = String::new();
                    super::rule::expand(part, name, &['/', '+', '#'], |piece, _| {
                        literal.push_str(piece);
                    })?;
                    levels.push(Level::Literal(literal));
                }
            }
        }
        Ok(Self { levels, rest })
    }

    /// Whether `topic`, a name without wildcards, is meant.
    pub fn matches(&self, topic: &str) -> bool {
        if topic.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let mut topic = topic.split('/');
        for level in &self.levels {
            match (level, topic.next()) {
                (_, None) => return false,
                (Level::Literal(literal), Some(part)) if literal != part => return false,
                _ => {}
            }
        }
        self.rest || topic.next().is_none()
    }

    /// Whether every topic that `filter` stands for is meant.
    pub fn covers(&self, filter: &str) -> bool {
        if filter.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let Some(mut filter) = Filter::parse(filter) else {
            return false;
        };
        for level in &self.levels {
            match (level, filter.levels.next()) {
                (_, None) => return false,
                (Level::Literal(literal), Some(part)) if part == "+" || literal != part => {
                    return false;
                }
                _ => {}
            }
        }
        self.rest || (filter.levels.next().is_none() && !filter.rest)
    }

    /// Whether any topic that `filter` stands for is meant.
    pub fn overlaps(&self, filter: &str) -> bool {
        let ours = self.begins_with_wildcard();
        let theirs = filter.starts_with(['+', '#']);
        let dollar =
            matches!(self.levels.first(), Some(Level::Literal(first)) if first.starts_with('$'));
        if (filter.starts_with('$') && ours) || (dollar && theirs) {
            return false;
        }
        let Some(mut filter) = Filter::parse(filter) else {
            return true;
        };
        for level in &self.levels {
            match (level, filter.levels.next()) {
                (_, None) => return filter.rest,
                (Level::Literal(literal), Some(part)) if part != "+" && literal != part => {
                    return false;
                }
                _ => {}
            }
        }
        self.rest || filter.levels.next().is_none()
    }

    fn begins_with_wildcard(&self) -> bool {
        !matches!(self.levels.first(), Some(Level::Literal(_)))
    }
}

impl<'a> Filter<'a> {
    /// None if `text` has a `#` where none may be.
    fn parse(text: &'a str) -> Option<Self> {
        let (levels, rest) = match text.strip_suffix('#') {
            Some("") => {
                let mut none = "".split('/');
                none.next();
                (none, true)
            }
            Some(before) => (before.strip_suffix('/')?.split('/'), true),
            None => (text.split('/'), false),
        };
        let misplaced = levels.clone().any(|level| level == "#");
        (!misplaced).then_some(Self { levels, rest })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::parse(text, "alice").unwrap()
    }

    #[test]
    fn topics() {
        for (text, topic, meant) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("/a", "/a", true),
            ("/a", "a", false),
            ("sensors/%u/#", "sensors/alice/t", true),
            ("sensors/%u/#", "sensors/bob/t", false),
        ] {
            assert_eq!(pattern(text).matches(topic), meant, "{text} {topic}");
        }
    }

    #[test]
    fn filters() {
        for (text, filter, covers, overlaps) in [
            ("a/#", "a/#", true, true),
            ("a/#", "a/+/c", true, true),
            ("a/#", "a", true, true),
            ("a/#", "#", false, true),
            ("a/+", "a/#", false, true),
            ("a/+", "a/+", true, true),
            ("a/b", "a/+", false, true),
            ("a/b", "+/c", false, false),
            ("a/b/c", "a/b/#", false, true),
            ("#", "#", true, true),
            ("#", "$SYS/#", false, false),
            ("$SYS/#", "#", false, false),
            ("$SYS/#", "$SYS/#", true, true),
            ("a/b/c", "a/b", false, false),
            ("a", "a/#", false, true),
            ("#", "a/#/b", false, true),
        ] {
            assert_eq!(
                pattern(text).covers(filter),
                covers,
                "{text} covers {filter}"
            );
            assert_eq!(
                pattern(text).overlaps(filter),
                overlaps,
                "{text} overlaps {filter}"
            );
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for wrong in ["a/#/b", "a#", "a+/b", "%c/x", "%"] {
            assert!(TopicPattern::parse(wrong, "alice").is_err(), "{wrong}");
        }
        for name in ["a/b", "+", "x#"] {
            assert!(TopicPattern::parse("%u/x", name).is_err(), "{name}");
            assert!(TopicPattern::parse("y/x", name).is_ok(), "{name}");
        }
    }

    const FILTER: &str = "(a|b|\\$s|\\+|)(/(a|b|\\+|)){0,3}(/#)?|#";
    const TOPIC: &str = "(a|b|\\$s)(/(a|b|)){0,4}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_covered_filter_stands_for_meant_topics_only(text in FILTER, filter in FILTER, topic in TOPIC) {
            let (ours, theirs) = (pattern(&text), pattern(&filter));
            if ours.covers(&filter) && theirs.matches(&topic) {
                prop_assert!(ours.matches(&topic), "{} {} {}", text, filter, topic);
            }
            if ours.matches(&topic) && theirs.matches(&topic) {
                prop_assert!(ours.overlaps(&filter), "{} {} {}", text, filter, topic);
            }
            prop_assert_eq!(ours.overlaps(&filter), theirs.overlaps(&text));
        }

        #[test]
        fn a_name_is_a_filter_for_itself(text in FILTER, topic in TOPIC) {
            let pattern = pattern(&text);
            prop_assert_eq!(pattern.covers(&topic), pattern.matches(&topic));
            prop_assert_eq!(pattern.overlaps(&topic), pattern.matches(&topic));
        }

        #[test]
        fn every_filter_covers_itself(filter in FILTER) {
            prop_assert!(pattern(&filter).covers(&filter) && pattern(&filter).overlaps(&filter));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[/+#%u$a]{0,12}", filter in "[/+#$a]{0,12}") {
            for text in [text, near] {
                if let Ok(pattern) = TopicPattern::parse(&text, "alice") {
                    let _ = (pattern.matches(&filter), pattern.covers(&filter), pattern.overlaps(&filter));
                }
            }
        }
    }
}
