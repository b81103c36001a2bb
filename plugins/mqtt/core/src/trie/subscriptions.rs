//! Subscriptions by topic filter, and whom a topic name reaches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::subscribers::{Entry, Group, Subscribers};
use super::{MULTI, PLUS, ROOT, Tree};
use crate::codec::QoS;
use crate::codec::subscribe::SubscriptionOptions;
use crate::slab::Key;
use crate::topic::{Filter, SHARE_PREFIX};

/// What a subscription costs beside the text of its filter.
const SUBSCRIPTION: usize = 200;

/// One session that a message goes to, with what its matching subscriptions add up to.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub session: Key,
    pub qos: QoS,
    pub no_local: bool,
    pub retain_as_published: bool,
    pub identifiers: Vec<u32>,
}

/// The members of a shared subscription; a message goes to one of them in turn (4.8.2).
#[derive(Clone, Debug)]
pub(crate) struct SharedGroup {
    pub members: Vec<Receiver>,
    pub cursor: Arc<AtomicU32>,
}

/// Everyone that a topic name reaches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    pub receivers: Vec<Receiver>,
    pub groups: Vec<SharedGroup>,
}

impl Route {
    pub(crate) fn is_empty(&self) -> bool {
        self.receivers.is_empty() && self.groups.is_empty()
    }
}

#[derive(Debug)]
pub(crate) struct SubscriptionTrie {
    tree: Tree<Subscribers>,
    epoch: u64,
    count: usize,
    /// What their filters take, each once for every subscription.
    text: usize,
    /// How many of them are shared.
    shared: usize,
    /// Overlapping subscriptions of one session are one receiver.
    merged: bool,
}

impl SubscriptionTrie {
    pub(crate) fn new() -> Self {
        SubscriptionTrie {
            tree: Tree::new(),
            epoch: 1,
            count: 0,
            text: 0,
            shared: 0,
            merged: true,
        }
    }

    /// Changes with every subscription: a [`Route`] is good as long as this stays.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Bytes that they take, about.
    pub(crate) fn held(&self) -> usize {
        self.text + self.count * SUBSCRIPTION
    }

    /// Routes that are known are not good any more: something else than subscriptions has changed.
    pub(crate) fn reroute(&mut self, merged: bool) {
        self.epoch += 1;
        self.merged = merged;
    }

    pub(crate) fn shared(&self) -> usize {
        self.shared
    }

    /// Adds or replaces a subscription.
    pub(crate) fn insert(
        &mut self,
        filter: Filter<'_>,
        session: Key,
        options: SubscriptionOptions,
        identifier: u32,
    ) {
        self.epoch += 1;
        let node = self.tree.make(filter.filter);
        let entry = Entry {
            session,
            options,
            identifier,
        };
        if self.tree.value_mut(node).insert(filter.share, entry) {
            self.count(filter);
        }
    }

    /// Adds a subscription that is not there yet.
    pub(crate) fn append(
        &mut self,
        filter: Filter<'_>,
        session: Key,
        options: SubscriptionOptions,
        identifier: u32,
    ) {
        self.epoch += 1;
        self.count(filter);
        let node = self.tree.make(filter.filter);
        let entry = Entry {
            session,
            options,
            identifier,
        };
        self.tree.value_mut(node).append(filter.share, entry);
    }

    fn count(&mut self, filter: Filter<'_>) {
        self.count += 1;
        self.text += filter.size();
        self.shared += usize::from(filter.share.is_some());
    }

