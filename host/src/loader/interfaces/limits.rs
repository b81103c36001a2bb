//! The host's side of `limits/1`.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use polyport_abi::limits::{
    AdmissionHandle, ListenerLimits, REFUSED_ADDRESS, REFUSED_CONNECTIONS, REFUSED_RATE,
};
use polyport_abi::log::LevelCell;
use polyport_abi::{RResult, RStr, RVec};

use super::{guard, side};
use crate::accounts::admits;
use crate::limits::{Admission, Counts, Refused, Rules};

/// What an instance's listeners are held to.
pub(super) struct Limits {
    counts: Arc<Counts>,
    rules: RwLock<Vec<Rules>>,
    revision: LevelCell,
}

impl Limits {
    /// Of a service with these counts.
    pub(super) fn new(counts: Arc<Counts>) -> Self {
        Self {
            counts,
            rules: RwLock::default(),
            revision: LevelCell {
                value: AtomicU64::new(0),
            },
        }
    }

    /// Puts these in place of those before.
    pub(super) fn set(&self, rules: Vec<Rules>) {
        let mut now = self.rules.write().unwrap_or_else(PoisonError::into_inner);
        if *now != rules {
            *now = rules;
            self.revision.value.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn revision(&self) -> &LevelCell {
        &self.revision
    }

    /// Which of its listeners this one is, by what [`Rules::listener`] says: the last, where others of the name went.
    pub(super) fn place(&self, listener: &str) -> Option<u32> {
        let place =
            self.rules(|rules| rules.iter().rposition(|rules| *rules.listener == *listener))?;
        u32::try_from(place).ok()
    }

    /// What [`Rules::listener`] says of one.
    pub(super) fn name(&self, place: u32) -> Option<String> {
        self.listener(place, |rules| rules.listener.to_string())
    }

    fn rules<T>(&self, read: impl FnOnce(&[Rules]) -> T) -> T {
        read(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The rules of one listener; none for a number that no listener has.
    fn listener<T>(&self, number: u32, read: impl FnOnce(&Rules) -> T) -> Option<T> {
        let index = usize::try_from(number).ok()?;
        self.rules(|rules| rules.get(index).map(read))
    }
}

pub(super) extern "C" fn current(ctx: *const ()) -> RVec<u8> {
    guard(RVec::new(), || {
        let told: Vec<ListenerLimits> = side(ctx).limits.rules(|rules| {
            let told = |rules: &Rules| ListenerLimits {
                values: rules.values,
                proxy_protocol: !rules.proxies.is_empty(),
            };
            rules.iter().map(told).collect()
        });
        serde_json::to_vec(&told).unwrap_or_default().into()
    })
}

pub(super) extern "C" fn trusts(ctx: *const (), listener: u32, peer: RStr<'_>) -> bool {
    guard(false, || {
        let peer = address(&peer);
        side(ctx)
            .limits
            .listener(listener, |rules| admits(&rules.proxies, peer))
            .unwrap_or(false)
    })
}

pub(super) extern "C" fn admit(
    ctx: *const (),
    listener: u32,
    peer: RStr<'_>,
) -> RResult<AdmissionHandle, u32> {
    guard(RResult::RErr(REFUSED_CONNECTIONS), || {
        let limits = &side(ctx).limits;
        let admitted = limits.listener(listener, |rules| {
            limits.counts.admit(rules, address(&peer), Instant::now())
        });
        match admitted {
            Some(Ok(admission)) => RResult::ROk(AdmissionHandle {
                admission: Box::into_raw(Box::new(admission)).cast_const().cast(),
            }),
            Some(Err(Refused::Address)) => RResult::RErr(REFUSED_ADDRESS),
            Some(Err(Refused::Rate)) => RResult::RErr(REFUSED_RATE),
            Some(Err(Refused::Connections)) | None => RResult::RErr(REFUSED_CONNECTIONS),
        }
    })
}

pub(super) extern "C" fn release(admission: AdmissionHandle) {
    guard((), || {
        let admission = admission.admission.cast_mut().cast::<Admission>();
        // SAFETY: made by `admit`, and the plugin gives each back once.
        drop(unsafe { Box::from_raw(admission) });
    });
}

fn address(peer: &RStr<'_>) -> Option<IpAddr> {
    peer.as_str().parse().ok()
}
