//! One rule: `allow.NAME = ACTIONS PATTERN` or `deny.NAME = ACTIONS PATTERN`, with `.SERVICE` after
//! the name for one service alone.

use std::fmt;

use super::path::PathPattern;
use super::topic::TopicPattern;
use super::{Action, Actions, Question};
use crate::config::is_name;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 1024;

/// Where something was written.
#[derive(Clone, PartialEq, Eq)]
pub struct Origin {
    /// The section, without brackets.
    pub section: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The line, from 0.
    pub line: usize,
}

/// Without the line: an account is the same when only a comment above it changed.
impl fmt::Debug for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self}")
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{} = {}", self.section, self.key, self.value)
    }
}

/// A rule as it was written: for whichever account.
#[derive(Debug, Clone)]
pub struct Template {
    deny: bool,
    actions: Actions,
    service: Option<String>,
    about: About,
    pattern: String,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum About {
    Paths,
    Topics,
}

/// A rule of one account, ready to be asked.
#[derive(Debug)]
pub struct Rule {
    /// Whether it forbids.
    pub deny: bool,
    /// Where it was written.
    pub origin: Origin,
    actions: Actions,
    service: Option<String>,
    pattern: Pattern,
}

#[derive(Debug)]
enum Pattern {
    Path(PathPattern),
    Topic(TopicPattern),
}

/// What a key that begins a rule says: whether it denies, and the service.
pub type Head<'a> = (bool, Option<&'a str>);

/// Takes the key of a rule apart; none if it is another key.
pub fn head(key: &str) -> Option<Result<Head<'_>, String>> {
    let (deny, rest) = match key.strip_prefix("allow.") {
        Some(rest) => (false, rest),
        None => (true, key.strip_prefix("deny.")?),
    };
    let (name, service) = match rest.split_once('.') {
        Some((name, service)) => (name, Some(service)),
        None => (rest, None),
    };
    let word = if deny { "deny" } else { "allow" };
    Some(if is_name(name) && service.is_none_or(is_name) {
        Ok((deny, service))
    } else {
        Err(format!(
            "expected {word}.NAME or {word}.NAME.SERVICE, got {key:?}"
        ))
    })
}

impl Template {
    /// Reads the value of a rule's key.
    pub fn parse((deny, service): Head<'_>, origin: Origin) -> Result<Self, String> {
        let (actions, pattern) = split(&origin.value).ok_or_else(|| {
            format!(
                "expected ACTIONS PATTERN, such as \"list,read /pub/**\" or \"publish sensors/%u/#\", got {:?}",
                origin.value
            )
        })?;
        if pattern.len() > MAX_PATTERN {
            return Err(format!("expected a pattern of at most {MAX_PATTERN} bytes"));
        }
        let topics: Actions = [Action::Publish, Action::Subscribe].into_iter().collect();
        let words = actions
            .split([',', ' ', '\t'])
            .filter(|word| !word.is_empty());
        let (actions, about) = match words.clone().collect::<Vec<_>>()[..] {
            ["all"] if pattern.starts_with('/') => (Actions::ALL.without(topics), About::Paths),
            ["all"] => (topics, About::Topics),
            _ => {
                let actions = super::read_actions(words)?;
                if actions == Actions::default() {
                    return Err(format!(
                        "expected at least one action, got {:?}",
                        origin.value
                    ));
                }
                match (actions.without(topics), actions) {
                    (none, _) if none == Actions::default() => (actions, About::Topics),
                    (paths, all) if paths == all => (actions, About::Paths),
                    _ => {
                        return Err(
                            "expected a rule about paths or about topics: publish and subscribe are for topics, \
                             the other actions for paths"
                                .to_owned(),
                        );
                    }
                }
            }
        };
        Ok(Self {
            deny,
            actions,
            service: service.map(str::to_owned),
            about,
            pattern: pattern.to_owned(),
            origin,
        })
    }

    /// Whether the rule differs from account to account.
    pub fn uses_name(&self) -> bool {
        self.pattern.contains("%u")
    }

