//! The host's numbers for each listener, read again when the host says that they changed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use polyport_abi::limits::{LimitValues, LimitsV1, ListenerLimits};

use super::{Known, Limits};

/// The limits of a listener as they are at the moment; cloning shares them.
#[derive(Debug, Clone)]
pub struct Current {
    listeners: Arc<Listeners>,
    cell: Arc<Cell>,
}

/// Those of all listeners of an instance.
pub(super) struct Listeners {
    table: Option<&'static LimitsV1>,
    defaults: LimitValues,
    /// The host's revision that the cells hold.
    seen: AtomicU64,
    cells: RwLock<Vec<Arc<Cell>>>,
    /// For a listener that the host never named.
    nowhere: Arc<Cell>,
}

#[derive(Debug)]
struct Cell {
    limits: RwLock<Limits>,
    paced: AtomicBool,
    proxied: AtomicBool,
}

impl std::fmt::Debug for Listeners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&*self.cells()).finish()
    }
}

impl Listeners {
    pub(super) fn new(
        table: Option<&'static LimitsV1>,
        defaults: LimitValues,
        count: usize,
    ) -> Arc<Self> {
        let cell = || Arc::new(Cell::new(defaults.into()));
        let listeners = Self {
            table,
            defaults,
            seen: AtomicU64::new(0),
            cells: RwLock::new(std::iter::repeat_with(cell).take(count).collect()),
            nowhere: cell(),
        };
        listeners.read();
        Arc::new(listeners)
    }

    /// There are listeners up to this one now.
    pub(super) fn grow(&self, last: u32) {
        let count = usize::try_from(last).map_or(usize::MAX, |last| last + 1);
        let mut cells = self.cells.write().unwrap_or_else(PoisonError::into_inner);
        if cells.len() < count {
            cells.resize_with(count, || Arc::new(Cell::new(self.defaults.into())));
        }
        drop(cells);
        self.read();
    }

    fn cells(&self) -> RwLockReadGuard<'_, Vec<Arc<Cell>>> {
        self.cells.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn listener(self: &Arc<Self>, index: u32) -> Current {
        let known = usize::try_from(index)
            .ok()
            .and_then(|index| self.cells().get(index).cloned());
        Current {
            listeners: Arc::clone(self),
            cell: known.unwrap_or_else(|| Arc::clone(&self.nowhere)),
        }
    }

    /// Reads the host's numbers if it has others.
    #[inline]
    fn refresh(&self) {
        if let Some(table) = self.table
            && table.revision.value.load(Ordering::Acquire) != self.seen.load(Ordering::Relaxed)
        {
            self.read();
        }
    }

    #[cold]
    fn read(&self) {
        let Some(table) = self.table else { return };
        // Before the numbers: others that come meanwhile are read the next time.
        let revision = table.revision.value.load(Ordering::Acquire);
        let answer = (table.current)(table.ctx);
        let told: Vec<ListenerLimits> =
            serde_json::from_slice(answer.as_slice()).unwrap_or_default();
        for (index, cell) in self.cells().iter().enumerate() {
            match told.get(index) {
                Some(told) => cell.set(told.values.into(), told.proxy_protocol),
                None => cell.set(self.defaults.into(), false),
            }
        }
        self.seen.store(revision, Ordering::Relaxed);
    }
}

impl Cell {
    fn new(limits: Limits) -> Self {
        let cell = Self {
            limits: RwLock::new(limits),
            paced: AtomicBool::new(false),
            proxied: AtomicBool::new(false),
        };
        cell.set(limits, false);
        cell
    }

    fn set(&self, limits: Limits, proxied: bool) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
        let paced = limits.rate_up > 0 || limits.rate_down > 0;
        self.paced.store(paced, Ordering::Relaxed);
        self.proxied.store(proxied, Ordering::Relaxed);
    }
}

impl Current {
    /// A plugin's defaults, which stay as they are; for connections that no listener accepted.
    #[must_use]
    pub fn defaults(known: &Known) -> Self {
        Listeners::new(None, known.defaults(), 0).listener(0)
    }

    /// Nothing but rates.
    #[cfg(test)]
    pub(crate) fn paced(rate_up: u64, rate_down: u64) -> Self {
        let values = LimitValues {
            rate_up,
            rate_down,
            ..LimitValues::default()
        };
        Listeners::new(None, values, 0).listener(0)
    }

    /// What they are now.
    #[must_use]
    pub fn get(&self) -> Limits {
        let limits = &self.cell().limits;
        *limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one of the rates is set.
    #[inline]
    pub(crate) fn is_paced(&self) -> bool {
        self.cell().paced.load(Ordering::Relaxed)
    }

    /// Whether a client may begin with a PROXY header.
    pub(crate) fn is_proxied(&self) -> bool {
        self.cell().proxied.load(Ordering::Relaxed)
    }

    #[inline]
    fn cell(&self) -> &Cell {
        self.listeners.refresh();
        &self.cell
    }
}
