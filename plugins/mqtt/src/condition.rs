//! What is wrong while the service goes on, as status shows it: several things at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use polyport_sdk::Context;

/// Something that may be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trouble {
    Store,
    Overload,
}

/// What is.
#[derive(Clone)]
pub(crate) struct Condition {
    context: Context,
    reasons: Arc<Mutex<BTreeMap<Trouble, String>>>,
}

impl Condition {
    pub(crate) fn new(context: &Context) -> Condition {
        Condition {
            context: context.clone(),
            reasons: Arc::default(),
        }
    }

    /// Something is wrong, or right again.
    pub(crate) fn set(&self, trouble: Trouble, reason: Option<String>) {
        // A panic while it was held left one change: there is no half of it.
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = match reason {
            Some(reason) => reasons.insert(trouble, reason).is_none(),
            None => reasons.remove(&trouble).is_some(),
        };
        if !changed {
            return;
        }
        match reasons.is_empty() {
            true => self.context.recovered(),
            false => {
                let all: Vec<_> = reasons.values().map(String::as_str).collect();
                self.context.degraded(&all.join("; "));
            }
        }
    }
}