    /// Whether it gives something.
    pub fn allows(&self) -> bool {
        !self.deny
    }

    /// The rule of the account `name`; `Err` says what is wrong with the pattern, or why it cannot be
    /// for that name.
    pub fn rule(&self, name: &str) -> Result<Rule, String> {
        let pattern = match self.about {
            About::Paths => Pattern::Path(PathPattern::parse(&self.pattern, name)?),
            About::Topics => Pattern::Topic(TopicPattern::parse(&self.pattern, name)?),
        };
        Ok(Rule {
            deny: self.deny,
            origin: self.origin.clone(),
            actions: self.actions,
            service: self.service.clone(),
            pattern,
        })
    }
}

impl Rule {
    /// Whether it is about what is asked. A filter to subscribe to is allowed by a rule for all of
    /// its topics and denied by one for any.
    pub fn concerns(&self, question: &Question<'_>) -> bool {
        self.relates(question, !self.deny)
    }

    /// The other way round: a filter to subscribe to is allowed by a rule for any of its topics and
    /// denied by one for all.
    pub fn concerns_some(&self, question: &Question<'_>) -> bool {
        self.relates(question, self.deny)
    }

    /// `whole`: a filter to subscribe to has to be meant with all of its topics.
    fn relates(&self, question: &Question<'_>, whole: bool) -> bool {
        let Question {
            service,
            action,
            target,
            ..
        } = *question;
        self.actions.contains(action)
            && self.service.as_ref().is_none_or(|name| name == service)
            && match &self.pattern {
                Pattern::Path(pattern) => pattern.matches(target),
                Pattern::Topic(pattern) => {
                    let Some((pattern, id)) = pattern.of_client(question.client_id, self.deny)
                    else {
                        return false;
                    };
                    match action {
                        Action::Subscribe if whole => pattern.covers(target, id),
                        Action::Subscribe => pattern.overlaps(target, id),
                        _ => pattern.matches(target, id),
                    }
                }
            }
    }
}

/// The actions, up to the first space that no comma precedes, and the pattern.
fn split(value: &str) -> Option<(&str, &str)> {
    let mut after_comma = false;
    for (at, c) in value.char_indices() {
        match c {
            ',' => after_comma = true,
            ' ' | '\t' if after_comma => {}
            ' ' | '\t' => {
                let pattern = value[at..].trim_start();
                let is_pattern = !pattern.is_empty() && !pattern.starts_with(',');
                return is_pattern.then_some((&value[..at], pattern));
            }
            _ => after_comma = false,
        }
    }
    None
}

/// A piece of a pattern.
pub enum Piece<'a> {
    /// As it is written.
    Written(&'a str),
    /// Literal, whatever it holds.
    Literal(&'a str),
    /// `%c`.
    ClientId,
}

/// Gives the pieces of `text` to `put`. `name` stands for `%u`; it may have none of `forbidden`,
/// which would be a pattern of its own.
pub fn expand(
    text: &str,
    name: &str,
    forbidden: &[char],
    mut put: impl FnMut(Piece<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut pieces = text.split('%');
    put(Piece::Written(pieces.next().unwrap_or_default()))?;
    while let Some(piece) = pieces.next() {
        match piece.chars().next() {
            Some('u') if name.contains(forbidden) => {
                return Err(format!(
                    "expected a login without any of {forbidden:?} to stand for %u, got {name:?}"
                ));
            }
            Some('u') => {
                put(Piece::Literal(name))?;
                put(Piece::Written(&piece[1..]))?;
            }
            // `%%`: the second one is the beginning of the next piece.
            None => match pieces.next() {
                Some(next) => {
                    put(Piece::Literal("%"))?;
                    put(Piece::Written(next))?;
                }
                None => return Err(format!("expected %u, %c or %% for %, got {text:?}")),
            },
            Some('c') => {
                put(Piece::ClientId)?;
                put(Piece::Written(&piece[1..]))?;
            }
            Some(_) => return Err(format!("expected %u, %c or %% for %, got {text:?}")),
        }
    }
    Ok(())
}
