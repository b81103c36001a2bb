//! Topics that stand for other ones.

use super::who::Names;
use crate::topic::{Filter, is_name};

/// Longest topic (1.5.4).
const LONGEST: usize = 65_535;

/// Rules in their order. The first one that matches a topic replaces it, once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<Rewrite>);

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// For topic names.
    pub publish: bool,
    /// For topic filters, of SUBSCRIBE and UNSUBSCRIBE.
    pub subscribe: bool,
    /// What is replaced: `+` and `#` each stand for what they match.
    pub filter: Box<str>,
    /// By what: `$1` to `$9` are what the wildcards stood for, `%u` and `%c` the client's names.
    pub to: Box<str>,
}

/// A topic that a rule replaces by something that is none, for this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoTopic;

impl From<Vec<Rewrite>> for Rewrites {
    fn from(rules: Vec<Rewrite>) -> Self {
        Rewrites(rules)
    }
}

impl Rewrites {
    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a topic name is replaced by, if it is.
    ///
    /// # Errors
    /// When that is no topic name.
    pub fn name(&self, topic: &str, names: Names<'_>) -> Result<Option<String>, NoTopic> {
        let rules = self.0.iter().filter(|rule| rule.publish);
        let replaced = replace(rules, topic, names)?;
        match replaced {
            Some(name) if !is_name(&name) => Err(NoTopic),
            replaced => Ok(replaced),
        }
    }

    /// What the text of a subscription is replaced by, if it is; a share name stays. A filter is replaced by a rule
    /// that stands for all of it.
    ///
    /// # Errors
    /// When that is no topic filter.
    pub fn filter(&self, filter: Filter<'_>, names: Names<'_>) -> Result<Option<String>, NoTopic> {
        let rules = self.0.iter().filter(|rule| rule.subscribe);
        let Some(replaced) = replace(rules, filter.filter, names)? else {
            return Ok(None);
        };
        let text = match filter.share {
            Some(share) => format!("{}{share}/{replaced}", crate::topic::SHARE_PREFIX),
            None => replaced,
        };
        match Filter::parse(&text) {
            Some(parsed) if parsed.share == filter.share && text.len() <= LONGEST => Ok(Some(text)),
            _ => Err(NoTopic),
        }
    }
}

fn replace<'a>(
    mut rules: impl Iterator<Item = &'a Rewrite>,
    topic: &str,
    names: Names<'_>,
) -> Result<Option<String>, NoTopic> {
    rules
        .find_map(|rule| Some(rule.fill(&rule.captures(topic)?, names)))
        .transpose()
}

impl Rewrite {
    /// How many wildcards `$1` and the following can stand for.
    #[must_use]
    pub fn wildcards(&self) -> usize {
        let levels = self.filter.split('/');
        levels.filter(|level| matches!(*level, "+" | "#")).count()
    }

