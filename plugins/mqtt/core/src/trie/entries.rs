//! Subscriptions of several sessions to one filter. Of very many each is found by its session at once: a whole fleet may
//! come and go that listens to one topic.

use std::collections::HashMap;

use super::subscribers::Entry;
use crate::slab::Key;

/// From so many on there is an index, and no more below half of them.
const MANY: usize = 64;

/// Where each session stands.
type Places = HashMap<Key, u32, foldhash::fast::RandomState>;

/// In the order in which they came, but for those that took the place of one that went.
#[derive(Debug, Default)]
pub(super) struct Entries {
    all: Vec<Entry>,
    #[allow(clippy::box_collection, reason = "smaller in each list that has none")]
    places: Option<Box<Places>>,
}

impl Entries {
    pub(super) fn as_slice(&self) -> &[Entry] {
        &self.all
    }

    /// That of a session.
    pub(super) fn find(&mut self, session: Key) -> Option<&mut Entry> {
        let at = self.place(session)?;
        Some(&mut self.all[at])
    }

    /// Adds that of a session which has none.
    pub(super) fn push(&mut self, entry: Entry) {
        let at = self.all.len() as u32;
        if let Some(places) = &mut self.places {
            places.insert(entry.session, at);
        }
        self.all.push(entry);
        if self.places.is_none() && self.all.len() >= MANY {
            let sessions = self.all.iter().map(|entry| entry.session);
            self.places = Some(Box::new(sessions.zip(0..).collect()));
        }
    }

    /// Takes that of a session out, and the last one takes its place; false if there was none.
    pub(super) fn remove(&mut self, session: Key) -> bool {
        let Some(at) = self.place(session) else {
            return false;
        };
        self.all.swap_remove(at);
        if let Some(places) = &mut self.places {
            places.remove(&session);
            if let Some(moved) = self.all.get(at) {
                places.insert(moved.session, at as u32);
            }
        }
        if self.all.len() < MANY / 2 {
            self.places = None;
        }
        if self.all.len() * 4 < self.all.capacity() {
            self.all.shrink_to(self.all.len() * 2);
            if let Some(places) = &mut self.places {
                places.shrink_to(self.all.len() * 2);
            }
        }
        true
    }

    fn place(&self, session: Key) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&session).map(|at| *at as usize),
            None => self.all.iter().position(|entry| entry.session == session),
        }
    }
}

impl From<Entry> for Entries {
    fn from(entry: Entry) -> Self {
        Entries {
            all: vec![entry],
            places: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Version;
    use crate::codec::subscribe::SubscriptionOptions;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_session_is_found_however_many_there_are(
            steps in prop::collection::vec((0u32..200, 0u8..4), 0..800),
        ) {
            let options = SubscriptionOptions::decode(Version::V5, 0).unwrap();
            let (mut entries, mut model) = (Entries::default(), HashMap::new());
            for (step, (index, what)) in (1..).zip(steps) {
                let session = Key { index, generation: 0 };
                // More come than go, so that there are many at times.
                if what == 0 {
                    prop_assert_eq!(entries.remove(session), model.remove(&session).is_some());
                } else if let Some(entry) = entries.find(session) {
                    entry.identifier = step;
                    prop_assert!(model.insert(session, step).is_some());
                } else {
                    entries.push(Entry { session, options, identifier: step });
                    prop_assert!(model.insert(session, step).is_none());
                }
                let all = entries.as_slice().iter();
                let all: HashMap<_, _> = all.map(|entry| (entry.session, entry.identifier)).collect();
                prop_assert_eq!(&all, &model);
                prop_assert_eq!(entries.as_slice().len(), model.len());
            }
            for session in model.keys() {
                prop_assert_eq!(entries.find(*session).map(|entry| entry.session), Some(*session));
            }
        }
    }
}
