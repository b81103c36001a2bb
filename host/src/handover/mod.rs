//! Where the connections of a replaced instance go: one way for each service, and whoever is at its end.
//!
//! Plugins pass from threads of their own and at any time; nothing here waits for a plugin, but for the one call that
//! takes a connection over. Knows nothing of configuration or generations.

mod local;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use polyport_abi::handover::NOT_PASSED_NOBODY;

pub use crate::loader::interfaces::{Passing, arrive};
pub use local::Reception;

/// Who has a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Another instance of this process, which counts its client from now on.
    Here,
    /// Another process, which counts its client itself.
    Away,
}

/// Whoever takes connections over.
pub trait Successor: Send + Sync {
    /// Takes one over, or says by one of the `NOT_PASSED_` numbers why not; then nothing was taken.
    ///
    /// # Errors
    /// That number.
    fn take(&self, passing: &Passing<'_>) -> Result<Taken, u32>;
}

/// The way of one service: all its earlier instances pass to whoever is at its end now.
#[derive(Default)]
pub struct Way {
    end: RwLock<Option<Arc<dyn Successor>>>,
}

impl fmt::Debug for Way {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Way")
    }
}

impl Way {
    /// Whoever passes from now on passes to this one; to nobody for none.
    pub fn lead_to(&self, successor: Option<Arc<dyn Successor>>) {
        *self.end.write().unwrap_or_else(PoisonError::into_inner) = successor;
    }

    /// Passes a connection on.
    ///
    /// # Errors
    /// As [`Successor::take`].
    pub fn pass(&self, passing: &Passing<'_>) -> Result<Taken, u32> {
        let mut tried: Option<Arc<dyn Successor>> = None;
        loop {
            // Not held while it is taken over: that calls a plugin.
            let end = self.end.read().unwrap_or_else(PoisonError::into_inner);
            let successor = end.clone().ok_or(NOT_PASSED_NOBODY)?;
            drop(end);
            let same = |tried: &Arc<dyn Successor>| Arc::ptr_eq(tried, &successor);
            if tried.as_ref().is_some_and(same) {
                return Err(NOT_PASSED_NOBODY);
            }
            match successor.take(passing) {
                // It may have been replaced itself this moment.
                Err(NOT_PASSED_NOBODY) => tried = Some(successor),
                taken => return taken,
            }
        }
    }
}
