//! Which records are kept: a default level and exceptions by service or host module.
//!
//! `info`, or `warn,mqtt=debug,polyport::reload=trace`.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

/// A parsed `host.log.level`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    default: LevelFilter,
    exceptions: Vec<(String, LevelFilter)>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            default: LevelFilter::INFO,
            exceptions: Vec::new(),
        }
    }
}

impl Filter {
    /// The level from which on records of `target` are kept. `target` is a service's name or a
    /// module of the host; an exception for `a` holds for `a::b` too, the longest one wins.
    pub fn level(&self, target: &str) -> LevelFilter {
        self.exceptions
            .iter()
            .filter(|(prefix, _)| {
                target
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            })
            .max_by_key(|(prefix, _)| prefix.len())
            .map_or(self.default, |(_, level)| *level)
    }

    /// The most talkative level anywhere.
    pub fn max_level(&self) -> LevelFilter {
        self.exceptions
            .iter()
            .map(|(_, level)| *level)
            .fold(self.default, LevelFilter::max)
    }
}

impl FromStr for Filter {
    type Err = String;

    /// `Err` says what was expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            "a level (off, error, warn, info, debug, trace) or a list such as \"info,mqtt=debug\""
                .to_owned()
        };
        let mut filter = Self::default();
        for part in text.split(',').map(str::trim) {
            match part.split_once('=') {
                None => filter.default = level(part).ok_or_else(expected)?,
                Some((target, word)) if is_target(target.trim()) => {
                    let level = level(word.trim()).ok_or_else(expected)?;
                    filter
                        .exceptions
                        .retain(|(other, _)| other != target.trim());
                    filter.exceptions.push((target.trim().to_owned(), level));
                }
                Some(_) => return Err(expected()),
            }
        }
        Ok(filter)
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.default)?;
        self.exceptions
            .iter()
            .try_for_each(|(target, level)| write!(out, ",{target}={level}"))
    }
}

fn level(word: &str) -> Option<LevelFilter> {
    Some(match word {
        "off" => LevelFilter::OFF,
        "error" => LevelFilter::ERROR,
        "warn" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        _ => return None,
    })
}

fn is_target(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-:".contains(&b))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_exception_wins_at_word_borders() {
        let filter: Filter = "warn, mqtt=debug, polyport::reload=trace, polyport=off"
            .parse()
            .unwrap();
        assert_eq!(filter.level("ftp"), LevelFilter::WARN);
        assert_eq!(filter.level("mqtt"), LevelFilter::DEBUG);
        assert_eq!(filter.level("mqtt2"), LevelFilter::WARN);
        assert_eq!(filter.level("polyport::reload::swap"), LevelFilter::TRACE);
        assert_eq!(filter.level("polyport::run"), LevelFilter::OFF);
        assert_eq!(filter.max_level(), LevelFilter::TRACE);
    }

    #[test]
    fn the_default_is_info() {
        assert_eq!(Filter::default(), "info".parse().unwrap());
        assert_eq!(
            "mqtt=debug".parse::<Filter>().unwrap().level("ftp"),
            LevelFilter::INFO
        );
    }

    #[test]
    fn other_words_are_refused() {
        for wrong in [
            "", "loud", "INFO", "info,", "mqtt=", "=info", "a b=info", "3",
        ] {
            assert!(wrong.parse::<Filter>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(text in "(off|warn|info)(,[a-z:_-]{1,8}=(error|debug|trace)){0,3}") {
            let filter: Filter = text.parse().unwrap();
            prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[a-z:=, ]{0,40}") {
            let _ = text.parse::<Filter>();
            let _ = near.parse::<Filter>().map(|filter| filter.level(&text));
        }
    }
}