    /// Shared subscriptions: the whole filter, whose turn it is, and the members in order.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (String, u32, impl Iterator<Item = Key>)> {
        (0..).zip(&self.tree.nodes).flat_map(move |(at, node)| {
            node.value.groups().iter().map(move |group| {
                let members = group.members.as_slice().iter().map(|entry| entry.session);
                let filter = format!("{SHARE_PREFIX}{}/{}", group.name, self.tree.path(at));
                (filter, group.cursor.load(Ordering::Relaxed), members)
            })
        })
    }

    /// Whose turn it is in a shared subscription.
    pub(crate) fn set_turn(&mut self, filter: Filter<'_>, turn: u32) {
        if let Some(node) = self.tree.find(filter.filter) {
            let groups = self.tree.node(node).value.groups().iter();
            for group in groups.filter(|group| Some(&*group.name) == filter.share) {
                group.cursor.store(turn, Ordering::Relaxed);
            }
        }
    }

    /// The members of a shared subscription.
    pub(crate) fn group(&self, filter: Filter<'_>) -> Option<SharedGroup> {
        let node = self.tree.node(self.tree.find(filter.filter)?);
        let mut groups = node.value.groups().iter();
        let group = groups.find(|group| Some(&*group.name) == filter.share)?;
        Some(SharedGroup::from(group))
    }

    /// Removes a subscription; false when there was none.
    pub(crate) fn remove(&mut self, filter: Filter<'_>, session: Key) -> bool {
        let Some(node) = self.tree.find(filter.filter) else {
            return false;
        };
        if !self.tree.value_mut(node).remove(filter.share, session) {
            return false;
        }
        self.count -= 1;
        self.text -= filter.size();
        self.shared -= usize::from(filter.share.is_some());
        self.epoch += 1;
        self.tree.prune(node, Subscribers::in_use);
        true
    }

    /// Whom a topic name reaches. Overlapping subscriptions of one session become one receiver
    /// with the highest QoS and every subscription identifier, or one each (3.3.4).
    pub(crate) fn route(&self, topic: &str) -> Route {
        let mut route = Route::default();
        let mut frontier = vec![ROOT];
        let mut next = Vec::new();
        let mut first = true;
        for level in topic.split('/') {
            let wildcards = !(first && level.starts_with('$'));
            first = false;
            for &at in &frontier {
                let node = self.tree.node(at);
                if wildcards && node.has(PLUS) {
                    next.extend(self.tree.child(at, "+"));
                }
                if wildcards && node.has(MULTI) {
                    self.add_multi(at, &mut route);
                }
                next.extend(self.tree.child(at, level));
            }
            std::mem::swap(&mut frontier, &mut next);
            next.clear();
            if frontier.is_empty() {
                break;
            }
        }
        for &at in &frontier {
            let node = self.tree.node(at);
            route.add(&node.value);
            if node.has(MULTI) {
                self.add_multi(at, &mut route);
            }
        }
        if self.merged {
            route.merge();
        }
        route
    }

    /// Adds whom `#` beneath a node stands for.
    fn add_multi(&self, at: u32, route: &mut Route) {
        if let Some(multi) = self.tree.child(at, "#") {
            route.add(&self.tree.node(multi).value);
        }
    }
}

impl Route {
    fn add(&mut self, subscribers: &Subscribers) {
        self.receivers
            .extend(subscribers.plain().iter().map(Receiver::from));
        self.groups
            .extend(subscribers.groups().iter().map(SharedGroup::from));
    }

    fn merge(&mut self) {
        if self.receivers.len() < 2 {
            return;
        }
        self.receivers.sort_by_key(|receiver| receiver.session);
        self.receivers.dedup_by(|other, kept| {
            let same = other.session == kept.session;
            if same {
                kept.qos = kept.qos.max(other.qos);
                kept.no_local &= other.no_local;
                kept.retain_as_published |= other.retain_as_published;
                kept.identifiers.append(&mut other.identifiers);
            }
            same
        });
        for receiver in &mut self.receivers {
            receiver.identifiers.sort_unstable();
        }
    }
}

impl From<&Group> for SharedGroup {
    fn from(group: &Group) -> Self {
        SharedGroup {
            members: group
                .members
                .as_slice()
                .iter()
                .map(Receiver::from)
                .collect(),
            cursor: group.cursor.clone(),
        }
    }
}

