//! What an account may do. [`decide`] is the only place where a right is judged.

use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

use super::account::Account;

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

/// The actions granted to an account: for every service, and instead for single ones.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Where nothing else is said.
    pub everywhere: Actions,
    /// By the name of the service.
    pub services: BTreeMap<String, Actions>,
}

/// What [`decide`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may be done.
    Allowed,
    /// It may not.
    Denied(Reason),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The account has `enabled = no`.
    Disabled,
    /// The account's `expire` has passed.
    Expired,
    /// The service is not among the account's `services`.
    Service,
    /// The action is not among the account's rights in the service.
    Action,
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

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Disabled => "the account is disabled",
            Self::Expired => "the account is expired",
            Self::Service => "the account is not for this service",
            Self::Action => "the account has no right to do this",
        })
    }
}

/// Whether `account` may use `service` at all.
pub fn decide_service(account: &Account, service: &str, now: SystemTime) -> Decision {
    if !account.enabled {
        Decision::Denied(Reason::Disabled)
    } else if account.expires.is_some_and(|end| end <= now) {
        Decision::Denied(Reason::Expired)
    } else if account
        .services
        .as_ref()
        .is_some_and(|services| !services.iter().any(|name| name == service))
    {
        Decision::Denied(Reason::Service)
    } else {
        Decision::Allowed
    }
}

/// Whether `account` may do `action` to `target` (a path, a topic) in `service`. Every target of a
/// service is judged alike; what a client can name at all is limited by the account's home.
pub fn decide(
    account: &Account,
    service: &str,
    action: Action,
    _target: &str,
    now: SystemTime,
) -> Decision {
    let actions = account
        .rights
        .services
        .get(service)
        .copied()
        .unwrap_or(account.rights.everywhere);
    match decide_service(account, service, now) {
        Decision::Allowed if !actions.contains(action) => Decision::Denied(Reason::Action),
        decision => decision,
    }
}

#[cfg(test)]
mod tests {
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
