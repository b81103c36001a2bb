//! Topic trees, one node a level: subscriptions by filter.
//!
//! Both are walked level by level with an explicit frontier, never by recursion: a topic of
//! 32,768 levels is legal.
//!
//! A tree has one table of all ways from a node to a child, not one in each node: a million filters
//! of a few levels are a million nodes and more, most of them without children.

mod edges;
mod entries;
mod level;
mod subscribers;
pub(crate) mod subscriptions;

use edges::Edges;
use level::Level;
pub(crate) use subscriptions::{Receiver, Route, SharedGroup, SubscriptionTrie};

const ROOT: u32 = 0;

/// A node has a child `+`: without this, most nodes of a walk would be asked for one in vain.
const PLUS: u32 = 1 << 31;
/// The same for `#`.
const MULTI: u32 = 1 << 30;

#[derive(Debug, Default)]
struct Node<T> {
    parent: u32,
    /// How many, with [`PLUS`] and [`MULTI`].
    children: u32,
    level: Level,
    value: T,
}

impl<T> Node<T> {
    fn has(&self, wildcard: u32) -> bool {
        self.children & wildcard != 0
    }
}

/// Nodes by number; the root is 0 and stays.
#[derive(Debug)]
struct Tree<T> {
    nodes: Vec<Node<T>>,
    free: Vec<u32>,
    edges: Edges,
}

impl<T: Default> Tree<T> {
    fn new() -> Self {
        Tree {
            nodes: vec![Node::default()],
            free: Vec::new(),
            edges: Edges::default(),
        }
    }

    fn node(&self, index: u32) -> &Node<T> {
        &self.nodes[index as usize]
    }

    fn value_mut(&mut self, index: u32) -> &mut T {
        &mut self.nodes[index as usize].value
    }

    fn child(&self, parent: u32, level: &str) -> Option<u32> {
        if self.node(parent).children == 0 {
            return None;
        }
        let hash = self.edges.hash(parent, level.as_bytes());
        self.edges.find(hash, |child| {
            let node = self.node(child);
            node.parent == parent && node.level.as_bytes() == level.as_bytes()
        })
    }

    /// The node for these levels, made where it is missing.
    fn make(&mut self, path: &str) -> u32 {
        let mut at = ROOT;
        for level in path.split('/') {
            at = match self.child(at, level) {
                Some(child) => child,
                None => self.add(at, level),
            };
        }
        at
    }

    fn add(&mut self, parent: u32, level: &str) -> u32 {
        let node = Node {
            parent,
            level: Level::new(level),
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
        let hash = self.edges.hash(parent, level.as_bytes());
        self.edges.insert(hash, child);
        let parent = &mut self.nodes[parent as usize];
        parent.children = (parent.children + 1) | wildcard(level.as_bytes());
        child
    }

    /// The levels that lead to a node, which is not the root.
    fn path(&self, mut at: u32) -> String {
        let mut levels = Vec::new();
        while at != ROOT {
            let node = self.node(at);
            levels.push(node.level.as_bytes());
            at = node.parent;
        }
        levels.reverse();
        String::from_utf8_lossy(&levels.join(&b'/')).into_owned()
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
            if node.children != 0 || in_use(&node.value) {
                return;
            }
            let removed = std::mem::take(node);
            let level = removed.level.as_bytes();
            self.edges
                .remove(self.edges.hash(removed.parent, level), at);
            self.free.push(at);
            at = removed.parent;
            let parent = &mut self.nodes[at as usize];
            parent.children = (parent.children - 1) & !wildcard(level);
        }
        if self.free.len() + 1 == self.nodes.len() && self.node(ROOT).children == 0 {
            // All are gone: what a storm of them took is given back.
            self.nodes.truncate(1);
            self.nodes.shrink_to(16);
            self.free = Vec::new();
        }
    }
}

fn wildcard(level: &[u8]) -> u32 {
    match level {
        b"+" => PLUS,
        b"#" => MULTI,
        _ => 0,
    }
}