    /// The highest number after a `$`.
    #[must_use]
    pub fn highest(&self) -> usize {
        let bytes = self.to.as_bytes().windows(2);
        let numbers = bytes.filter_map(|pair| match pair {
            [b'$', digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
            _ => None,
        });
        numbers.max().unwrap_or(0)
    }

    /// What the wildcards stand for, if the rule is about this topic. The last one is nothing where `#` stands for the
    /// level above it.
    fn captures<'t>(&self, topic: &'t str) -> Option<Vec<Option<&'t str>>> {
        let mut captures = Vec::new();
        let mut rest = Some(topic);
        for level in self.filter.split('/') {
            if level == "#" {
                // A topic that begins with a dollar sign is not meant (MQTT-4.7.2-1).
                let hidden =
                    captures.is_empty() && self.filter.len() == 1 && topic.starts_with('$');
                captures.push(rest);
                return (!hidden).then_some(captures);
            }
            let left = rest?;
            let (here, after) = match left.split_once('/') {
                Some((here, after)) => (here, Some(after)),
                None => (left, None),
            };
            let first = left.len() == topic.len();
            match level {
                "+" if here == "#" || first && here.starts_with('$') => return None,
                "+" => captures.push(Some(here)),
                _ if level == here => {}
                _ => return None,
            }
            rest = after;
        }
        rest.is_none().then_some(captures)
    }

    fn fill(&self, captures: &[Option<&str>], names: Names<'_>) -> Result<String, NoTopic> {
        let mut filled = String::with_capacity(self.to.len() + 32);
        let mut rest = &*self.to;
        while let Some(at) = rest.find(['$', '%']) {
            filled.push_str(&rest[..at]);
            let mark = &rest[at..];
            let mut taken = 2;
            match mark.as_bytes() {
                [b'$', digit @ b'1'..=b'9', ..] => {
                    match captures.get(usize::from(digit - b'1')) {
                        Some(Some(text)) => filled.push_str(text),
                        // `b/$1` for `a/#` and the topic `a` is `b`.
                        _ if filled.ends_with('/') => {
                            filled.pop();
                        }
                        _ => {}
                    }
                }
                [b'%', b'u' | b'c', ..] => {
                    filled.push_str(&names.fill(&mark[..2]).ok_or(NoTopic)?);
                }
                _ => {
                    filled.push_str(&mark[..1]);
                    taken = 1;
                }
            }
            rest = &mark[taken..];
        }
        filled.push_str(rest);
        if filled.is_empty() || filled.len() > LONGEST {
            return Err(NoTopic);
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: Names<'_> = Names {
        user: Some("alice"),
        client_id: "a/b",
    };

    fn rules(rules: &[(&str, &str)]) -> Rewrites {
        let rule = |&(filter, to): &(&str, &str)| Rewrite {
            publish: true,
            subscribe: true,
            filter: filter.into(),
            to: to.into(),
        };
        rules.iter().map(rule).collect::<Vec<_>>().into()
    }

    fn name(rule: (&str, &str), topic: &str) -> Result<Option<String>, NoTopic> {
        rules(&[rule]).name(topic, NAMES)
    }

    fn filter(rule: (&str, &str), text: &str) -> Result<Option<String>, NoTopic> {
        rules(&[rule]).filter(Filter::parse(text).unwrap(), NAMES)
    }

    #[test]
    fn wildcards_are_put_where_their_numbers_stand() {
        for (rule, topic, expected) in [
            (("x/#", "y/$1"), "x/1/2", "y/1/2"),
            (("x/#", "y/$1"), "x", "y"),
            (("x/#", "y/$1"), "x/", "y/"),
            (("+/a/+", "$2/b/$1"), "1/a/2", "2/b/1"),
            (("a", "u/%u/$x/100%"), "a", "u/alice/$x/100%"),
            (("#", "all/$1"), "/", "all//"),
        ] {
            assert_eq!(
                name(rule, topic),
                Ok(Some(expected.into())),
                "{rule:?} {topic}"
            );
        }
        for (rule, topic) in [
            (("x/+", "y/$1"), "x/1/2"),
            (("x/+/z", "y/$1"), "x/1"),
            (("+/a", "y/$1"), "$SYS/a"),
            (("#", "y/$1"), "$SYS/a"),
        ] {
            assert_eq!(name(rule, topic), Ok(None), "{rule:?} {topic}");
        }
    }

    #[test]
    fn a_filter_is_replaced_by_a_rule_that_stands_for_all_of_it() {
        for (rule, text, expected) in [
            (("x/#", "y/$1"), "x/#", "y/#"),
            (("x/#", "y/$1"), "x/+/1", "y/+/1"),
            (("x/+", "y/$1"), "$share/g/x/+", "$share/g/y/+"),
        ] {
            assert_eq!(
                filter(rule, text),
                Ok(Some(expected.into())),
                "{rule:?} {text}"
            );
        }
        for (rule, text) in [
            (("x/+", "y/$1"), "x/#"),
            (("x/1", "y/1"), "x/+"),
            (("x/1", "y/1"), "#"),
        ] {
            assert_eq!(filter(rule, text), Ok(None), "{rule:?} {text}");
        }
        assert_eq!(filter(("x/#", "y/$1/z"), "x/#"), Err(NoTopic));
    }

    #[test]
    fn what_is_no_topic_is_said_to_be_none() {
        assert_eq!(name(("a", "c/%c"), "a"), Err(NoTopic));
        assert_eq!(name(("a/#", "$1"), "a"), Err(NoTopic));
        let long = format!("a/{}", "x".repeat(65_000));
        assert_eq!(name(("a/+", "$1/$1"), &long), Err(NoTopic));
    }

    #[test]
    fn the_first_rule_that_matches_holds_and_no_other_follows() {
        let rules = rules(&[("a", "b"), ("b", "a"), ("+", "c")]);
        assert_eq!(rules.name("a", NAMES), Ok(Some("b".into())));
        assert_eq!(rules.name("b", NAMES), Ok(Some("a".into())));
        assert_eq!(rules.name("d", NAMES), Ok(Some("c".into())));
    }
}
