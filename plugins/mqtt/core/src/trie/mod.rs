//! Topic trees, one node a level: subscriptions by filter.
//!
//! Both are walked level by level with an explicit frontier, never by recursion: a topic of
//! 32,768 levels is legal.

pub(crate) mod subscriptions;

use std::collections::HashMap;

pub(crate) use subscriptions::{Receiver, Route, SharedGroup, SubscriptionTrie};

type Children = HashMap<Box<str>, u32, foldhash::fast::RandomState>;

const ROOT: u32 = 0;

#[derive(Debug, Default)]
struct Node<T> {
    parent: u32,
    level: Box<str>,
    children: Children,
    value: T,
}

/// Nodes by number; the root is 0 and stays.
#[derive(Debug)]
struct Tree<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
}

impl<T: Default> Tree<T> {
    fn new() -> Self {
        Tree {
            nodes: vec![Node::default()],
            free: Vec::new(),
        }
    }

    fn node(&self, index: u32) -> &Node<T> {
        &self.nodes[index as usize]
    }

    fn value_mut(&mut self, index: u32) -> &mut T {
        &mut self.nodes[index as usize].value
    }

    fn child(&self, parent: u32, level: &str) -> Option<u32> {
        self.node(parent).children.get(level).copied()
    }

    /// The node for these levels, made where it is missing.
    fn make(&mut self, path: &str) -> u32 {
        let mut at = ROOT;
        for level in path.split('/') {
            at = match self.child(at, level) {
                Some(child) => child,
                None => {
                    let node = Node {
                        parent: at,
                        level: level.into(),
                        ..Node::default()
                    };
                    let child = match self.free.pop() {
                        Some(index) => {
                            self.nodes[index as usize] = node;
                            index
                        }
                        None => {
                            self.nodes.push(node);
                            (self.nodes.len() - 1) as u32
                        }
                    };
                    self.nodes[at as usize].children.insert(level.into(), child);
                    child
                }
            };
        }
        at
    }

    /// The levels that lead to a node, which is not the root.
    fn path(&self, mut at: u32) -> String {
        let mut levels = Vec::new();
        while at != ROOT {
            let node = self.node(at);
            levels.push(&*node.level);
            at = node.parent;
        }
        levels.reverse();
        levels.join("/")
    }

    fn find(&self, path: &str) -> Option<u32> {
        path.split('/')
            .try_fold(ROOT, |at, level| self.child(at, level))
    }

    /// Removes the node and its ancestors as far as they have neither children nor a value that
    /// `in_use`.
    fn prune(&mut self, mut at: u32, in_use: impl Fn(&T) -> bool) {
        while at != ROOT {
            let node = &mut self.nodes[at as usize];
            if !node.children.is_empty() || in_use(&node.value) {
                return;
            }
            let removed = std::mem::take(node);
            self.free.push(at);
            at = removed.parent;
            let children = &mut self.nodes[at as usize].children;
            children.remove(&removed.level);
            if children.capacity() > 32 && children.len() * 4 < children.capacity() {
                children.shrink_to_fit();
            }
        }
    }
}
