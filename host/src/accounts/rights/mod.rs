//! What an account may do. [`decide`] is the only place where a right is judged.
//!
//! Rules are about paths (`list`, `read`, `write`, `create`, `delete`, `share`) or about topics
//! (`publish`, `subscribe`). Who came by an API token may do what the account may and the token's
//! scope allows as well.

mod path;
mod rule;
#[cfg(test)]
mod tests;
mod topic;

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use super::account::Account;
use super::token::Token;
pub use rule::{Origin, Rule, Template, head};

/// Something a client asks to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See the names in a folder or collection.
    List,
    /// Read a file or document.
    Read,
    /// Change what exists.
    Write,
    /// Make something new.
    Create,
    /// Remove something.
    Delete,
    /// Hand out access to something.
    Share,
    /// Publish to a topic.
    Publish,
    /// Subscribe to a topic.
    Subscribe,
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Actions(u8);

/// The simple form, `rights` and `rights.SERVICE` of one section: what may be done to every target.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    /// Where nothing else is said.
    pub everywhere: Option<Grant>,
    /// By the name of the service.
    pub services: BTreeMap<String, Grant>,
}

/// Actions and where they were written.
#[derive(Debug, Clone)]
pub struct Grant {
    /// What may be done.
    pub actions: Actions,
    /// None if nothing was written.
    pub origin: Option<Origin>,
}

/// What is asked about an account.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The service in which it happens.
    pub service: &'a str,
    /// What is to be done.
    pub action: Action,
    /// To which path, topic or topic filter.
    pub target: &'a str,
    /// What the client calls itself: `%c`.
    pub client_id: Option<&'a str>,
    /// The token that the client came by.
    pub token: Option<&'a Token>,
}

/// What [`decide`] found, and why.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// It may be done.
    Allowed(Cause<'a>),
    /// It may not.
    Denied(Cause<'a>),
}

/// What decided.
#[derive(Debug, Clone, Copy)]
pub enum Cause<'a> {
    /// The account has `enabled = no`.
    Disabled,
    /// The account's `expire` has passed.
    Expired,
    /// The service is, or is not, among the account's `services`.
    Service,
    /// A rule.
    Rule(&'a Rule),
    /// `rights` or `rights.SERVICE`.
    Rights(&'a Origin),
    /// The token that the client came by has expired.
    TokenExpired(&'a Origin),
    /// The scope of the token that the client came by does not allow it.
    Scope(&'a Origin),
    /// What holds where no rights are written.
    Default,
    /// Nothing allows it.
    Nothing,
}

impl Action {
    /// All of them, with the word for each.
    pub const ALL: [(Self, &'static str); 8] = [
        (Self::List, "list"),
        (Self::Read, "read"),
        (Self::Write, "write"),
        (Self::Create, "create"),
        (Self::Delete, "delete"),
        (Self::Share, "share"),
        (Self::Publish, "publish"),
        (Self::Subscribe, "subscribe"),
    ];
}

impl Actions {
    /// Every action.
    pub const ALL: Self = Self(u8::MAX);

    /// What a client without an account may do unless the file says otherwise.
    pub fn of_anonymous() -> Self {
        [
            Action::List,
            Action::Read,
            Action::Publish,
            Action::Subscribe,
        ]
        .into_iter()
        .collect()
    }

    /// Whether `action` is in the set.
    pub fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u8) != 0
    }

    /// The set without those of `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The actions of a list of words; `Err` is the first that is none. `all` is every action,
    /// `none` adds nothing.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut actions = Self::default();
        for word in words {
            match Action::ALL.iter().find(|(_, known)| *known == word) {
                Some((action, _)) => actions.0 |= 1 << *action as u8,
                None if word == "all" => actions = Self::ALL,
                None if word == "none" => {}
                None => return Err(word),
            }
        }
        Ok(actions)
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        Self(
            actions
                .into_iter()
                .fold(0, |set, action| set | 1 << action as u8),
        )
    }
}

/// The actions that `words` stand for; `Err` says what was expected.
pub fn read_actions<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Actions, String> {
    Actions::parse(words).map_err(|word| {
        let known: Vec<&str> = Action::ALL.iter().map(|(_, word)| *word).collect();
        format!(
            "expected actions out of {}, or all, or none, got {word:?}",
            known.join(", ")
        )
    })
}

impl Rights {
    /// What holds in `service`.
    fn of(&self, service: &str) -> Option<&Grant> {
        self.services.get(service).or(self.everywhere.as_ref())
    }

    /// Whether anything was written.
    pub fn is_given(&self) -> bool {
        self.everywhere.is_some() || !self.services.is_empty()
    }
}

impl<'a> Cause<'a> {
    /// Where it was written. For what nothing allows, the rights in `service`, which do not either.
    pub fn origin(&self, account: &'a Account, service: &str) -> Option<&'a Origin> {
        let of_key = |keys: &[&str]| {
            let mut origins = account.origins.iter();
            origins.find(|origin| keys.contains(&origin.key.as_str()))
        };
        match self {
            Self::Disabled => of_key(&["enabled"]),
            Self::Expired => of_key(&["expire", "expore"]),
            Self::Service => of_key(&["services"]),
            Self::Rule(rule) => Some(&rule.origin),
            Self::Rights(origin) | Self::TokenExpired(origin) | Self::Scope(origin) => Some(origin),
            Self::Default => None,
            Self::Nothing => account
                .rights
                .iter()
                .find_map(|rights| rights.of(service)?.origin.as_ref()),
        }
    }
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => out.write_str("the account is disabled"),
            Self::Expired => out.write_str("the account is expired"),
            Self::Service => out.write_str("the account is not for this service"),
            Self::Rule(rule) => write!(out, "{}", rule.origin),
            Self::Rights(origin) => write!(out, "{origin}"),
            Self::TokenExpired(_) => out.write_str("the token is expired"),
            Self::Scope(_) => out.write_str("the scope of the token does not allow it"),
            Self::Default => out.write_str("no rights are written, so the default ones hold"),
            Self::Nothing => out.write_str("neither a rule nor rights allow it"),
        }
    }
}

/// Whether `account` may use `service` at all.
pub fn decide_service<'a>(account: &'a Account, service: &str, now: SystemTime) -> Decision<'a> {
    if !account.enabled {
        Decision::Denied(Cause::Disabled)
    } else if account.expires.is_some_and(|end| end <= now) {
        Decision::Denied(Cause::Expired)
    } else if account
        .services
        .as_ref()
        .is_some_and(|services| !services.iter().any(|name| name == service))
    {
        Decision::Denied(Cause::Service)
    } else {
        Decision::Allowed(Cause::Service)
    }
}

