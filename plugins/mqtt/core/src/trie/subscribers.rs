//! The subscribers of one filter: most filters have none, or one, and that takes no allocation.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use super::entries::Entries;
use crate::codec::subscribe::SubscriptionOptions;
use crate::slab::Key;

/// A subscription of a session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub session: Key,
    pub options: SubscriptionOptions,
    pub identifier: u32,
}

/// Those who subscribed with one share name.
#[derive(Debug)]
pub(super) struct Group {
    pub name: Box<str>,
    pub members: Entries,
    pub cursor: Arc<AtomicU32>,
}

#[derive(Debug, Default)]
pub(super) enum Subscribers {
    #[default]
    None,
    One(Entry),
    Some(Box<Several>),
}

#[derive(Debug, Default)]
pub(super) struct Several {
    plain: Entries,
    groups: Vec<Group>,
}

impl Subscribers {
    /// Adds a subscription, or replaces that of the same session; whether it is a new one.
    pub(super) fn insert(&mut self, share: Option<&str>, entry: Entry) -> bool {
        self.put(share, entry, true)
    }

    /// Adds one that is not there yet.
    pub(super) fn append(&mut self, share: Option<&str>, entry: Entry) {
        self.put(share, entry, false);
    }

    fn put(&mut self, share: Option<&str>, entry: Entry, may_be_there: bool) -> bool {
        let mut several = match (std::mem::take(self), share) {
            (Subscribers::None, None) => {
                *self = Subscribers::One(entry);
                return true;
            }
            (Subscribers::One(old), None) if old.session == entry.session => {
                *self = Subscribers::One(entry);
                return false;
            }
            (Subscribers::None, Some(_)) => Box::default(),
            (Subscribers::One(first), _) => Box::new(Several {
                plain: Entries::from(first),
                groups: Vec::new(),
            }),
            (Subscribers::Some(several), _) => several,
        };
        let entries = several.entries(share);
        let known = match may_be_there {
            true => entries.find(entry.session),
            false => None,
        };
        let is_new = known.is_none();
        match known {
            Some(old) => *old = entry,
            None => entries.push(entry),
        }
        *self = Subscribers::Some(several);
        is_new
    }

    /// Takes a session's subscription out; false if there was none.
    pub(super) fn remove(&mut self, share: Option<&str>, session: Key) -> bool {
        match self {
            Subscribers::One(entry) if share.is_none() && entry.session == session => {
                *self = Subscribers::None;
                true
            }
            Subscribers::None | Subscribers::One(_) => false,
            Subscribers::Some(several) => {
                let removed = several.remove(share, session);
                if several.groups.is_empty() {
                    match *several.plain.as_slice() {
                        [] => *self = Subscribers::None,
                        [last] => *self = Subscribers::One(last),
                        _ => {}
                    }
                }
                removed
            }
        }
    }

    /// Those without a share name.
    pub(super) fn plain(&self) -> &[Entry] {
        match self {
            Subscribers::None => &[],
            Subscribers::One(entry) => std::slice::from_ref(entry),
            Subscribers::Some(several) => several.plain.as_slice(),
        }
    }

    pub(super) fn groups(&self) -> &[Group] {
        match self {
            Subscribers::None | Subscribers::One(_) => &[],
            Subscribers::Some(several) => &several.groups,
        }
    }

    pub(super) fn in_use(&self) -> bool {
        !matches!(self, Subscribers::None)
    }
}

impl Several {
    /// Those without a share name, or of one, which is made where it is missing.
    fn entries(&mut self, share: Option<&str>) -> &mut Entries {
        let Some(name) = share else {
            return &mut self.plain;
        };
        let known = self.groups.iter().position(|group| &*group.name == name);
        let at = known.unwrap_or_else(|| {
            self.groups.push(Group {
                name: name.into(),
                members: Entries::default(),
                cursor: Arc::default(),
            });
            self.groups.len() - 1
        });
        &mut self.groups[at].members
    }

    fn remove(&mut self, share: Option<&str>, session: Key) -> bool {
        let Some(name) = share else {
            return self.plain.remove(session);
        };
        let mut groups = self.groups.iter_mut();
        let removed = groups
            .find(|group| &*group.name == name)
            .is_some_and(|group| group.members.remove(session));
        self.groups
            .retain(|group| !group.members.as_slice().is_empty());
        removed
    }
}
