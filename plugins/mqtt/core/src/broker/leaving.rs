//! Subscriptions of sessions that have ended: a few leave the tree at once, very many a part at a time, so that nobody
//! waits for them. Until then they lead to a session that is not there, which gets nothing.

use std::collections::VecDeque;

use super::Broker;
use super::session::SessionId;
use super::subscribed::{Filters, Subscribed};
use crate::topic::Filter;

/// So many go in one turn.
const AT_ONCE: usize = 64;
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
        if self.leave_some(AT_ONCE) {
            self.timers.leaving(self.now + PAUSE);
        }
    }

    /// Takes out at most so many; false when none was left.
    pub(super) fn leave_some(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let Some((key, text)) = self.leaving.next() else {
                return false;
            };
            if let Some(filter) = Filter::parse(&text) {
                self.subscriptions.remove(filter, key);
            }
        }
        true
    }
}
