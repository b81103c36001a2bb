//! Topic names and topic filters (section 4.7): what is valid, and what matches what.

/// Prefix of a shared subscription (4.8.2).
pub(crate) const SHARE_PREFIX: &str = "$share/";

/// A valid topic name: not empty and without wildcards (MQTT-4.7.1-1, MQTT-4.7.3-1).
#[must_use]
pub fn is_name(topic: &str) -> bool {
    !topic.is_empty() && !topic.bytes().any(|byte| byte == b'+' || byte == b'#')
}

/// A topic filter taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter<'a> {
    /// The share name of `$share/NAME/filter`.
    pub share: Option<&'a str>,
    /// What topic names are matched against.
    pub filter: &'a str,
}

impl<'a> Filter<'a> {
    /// Takes a filter apart; `None` when it breaks 4.7 or 4.8.2.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Filter<'a>> {
        let parsed = match text.strip_prefix(SHARE_PREFIX) {
            None if text == "$share" => return None,
            None => Filter {
                share: None,
                filter: text,
            },
            Some(rest) => {
                let (name, filter) = rest.split_once('/')?;
                if !is_name(name) {
                    return None;
                }
                Filter {
                    share: Some(name),
                    filter,
                }
            }
        };
        is_filter(parsed.filter).then_some(parsed)
    }

    /// Bytes of its text, without what says that it is shared.
    pub(crate) fn size(&self) -> usize {
        self.share.map_or(0, str::len) + self.filter.len()
    }

    /// True when the filter has a wildcard.
    #[must_use]
    pub fn has_wildcard(&self) -> bool {
        !is_name(self.filter)
    }

    /// How many levels have one.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let bytes = self.filter.bytes();
        bytes.filter(|byte| matches!(byte, b'+' | b'#')).count()
    }
}

/// Wildcards stand alone in their level and `#` is last (MQTT-4.7.1-1, -2).
fn is_filter(filter: &str) -> bool {
    if filter.is_empty() {
        return false;
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "+" => {}
            "#" if levels.peek().is_none() => {}
            other if is_name(other) || other.is_empty() => {}
            _ => return false,
        }
    }
    true
}

/// Whether `filter` matches `topic`, by the letter of 4.7: the definition that the tries are
/// tested against.
#[must_use]
pub fn matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut topic_levels = topic.split('/');
    let mut filter_levels = filter.split('/');
    loop {
        match (filter_levels.next(), topic_levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(wanted), Some(level)) if wanted == level => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_follow_section_4_7_1() {
        for good in [
            "a",
            "#",
            "+",
            "a/#",
            "a/+/b",
            "/",
            "//",
            "+/+",
            "/+",
            "$SYS/#",
            "$share/g/a",
            "$share/g/#",
        ] {
            assert!(Filter::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "a#",
            "a/#/b",
            "a+",
            "#/a",
            "+a/b",
            "$share",
            "$share/",
            "$share/g",
            "$share//a",
            "$share/g/",
            "$share/+/a",
            "$share/g#/a",
        ] {
            assert!(Filter::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn matching_follows_the_examples_of_section_4_7() {
        for (filter, topic) in [
            ("sport/tennis/player1/#", "sport/tennis/player1"),
            (
                "sport/tennis/player1/#",
                "sport/tennis/player1/score/wimbledon",
            ),
            ("sport/#", "sport"),
            ("sport/+", "sport/"),
            ("+/+", "/finance"),
            ("/+", "/finance"),
            ("$SYS/#", "$SYS/a"),
            ("$SYS/monitor/+", "$SYS/monitor/Clients"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [
            ("sport/+", "sport"),
            ("+", "/finance"),
            ("#", "$SYS/a"),
            ("+/monitor/Clients", "$SYS/monitor/Clients"),
            ("a", "A"),
        ] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }
}
