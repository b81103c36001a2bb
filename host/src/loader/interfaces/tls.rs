//! The host's side of `tls/1`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::RVec;
use polyport_abi::log::LevelCell;

use super::{guard, side};

/// What an instance holds its handshakes with.
pub(super) struct Held {
    material: Mutex<Arc<[u8]>>,
    revision: LevelCell,
}

impl Default for Held {
    fn default() -> Self {
        Self {
            material: Mutex::new(Arc::from([])),
            revision: LevelCell {
                value: AtomicU64::new(0),
            },
        }
    }
}

impl Held {
    /// Puts this in place of what was there; empty: no TLS.
    pub(super) fn set(&self, material: Arc<[u8]>) {
        let mut held = self.material.lock().unwrap_or_else(PoisonError::into_inner);
        if *held != material {
            *held = material;
            self.revision.value.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn revision(&self) -> &LevelCell {
        &self.revision
    }
}

pub(super) extern "C" fn material(ctx: *const ()) -> RVec<u8> {
    guard(RVec::new(), || {
        let held = side(ctx).tls.material.lock();
        let held = held.unwrap_or_else(PoisonError::into_inner);
        held.to_vec().into()
    })
}