impl From<&Entry> for Receiver {
    fn from(entry: &Entry) -> Self {
        Receiver {
            session: entry.session,
            qos: entry.options.qos,
            no_local: entry.options.no_local,
            retain_as_published: entry.options.retain_as_published,
            identifiers: if entry.identifier == 0 {
                Vec::new()
            } else {
                vec![entry.identifier]
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Version;
    use crate::topic;
    use proptest::prelude::*;

    fn key(index: u32) -> Key {
        Key {
            index,
            generation: 0,
        }
    }

    fn options(byte: u8) -> SubscriptionOptions {
        SubscriptionOptions::decode(Version::V5, byte).unwrap()
    }

    #[test]
    fn overlapping_subscriptions_become_one_delivery_with_all_identifiers() {
        let mut trie = SubscriptionTrie::new();
        for (filter, qos, identifier) in [("a/#", 0, 1), ("a/+", 2, 2), ("a/b", 1, 0)] {
            trie.insert(
                Filter::parse(filter).unwrap(),
                key(1),
                options(qos),
                identifier,
            );
        }
        let route = trie.route("a/b");
        assert_eq!(route.receivers.len(), 1);
        assert_eq!(route.receivers[0].qos, QoS::ExactlyOnce);
        let mut identifiers = route.receivers[0].identifiers.clone();
        identifiers.sort_unstable();
        assert_eq!(identifiers, [1, 2]);
    }

    #[test]
    fn removing_everything_leaves_only_the_root() {
        let mut trie = SubscriptionTrie::new();
        let deep = "/".repeat(40_000);
        for filter in ["a/b/c", "a/b", "#", "$share/g/a/b/c", deep.as_str()] {
            trie.insert(Filter::parse(filter).unwrap(), key(3), options(0), 0);
        }
        assert_eq!(trie.route(&deep).receivers.len(), 1);
        for filter in ["a/b/c", "a/b", "#", "$share/g/a/b/c", deep.as_str()] {
            assert!(
                trie.remove(Filter::parse(filter).unwrap(), key(3)),
                "{filter}"
            );
            assert!(
                !trie.remove(Filter::parse(filter).unwrap(), key(3)),
                "{filter}"
            );
        }
        assert_eq!(
            (trie.len(), trie.tree.nodes.len() - trie.tree.free.len()),
            (0, 1)
        );
    }

    fn level() -> impl Strategy<Value = String> {
        prop_oneof![Just("a"), Just("b"), Just(""), Just("$x")].prop_map(str::to_owned)
    }

    fn filter() -> impl Strategy<Value = String> {
        let wild = prop_oneof![4 => level(), 2 => Just("+".to_owned())];
        (prop::collection::vec(wild, 1..4), any::<bool>()).prop_map(|(mut levels, multi)| {
            if multi {
                levels.push("#".to_owned());
            }
            levels.join("/")
        })
    }

    proptest! {
        #[test]
        fn the_trie_agrees_with_the_definition(
            filters in prop::collection::vec(filter(), 0..12),
            removed in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            topic in prop::collection::vec(level(), 1..5),
        ) {
            let topic = topic.join("/");
            prop_assume!(topic::is_name(&topic));
            let mut filters: Vec<_> = filters.into_iter().filter(|filter| Filter::parse(filter).is_some()).collect();
            let mut trie = SubscriptionTrie::new();
            for (number, filter) in filters.iter().enumerate() {
                trie.insert(Filter::parse(filter).unwrap(), key(number as u32), options(0), 0);
            }
            let mut alive: Vec<bool> = vec![true; filters.len()];
            for index in removed {
                if !filters.is_empty() {
                    let at = index.index(filters.len());
                    let was = std::mem::replace(&mut alive[at], false);
                    prop_assert_eq!(trie.remove(Filter::parse(&filters[at]).unwrap(), key(at as u32)), was);
                }
            }
            let expected: Vec<u32> = filters.drain(..).enumerate()
                .filter(|(at, filter)| alive[*at] && topic::matches(filter, &topic))
                .map(|(at, _)| at as u32).collect();
            let mut found: Vec<u32> = trie.route(&topic).receivers.iter().map(|receiver| receiver.session.index).collect();
            found.sort_unstable();
            prop_assert_eq!(found, expected, "topic {:?}", topic);
        }
    }
}
