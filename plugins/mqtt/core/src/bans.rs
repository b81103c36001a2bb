//! Clients and accounts that are not let in, until a time or until that is lifted.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::time::Time;

/// What a name in a ban is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A client identifier.
    Client,
    /// The name of an account.
    User,
}

impl Kind {
    pub(crate) const ALL: [Kind; 2] = [Kind::Client, Kind::User];

    pub(crate) fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// How long somebody is banned, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Since when.
    pub since: Time,
    /// Until when; none for until it is lifted.
    pub until: Option<Time>,
    /// What the operator noted.
    pub reason: Box<str>,
}

impl Ban {
    /// Whether its time is over.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// All bans, in the order of kinds and names.
#[derive(Debug, Default)]
pub(crate) struct Bans([BTreeMap<Box<str>, Ban>; 2]);

impl Bans {
    fn of(&mut self, kind: Kind) -> &mut BTreeMap<Box<str>, Ban> {
        &mut self.0[kind as usize]
    }

    /// Adds or replaces one.
    pub(crate) fn insert(&mut self, kind: Kind, name: &str, ban: Ban) {
        self.of(kind).insert(name.into(), ban);
    }

    /// Whether there was one.
    pub(crate) fn remove(&mut self, kind: Kind, name: &str) -> bool {
        self.of(kind).remove(name).is_some()
    }

    /// Whether somebody is banned now.
    pub(crate) fn holds(&self, kind: Kind, name: &str, now: Time) -> bool {
        let ban = self.0[kind as usize].get(name);
        ban.is_some_and(|ban| !ban.is_over(now))
    }

    /// Those behind one, or all.
    pub(crate) fn behind(
        &self,
        last: Option<(Kind, &str)>,
    ) -> impl Iterator<Item = (Kind, &str, &Ban)> {
        let kinds = Kind::ALL.into_iter();
        let kinds = kinds.filter(move |kind| last.is_none_or(|(last, _)| *kind >= last));
        kinds.flat_map(move |kind| {
            let start = match last {
                Some((last, name)) if last == kind => Bound::Excluded(name),
                _ => Bound::Unbounded,
            };
            let bans = self.0[kind as usize].range::<str, _>((start, Bound::Unbounded));
            bans.map(move |(name, ban)| (kind, &**name, ban))
        })
    }

    /// Forgets those whose time is over.
    pub(crate) fn forget(&mut self, now: Time) {
        for bans in &mut self.0 {
            bans.retain(|_, ban| !ban.is_over(now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn until(time: Option<u64>) -> Ban {
        Ban {
            since: Time(1),
            until: time.map(Time),
            reason: Box::default(),
        }
    }

    #[test]
    fn a_ban_ends_by_itself_or_is_lifted() {
        let mut bans = Bans::default();
        bans.insert(Kind::Client, "a", until(Some(10)));
        bans.insert(Kind::User, "a", until(None));
        assert!(bans.holds(Kind::Client, "a", Time(9)));
        assert!(!bans.holds(Kind::Client, "a", Time(10)));
        assert!(!bans.holds(Kind::Client, "b", Time(9)));
        bans.forget(Time(10));
        assert!(!bans.remove(Kind::Client, "a"));
        assert!(bans.holds(Kind::User, "a", Time(u64::MAX)));
        assert!(bans.remove(Kind::User, "a"));
        assert_eq!(bans.behind(None).count(), 0);
    }

    #[test]
    fn a_look_goes_on_behind_any_of_them() {
        let mut bans = Bans::default();
        for name in ["b", "a", "c"] {
            bans.insert(Kind::Client, name, until(None));
            bans.insert(Kind::User, name, until(None));
        }
        let names = |last| {
            let bans = bans.behind(last);
            bans.map(|(kind, name, _)| (kind, name)).collect::<Vec<_>>()
        };
        let all = names(None);
        assert_eq!(all.len(), 6);
        assert!(all.is_sorted());
        for (at, last) in (1..).zip(&all) {
            assert_eq!(names(Some(*last)), all[at..]);
        }
    }
}
