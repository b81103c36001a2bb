//! How much each account has retained. Counted only while somebody asks.

use std::collections::HashMap;
use std::sync::Arc;

use crate::origin::Origin;

/// Retained messages, and bytes of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    pub count: usize,
    pub bytes: usize,
}

/// What accounts hold that hold anything.
#[derive(Debug, Default)]
pub(super) struct Accounts(HashMap<Arc<str>, Held>);

impl Accounts {
    pub(super) fn get(&self, account: &str) -> Held {
        self.0.get(account).copied().unwrap_or_default()
    }

    pub(super) fn add(&mut self, origin: &Origin, (count, bytes): (usize, usize)) {
        let Some(publisher) = &origin.publisher else {
            return;
        };
        let account = Arc::clone(&publisher.account);
        let held = self.0.entry(account).or_default();
        held.count += count;
        held.bytes += bytes;
    }

    pub(super) fn remove(&mut self, origin: &Origin, (count, bytes): (usize, usize)) {
        let Some(publisher) = &origin.publisher else {
            return;
        };
        if let Some(held) = self.0.get_mut(&publisher.account) {
            held.count -= count;
            held.bytes -= bytes;
            if held.count == 0 {
                self.0.remove(&publisher.account);
            }
        }
    }
}
