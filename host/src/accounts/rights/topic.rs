//! Patterns of topics, which are topic filters: `sensors/%u/#`, `+/state`.
//!
//! `+` is one level, `#` at the end any number of levels, none included. Neither stands for a first
//! level that begins with `$`. `%c` is the id of the client that asks, whichever that is.

use super::rule::Piece;

/// Which topics a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern {
    levels: Vec<Level>,
    /// Whether it ends with `#`.
    rest: bool,
    /// Where `%c` stands in it: what it comes to for an id that is itself a pattern, which is every
    /// topic from there on.
    from_id_on: Option<Box<Self>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Any,
    Literal(String),
    /// Texts, and between each two of them the client's id.
    WithId(Vec<String>),
}

impl Level {
    /// Whether it means this very level of a topic; `id` is the client's.
    fn is(&self, part: &str, id: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Literal(literal) => literal == part,
            Self::WithId(texts) => {
                let mut rest = Some(part);
                for (index, text) in texts.iter().enumerate() {
                    rest = rest
                        .and_then(|rest| {
                            if index > 0 {
                                rest.strip_prefix(id)
                            } else {
                                Some(rest)
                            }
                        })
                        .and_then(|rest| rest.strip_prefix(text.as_str()));
                }
                rest == Some("")
            }
        }
    }

    /// As [`Level::is`] for a level of a filter; only `+` is every level.
    fn covers(&self, part: &str, id: &str) -> bool {
        matches!(self, Self::Any) || (part != "+" && self.is(part, id))
    }
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
        let mut first_id = None;
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
                    let mut before = Vec::new();
                    let mut text = String::new();
                    super::rule::expand(part, name, &['/', '+', '#'], |piece| {
                        match piece {
                            Piece::Written(piece) | Piece::Literal(piece) => text.push_str(piece),
                            Piece::ClientId => before.push(std::mem::take(&mut text)),
                        }
                        Ok(())
                    })?;
                    levels.push(if before.is_empty() {
                        Level::Literal(text)
                    } else {
                        first_id.get_or_insert(levels.len());
                        before.push(text);
                        Level::WithId(before)
                    });
                }
            }
        }
        let from_id_on = first_id.map(|first| {
            Box::new(Self {
                levels: levels[..first].to_vec(),
                rest: true,
                from_id_on: None,
            })
        });
        Ok(Self {
            levels,
            rest,
            from_id_on,
        })
    }

    /// The pattern for the client `id`, and the id to put in; none if it has no part in the pattern.
    /// An id that is itself a pattern gets nothing allowed and everything that might be meant denied.
    pub fn of_client<'a>(&'a self, id: Option<&'a str>, deny: bool) -> Option<(&'a Self, &'a str)> {
        let Some(from_id_on) = &self.from_id_on else {
            return Some((self, ""));
        };
        let id = id.filter(|id| !id.is_empty())?;
        if !id.contains(['/', '+', '#']) {
            return Some((self, id));
        }
        deny.then_some((from_id_on, ""))
    }

    /// Whether `topic`, a name without wildcards, is meant; `id` is that of [`Self::of_client`].
    pub fn matches(&self, topic: &str, id: &str) -> bool {
        if topic.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let mut topic = topic.split('/');
        for level in &self.levels {
            match (level, topic.next()) {
                (_, None) => return false,
                (level, Some(part)) if !level.is(part, id) => return false,
                _ => {}
            }
        }
        self.rest || topic.next().is_none()
    }

    /// Whether every topic that `filter` stands for is meant.
    pub fn covers(&self, filter: &str, id: &str) -> bool {
        if filter.starts_with('$') && self.begins_with_wildcard() {
            return false;
        }
        let Some(mut filter) = Filter::parse(filter) else {
            return false;
        };
        for level in &self.levels {
            match (level, filter.levels.next()) {
                (_, None) => return false,
                (level, Some(part)) if !level.covers(part, id) => return false,
                _ => {}
            }
        }
        self.rest || (filter.levels.next().is_none() && !filter.rest)
    }

    /// Whether any topic that `filter` stands for is meant.
    pub fn overlaps(&self, filter: &str, id: &str) -> bool {
        let ours = self.begins_with_wildcard();
        let theirs = filter.starts_with(['+', '#']);
        let dollar = match self.levels.first() {
            Some(Level::Literal(first)) => first.starts_with('$'),
            Some(Level::WithId(texts)) => texts.first().is_some_and(|text| text.starts_with('$')),
            Some(Level::Any) | None => false,
        };
        if (filter.starts_with('$') && ours) || (dollar && theirs) {
            return false;
        }
        let Some(mut filter) = Filter::parse(filter) else {
            return true;
        };
        for level in &self.levels {
            match (level, filter.levels.next()) {
                (_, None) => return filter.rest,
                (level, Some(part)) if part != "+" && !level.is(part, id) => return false,
                _ => {}
            }
        }
        self.rest || filter.levels.next().is_none()
    }

    /// A client's id counts as one: nobody gets at `$SYS` by calling himself so.
    fn begins_with_wildcard(&self) -> bool {
        match self.levels.first() {
            Some(Level::Literal(_)) => false,
            Some(Level::WithId(texts)) => texts.first().is_some_and(String::is_empty),
            Some(Level::Any) | None => true,
        }
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
            assert_eq!(pattern(text).matches(topic, ""), meant, "{text} {topic}");
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
                pattern(text).covers(filter, ""),
                covers,
                "{text} covers {filter}"
            );
            assert_eq!(
                pattern(text).overlaps(filter, ""),
                overlaps,
                "{text} overlaps {filter}"
            );
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for wrong in ["a/#/b", "a#", "a+/b", "%x/x", "%"] {
            assert!(TopicPattern::parse(wrong, "alice").is_err(), "{wrong}");
        }
        for name in ["a/b", "+", "x#"] {
            assert!(TopicPattern::parse("%u/x", name).is_err(), "{name}");
            assert!(TopicPattern::parse("y/x", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_clients_id_is_put_in_and_is_no_pattern_itself() {
        for (text, id, topic, allowed, denied) in [
            ("dev/%c/#", Some("d1"), "dev/d1/t", true, true),
            ("dev/%c/#", Some("d1"), "dev/d2/t", false, false),
            ("dev/%c/#", None, "dev/d1/t", false, false),
            ("dev/%c/#", Some(""), "dev//t", false, false),
            ("dev/%c", Some("+"), "dev/d1", false, true),
            ("dev/%c/t", Some("a/t"), "dev/a/t", false, true),
            ("dev/%c/t", Some("#"), "other/a", false, false),
            ("%u-%c-%c/x", Some("d"), "alice-d-d/x", true, true),
            ("%u-%c-%c/x", Some("d"), "alice-d-/x", false, false),
            ("%c/x", Some("$SYS"), "$SYS/x", false, false),
            ("a/%%c", Some("d"), "a/%c", true, true),
        ] {
            let pattern = pattern(text);
            let meant = |deny| {
                let of_client = pattern.of_client(id, deny);
                of_client.is_some_and(|(pattern, id)| pattern.matches(topic, id))
            };
            assert_eq!(
                (meant(false), meant(true)),
                (allowed, denied),
                "{text} {id:?} {topic}"
            );
        }
        let own = pattern("dev/%c/#");
        assert!(own.covers("dev/d1/+", "d1") && !own.covers("dev/+/t", "d1"));
        assert!(own.overlaps("dev/+/t", "d1") && !own.overlaps("dev/d2/#", "d1"));
        assert!(own.overlaps("#", "d1") && !own.covers("#", "d1"));
    }

    const FILTER: &str = "(a|b|\\$s|\\+|)(/(a|b|\\+|)){0,3}(/#)?|#";
    const TOPIC: &str = "(a|b|\\$s)(/(a|b|)){0,4}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn a_covered_filter_stands_for_meant_topics_only(text in FILTER, filter in FILTER, topic in TOPIC) {
            let (ours, theirs) = (pattern(&text), pattern(&filter));
            if ours.covers(&filter, "") && theirs.matches(&topic, "") {
                prop_assert!(ours.matches(&topic, ""), "{} {} {}", text, filter, topic);
            }
            if ours.matches(&topic, "") && theirs.matches(&topic, "") {
                prop_assert!(ours.overlaps(&filter, ""), "{} {} {}", text, filter, topic);
            }
            prop_assert_eq!(ours.overlaps(&filter, ""), theirs.overlaps(&text, ""));
        }

        #[test]
        fn a_name_is_a_filter_for_itself(text in FILTER, topic in TOPIC) {
            let pattern = pattern(&text);
            prop_assert_eq!(pattern.covers(&topic, ""), pattern.matches(&topic, ""));
            prop_assert_eq!(pattern.overlaps(&topic, ""), pattern.matches(&topic, ""));
        }

        #[test]
        fn a_client_gets_what_its_id_spells_out_and_no_more(
            before in FILTER, id in "[ab+/#$]{1,3}", filter in FILTER, topic in TOPIC
        ) {
            let before = before.trim_end_matches('#').trim_end_matches('/');
            let ours = pattern(&format!("{before}/%c/#"));
            match ours.of_client(Some(&id), false) {
                None => prop_assert!(id.contains(['/', '+', '#'])),
                Some((ours, id)) => {
                    let spelt = pattern(&format!("{before}/{id}/#"));
                    prop_assert_eq!(ours.matches(&topic, id), spelt.matches(&topic, ""));
                    prop_assert_eq!(ours.covers(&filter, id), spelt.covers(&filter, ""));
                    prop_assert_eq!(ours.overlaps(&filter, id), spelt.overlaps(&filter, ""));
                }
            }
        }

        #[test]
        fn every_filter_covers_itself(filter in FILTER) {
            prop_assert!(pattern(&filter).covers(&filter, "") && pattern(&filter).overlaps(&filter, ""));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[/+#%uc$a]{0,12}", filter in "[/+#$a]{0,12}") {
            for text in [text, near] {
                if let Ok(pattern) = TopicPattern::parse(&text, "alice")
                    && let Some((pattern, id)) = pattern.of_client(Some(&filter), true)
                {
                    let _ = (pattern.matches(&filter, id), pattern.covers(&filter, id), pattern.overlaps(&filter, id));
                }
            }
        }
    }
}
