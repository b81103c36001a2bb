//! An instance of this process that takes connections over.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use polyport_abi::handover::{
    Described, HandoverV1, NOT_PASSED_FAILED, NOT_PASSED_NOBODY, NOT_PASSED_VERSION, PASSED, Parcel,
};
use polyport_abi::plugin::InstanceHandle;

use super::{Passing, Successor, Taken};
use crate::loader::Library;
use crate::loader::interfaces::{HostSide, State};

/// Where an instance takes connections over, until it is closed.
pub struct Reception {
    library: Arc<Library>,
    functions: &'static HandoverV1,
    side: &'static HostSide,
    /// None once it is closed; held while a connection is taken over, so that whoever closes waits for that.
    instance: RwLock<Option<InstanceHandle>>,
    taken: AtomicU64,
}

impl std::fmt::Debug for Reception {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Reception({:?})", self.side)
    }
}

impl Reception {
    /// Of an instance, if its plugin can take connections over.
    pub fn new(
        library: &Arc<Library>,
        side: &'static HostSide,
        instance: InstanceHandle,
    ) -> Option<Arc<Self>> {
        Some(Arc::new(Self {
            functions: library.handover()?,
            library: Arc::clone(library),
            side,
            instance: RwLock::new(Some(instance)),
            taken: AtomicU64::new(0),
        }))
    }

    /// Takes no more. No call is under way when this returns.
    pub fn close(&self) {
        *self
            .instance
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How many connections it took over.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

impl Successor for Reception {
    fn take(&self, passing: &Passing<'_>) -> Result<Taken, u32> {
        let instance = self.instance.read().unwrap_or_else(PoisonError::into_inner);
        let Some(instance) = *instance else {
            return Err(NOT_PASSED_NOBODY);
        };
        let passed = passing.parcel();
        let version = Described {
            version: passed.version,
            ..Described::default()
        };
        let described = self.library.described_handover();
        if passing.plugin() != self.library.manifest.name || !described.takes(&version) {
            return Err(NOT_PASSED_VERSION);
        }
        if !matches!(
            *self.side.state().borrow(),
            State::Ready | State::Degraded(_)
        ) {
            return Err(NOT_PASSED_FAILED);
        }
        let listener = passing.listener().and_then(|name| self.side.listener(name));
        let parcel = Parcel {
            listener: listener.unwrap_or(u32::MAX),
            ..*passed
        };
        // Taken back unless it is given.
        let share = passing.share();
        match (self.functions.adopt)(instance, parcel) {
            PASSED => {
                if let Some(share) = share {
                    share.give();
                }
                self.taken.fetch_add(1, Ordering::Relaxed);
                Ok(Taken::Here)
            }
            number => Err(number),
        }
    }
}