/// Whether `account` may do what is asked.
///
/// The first of its rules that denies decides; without one the first that allows; without that its
/// rights and those of its groups. How long a pattern is plays no part. A token takes away what its
/// scope does not allow.
pub fn decide<'a>(account: &'a Account, question: &Question<'a>, now: SystemTime) -> Decision<'a> {
    let decision = decide_for_account(account, question, now);
    match (question.token, decision) {
        (Some(token), Decision::Allowed(_)) if !token.is_valid(now) => {
            Decision::Denied(Cause::TokenExpired(&token.origin))
        }
        (Some(token), Decision::Allowed(_)) if !token.allows(question) => {
            Decision::Denied(Cause::Scope(&token.origin))
        }
        _ => decision,
    }
}

/// Whether `account` may receive some of the topics of the filter that is asked about, as far as its
/// rules tell one by one: each topic is still to be decided about.
pub fn allows_some(account: &Account, question: &Question<'_>, now: SystemTime) -> bool {
    let Question {
        service, action, ..
    } = *question;
    let rules = || {
        let rules = account.rules.iter();
        rules.filter(|rule| rule.concerns_some(question))
    };
    let granted = || {
        let mut rights = account.rights.iter();
        rights.any(|rights| {
            rights
                .of(service)
                .is_some_and(|grant| grant.actions.contains(action))
        })
    };
    let token = |token: &Token| token.is_valid(now) && token.allows_some(question);
    matches!(decide_service(account, service, now), Decision::Allowed(_))
        && !rules().any(|rule| rule.deny)
        && (rules().next().is_some() || granted())
        && question.token.is_none_or(token)
}

fn decide_for_account<'a>(
    account: &'a Account,
    question: &Question<'_>,
    now: SystemTime,
) -> Decision<'a> {
    let Question {
        service, action, ..
    } = *question;
    if let denied @ Decision::Denied(_) = decide_service(account, service, now) {
        return denied;
    }
    let mut allowed = None;
    for rule in &account.rules {
        if (rule.deny || allowed.is_none()) && rule.concerns(question) {
            if rule.deny {
                return Decision::Denied(Cause::Rule(rule));
            }
            allowed = Some(rule);
        }
    }
    if let Some(rule) = allowed {
        return Decision::Allowed(Cause::Rule(rule));
    }
    let mut grants = account
        .rights
        .iter()
        .filter_map(|rights| rights.of(service));
    match grants.find(|grant| grant.actions.contains(action)) {
        Some(Grant {
            origin: Some(origin),
            ..
        }) => Decision::Allowed(Cause::Rights(origin)),
        Some(Grant { origin: None, .. }) => Decision::Allowed(Cause::Default),
        None => Decision::Denied(Cause::Nothing),
    }
}

#[cfg(test)]
mod words {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_stand_for_their_actions() {
        let actions = Actions::parse(["read", "publish"]).unwrap();
        for (action, word) in Action::ALL {
            assert_eq!(
                actions.contains(action),
                word == "read" || word == "publish",
                "{word}"
            );
        }
        assert_eq!(Actions::parse(["all"]), Ok(Actions::ALL));
        assert_eq!(Actions::parse(["none"]), Ok(Actions::default()));
        assert_eq!(Actions::parse(["read", "reed"]), Err("reed"));
    }

    proptest! {
        #[test]
        fn no_words_make_the_parser_panic(words in prop::collection::vec(any::<String>(), 0..5)) {
            let _ = Actions::parse(words.iter().map(String::as_str));
        }
    }
}
