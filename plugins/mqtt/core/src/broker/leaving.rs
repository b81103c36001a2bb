//! Subscriptions of sessions that have ended: a few leave the tree at once, very many a part at a time, so that nobody
//! waits for them. Until then they lead to a session that is not there, which gets nothing.

use std::collections::VecDeque;

use super::Broker;
use super::session::SessionId;
use super::subscribed::{Filters, Subscribed};
use crate::topic::Filter;

/// So many go in one turn, or that part of all that are left, if those are more: they go faster than they can come.
const AT_ONCE: usize = 512;
const PART: usize = 128;
/// Between two turns, in milliseconds.
const PAUSE: u64 = 1;

#[derive(Debug, Default)]
pub(super) struct Leaving {
    sessions: VecDeque<(SessionId, Filters)>,
    count: usize,
}

impl Leaving {
    /// Those that still are in the tree.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn next(&mut self) -> Option<(SessionId, Box<str>)> {
        loop {
            let (key, filters) = self.sessions.front_mut()?;
            if let Some(filter) = filters.next() {
                self.count -= 1;
                return Some((*key, filter));
            }
            self.sessions.pop_front();
        }
    }
}

impl Broker {
    /// Takes the subscriptions of a session that has ended out of the tree, or begins to.
    pub(super) fn unsubscribe_all(&mut self, key: SessionId, subscribed: Subscribed) {
        let is_idle = self.leaving.sessions.is_empty();
        self.leaving.count += subscribed.len();
        let filters = subscribed.into_keys();
        self.leaving.sessions.push_back((key, filters));
        if is_idle {
            self.leaving_due();
        }
    }

    pub(super) fn leaving_due(&mut self) {
        for _ in 0..AT_ONCE.max(self.leaving.count / PART) {
            let Some((key, text)) = self.leaving.next() else {
                return;
            };
            if let Some(filter) = Filter::parse(&text) {
                self.subscriptions.remove(filter, key);
            }
        }
        self.timers.leaving(self.now + PAUSE);
    }
}
