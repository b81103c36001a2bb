//! The ways from nodes to their children, all in one table: eight bytes each, found by the hash of the
//! parent's number and the level.

use std::hash::{BuildHasher, Hasher};

/// The least places there are once there is one way.
const LEAST: usize = 16;

/// A place. Child 0 is the root, which is nobody's child: the place is free.
#[derive(Clone, Copy, Debug, Default)]
struct Edge {
    hash: u32,
    child: u32,
}

/// A hash table with linear probing. A half to three quarters of its places are taken: it grows by a half.
#[derive(Debug, Default)]
pub(super) struct Edges {
    places: Vec<Edge>,
    count: usize,
    state: foldhash::fast::RandomState,
}

impl Edges {
    /// Seeded anew in each table: nobody can choose levels that fall together.
    pub(super) fn hash(&self, parent: u32, level: &[u8]) -> u32 {
        let mut hasher = self.state.build_hasher();
        hasher.write_u32(parent);
        hasher.write(level);
        let hash = hasher.finish();
        (hash ^ hash >> 32) as u32
    }

    /// The child with this hash that `is_it`.
    pub(super) fn find(&self, hash: u32, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        if self.places.is_empty() {
            return None;
        }
        let mut at = self.home(hash);
        loop {
            let edge = self.places[at];
            if edge.child == 0 {
                return None;
            }
            if edge.hash == hash && is_it(edge.child) {
                return Some(edge.child);
            }
            at = self.after(at);
        }
    }

    /// Adds a way that is not there yet.
    pub(super) fn insert(&mut self, hash: u32, child: u32) {
        if (self.count + 1) * 4 > self.places.len() * 3 {
            self.resize((self.places.len() * 3 / 2).max(LEAST));
        }
        self.put(Edge { hash, child });
        self.count += 1;
    }

    /// Removes the way to a child that is there.
    pub(super) fn remove(&mut self, hash: u32, child: u32) {
        let mut hole = self.home(hash);
        while self.places[hole].child != child {
            if self.places[hole].child == 0 {
                return;
            }
            hole = self.after(hole);
        }
        // Whoever stands behind the hole and may stand in it moves there: no probe ends too early.
        let mut at = self.after(hole);
        while self.places[at].child != 0 {
            let home = self.home(self.places[at].hash);
            if self.distance(home, at) >= self.distance(hole, at) {
                self.places[hole] = self.places[at];
                hole = at;
            }
            at = self.after(at);
        }
        self.places[hole] = Edge::default();
        self.count -= 1;
        if self.count * 6 < self.places.len() && self.places.len() > LEAST {
            self.resize((self.places.len() / 2).max(LEAST));
        }
    }

    fn put(&mut self, edge: Edge) {
        let mut at = self.home(edge.hash);
        while self.places[at].child != 0 {
            at = self.after(at);
        }
        self.places[at] = edge;
    }

    fn resize(&mut self, places: usize) {
        let old = std::mem::replace(&mut self.places, vec![Edge::default(); places]);
        for edge in old {
            if edge.child != 0 {
                self.put(edge);
            }
        }
    }

    fn home(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.places.len() as u64) >> 32) as usize
    }

    fn after(&self, at: usize) -> usize {
        if at + 1 == self.places.len() {
            0
        } else {
            at + 1
        }
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        match to >= from {
            true => to - from,
            false => to + self.places.len() - from,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Hashes that fall together on purpose.
        #[test]
        fn it_holds_what_was_put_in_and_not_taken_out(
            steps in prop::collection::vec((1u32..200, any::<bool>()), 0..600),
        ) {
            let hash = |child: u32| child % 13 * 300_000_000;
            let (mut edges, mut model) = (Edges::default(), HashMap::new());
            for (child, add) in steps {
                if add && model.insert(child, ()).is_none() {
                    edges.insert(hash(child), child);
                } else if !add && model.remove(&child).is_some() {
                    edges.remove(hash(child), child);
                }
                prop_assert_eq!(edges.count, model.len());
            }
            for child in 1..200 {
                let found = edges.find(hash(child), |other| other == child);
                prop_assert_eq!(found.is_some(), model.contains_key(&child));
            }
        }
    }
}
