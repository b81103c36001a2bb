//! What one session is subscribed to: most sessions have a few filters, and some very many.

use std::collections::{BTreeMap, btree_map};

use crate::codec::subscribe::SubscriptionOptions;

/// So many lie side by side and take no more than they need.
const FEW: usize = 16;

/// Options and subscription identifier, 0 for none.
pub(super) type Subscription = (SubscriptionOptions, u32);

/// Subscriptions by topic filter, in the order of the filters.
#[derive(Clone, Debug)]
pub(super) enum Subscribed {
    Few(Vec<(Box<str>, Subscription)>),
    Many(BTreeMap<Box<str>, Subscription>),
}

impl Default for Subscribed {
    fn default() -> Self {
        Subscribed::Few(Vec::new())
    }
}

impl Subscribed {
    pub(super) fn len(&self) -> usize {
        match self {
            Subscribed::Few(few) => few.len(),
            Subscribed::Many(many) => many.len(),
        }
    }

    pub(super) fn get(&self, filter: &str) -> Option<&Subscription> {
        match self {
            Subscribed::Few(few) => position(few, filter).ok().map(|at| &few[at].1),
            Subscribed::Many(many) => many.get(filter),
        }
    }

    pub(super) fn contains_key(&self, filter: &str) -> bool {
        self.get(filter).is_some()
    }

    /// Adds or replaces one; what was there before.
    pub(super) fn insert(
        &mut self,
        filter: Box<str>,
        subscription: Subscription,
    ) -> Option<Subscription> {
        let few = match self {
            Subscribed::Many(many) => return many.insert(filter, subscription),
            Subscribed::Few(few) => few,
        };
        match position(few, &filter) {
            Ok(at) => Some(std::mem::replace(&mut few[at].1, subscription)),
            Err(at) if few.len() < FEW => {
                if few.len() == few.capacity() {
                    few.reserve_exact(few.len().clamp(1, 4));
                }
                few.insert(at, (filter, subscription));
                None
            }
            Err(_) => {
                let mut many: BTreeMap<_, _> = std::mem::take(few).into_iter().collect();
                many.insert(filter, subscription);
                *self = Subscribed::Many(many);
                None
            }
        }
    }

    pub(super) fn remove(&mut self, filter: &str) -> Option<Subscription> {
        match self {
            Subscribed::Few(few) => {
                let at = position(few, filter).ok()?;
                let removed = few.remove(at).1;
                if few.is_empty() {
                    *few = Vec::new();
                }
                Some(removed)
            }
            Subscribed::Many(many) => {
                let removed = many.remove(filter)?;
                // Not as soon as there are few again: those that come and go would move all each time.
                if many.len() < FEW / 2 {
                    *self = Subscribed::Few(std::mem::take(many).into_iter().collect());
                }
                Some(removed)
            }
        }
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Box<str>> {
        self.iter().map(|(filter, _)| filter)
    }

    pub(super) fn into_keys(self) -> Filters {
        match self {
            Subscribed::Few(few) => Filters::Few(few.into_iter()),
            Subscribed::Many(many) => Filters::Many(many.into_keys()),
        }
    }

    pub(super) fn iter(&self) -> Iter<'_> {
        match self {
            Subscribed::Few(few) => Iter::Few(few.iter()),
            Subscribed::Many(many) => Iter::Many(many.iter()),
        }
    }
}

fn position(few: &[(Box<str>, Subscription)], filter: &str) -> Result<usize, usize> {
    few.binary_search_by(|(other, _)| (**other).cmp(filter))
}

/// Topic filters that are subscribed to no longer.
#[derive(Debug)]
pub(super) enum Filters {
    Few(std::vec::IntoIter<(Box<str>, Subscription)>),
    Many(btree_map::IntoKeys<Box<str>, Subscription>),
}

impl Iterator for Filters {
    type Item = Box<str>;

    fn next(&mut self) -> Option<Box<str>> {
        match self {
            Filters::Few(few) => few.next().map(|(filter, _)| filter),
            Filters::Many(many) => many.next(),
        }
    }
}

pub(super) enum Iter<'a> {
    Few(std::slice::Iter<'a, (Box<str>, Subscription)>),
    Many(btree_map::Iter<'a, Box<str>, Subscription>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a Box<str>, &'a Subscription);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Iter::Few(few) => few
                .next()
                .map(|(filter, subscription)| (filter, subscription)),
            Iter::Many(many) => many.next(),
        }
    }
}

impl<'a> IntoIterator for &'a Subscribed {
    type Item = (&'a Box<str>, &'a Subscription);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Version;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_map_however_many_there_are(
            steps in prop::collection::vec((0u32..40, any::<bool>()), 0..200),
        ) {
            let options = SubscriptionOptions::decode(Version::V5, 1).unwrap();
            let (mut subscribed, mut model) = (Subscribed::default(), BTreeMap::new());
            for (step, (filter, add)) in (0u32..).zip(steps) {
                let filter: Box<str> = format!("f/{filter}").into();
                let (here, there) = if add {
                    let subscription = (options, step);
                    (subscribed.insert(filter.clone(), subscription), model.insert(filter.clone(), subscription))
                } else {
                    (subscribed.remove(&filter), model.remove(&filter))
                };
                prop_assert_eq!(here, there);
                prop_assert_eq!(subscribed.contains_key(&filter), model.contains_key(&filter));
                prop_assert!(subscribed.iter().eq(model.iter()));
                prop_assert_eq!(subscribed.len(), model.len());
            }
        }
    }
}
