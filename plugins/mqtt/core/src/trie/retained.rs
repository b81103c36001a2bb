//! Retained messages by topic name (3.3.1.3). A lookup by wildcard visits only what can match.

use std::sync::Arc;

use super::{ROOT, Tree};
use crate::message::Message;

#[derive(Debug)]
pub(crate) struct RetainedTrie {
    tree: Tree<Option<Arc<Message>>>,
    count: usize,
}

impl RetainedTrie {
    pub(crate) fn new() -> Self {
        RetainedTrie {
            tree: Tree::new(),
            count: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        self.tree.node(self.tree.find(topic)?).value.as_ref()
    }

    pub(crate) fn insert(&mut self, message: Arc<Message>) {
        let node = self.tree.make(&message.topic);
        if self.tree.value_mut(node).replace(message).is_none() {
            self.count += 1;
        }
    }

    /// Removes the message of a topic; false when there was none.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let Some(node) = self.tree.find(topic) else {
            return false;
        };
        let existed = self.tree.value_mut(node).take().is_some();
        if existed {
            self.count -= 1;
            self.tree.prune(node, Option::is_some);
        }
        existed
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Message>> {
        self.tree
            .nodes
            .iter()
            .filter_map(|node| node.value.as_ref())
    }

    /// The messages whose topics match a filter.
    pub(crate) fn matching(&self, filter: &str) -> Vec<Arc<Message>> {
        let mut found = Vec::new();
        let mut frontier = vec![ROOT];
        let mut next = Vec::new();
        for level in filter.split('/') {
            for &at in &frontier {
                match level {
                    "#" => self.subtree(at, &mut found),
                    "+" => next.extend(self.wildcard_children(at)),
                    _ => next.extend(self.tree.child(at, level)),
                }
            }
            if level == "#" {
                return found;
            }
            std::mem::swap(&mut frontier, &mut next);
            next.clear();
        }
        found.extend(
            frontier
                .iter()
                .filter_map(|&at| self.tree.node(at).value.clone()),
        );
        found
    }

    /// Children that a wildcard matches: at the root not those that begin with `$` (MQTT-4.7.2-1).
    fn wildcard_children(&self, at: u32) -> impl Iterator<Item = u32> {
        let children = self.tree.node(at).children.iter();
        children
            .filter(move |(level, _)| at != ROOT || !level.starts_with('$'))
            .map(|(_, &child)| child)
    }

    fn subtree(&self, at: u32, found: &mut Vec<Arc<Message>>) {
        let mut pending = vec![at];
        while let Some(at) = pending.pop() {
            found.extend(self.tree.node(at).value.clone());
            pending.extend(self.wildcard_children(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::QoS;
    use crate::topic;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(topic: &str) -> Arc<Message> {
        Arc::new(Message {
            stored: 0,
            topic: topic.into(),
            payload: Bytes::from_static(b"x"),
            properties: Box::default(),
            expires: None,
            qos: QoS::AtMostOnce,
            retain: true,
        })
    }

    #[test]
    fn replacing_and_removing_keep_count() {
        let mut trie = RetainedTrie::new();
        trie.insert(message("a/b"));
        trie.insert(message("a/b"));
        trie.insert(message("a"));
        assert_eq!(trie.len(), 2);
        assert!(trie.remove("a/b") && !trie.remove("a/b") && trie.get("a").is_some());
        assert!(trie.remove("a"));
        assert_eq!(
            (trie.len(), trie.tree.nodes.len() - trie.tree.free.len()),
            (0, 1)
        );
    }

    proptest! {
        #[test]
        fn lookup_agrees_with_the_definition(
            topics in prop::collection::btree_set("(a|b||\\$s)(/(a|b|)){0,3}", 0..12),
            filter in "(a|b|\\+|\\$s|)(/(a|b|\\+|)){0,3}(/#)?|#",
        ) {
            let topics: Vec<_> = topics.into_iter().filter(|topic| topic::is_name(topic)).collect();
            let mut trie = RetainedTrie::new();
            topics.iter().for_each(|topic| trie.insert(message(topic)));
            let mut found: Vec<_> = trie.matching(&filter).iter().map(|message| message.topic.to_string()).collect();
            found.sort();
            let expected: Vec<_> = topics.into_iter().filter(|topic| topic::matches(&filter, topic)).collect();
            prop_assert_eq!(found, expected, "filter {:?}", filter);
        }
    }
}
