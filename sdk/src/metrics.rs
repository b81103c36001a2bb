//! Numbers that the host owns and shows.

use std::sync::atomic::{AtomicU64, Ordering};

use polyport_abi::HostQuery;
use polyport_abi::metrics::MetricsV1;

static UNREAD: AtomicU64 = AtomicU64::new(0);

/// Registers counters and gauges with the host.
#[derive(Debug, Clone, Copy)]
pub struct Metrics {
    table: Option<&'static MetricsV1>,
}

impl std::fmt::Debug for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Number({})", self.get())
    }
}

impl Metrics {
    pub(crate) fn new(host: HostQuery) -> Self {
        Self {
            table: crate::export::host_interface(host).ok(),
        }
    }

    /// A number that only grows.
    #[must_use]
    pub fn counter(&self, name: &str) -> Number {
        self.cell(name, 0)
    }

    /// A number that goes up and down. `connections` is kept by the SDK.
    #[must_use]
    pub fn gauge(&self, name: &str) -> Number {
        self.cell(name, 1)
    }

    fn cell(&self, name: &str, kind: u32) -> Number {
        match self.table {
            Some(table) => Number(&(table.cell)(table.ctx, name.into(), kind).value),
            None => Number(&UNREAD),
        }
    }
}

/// One number; copying shares it.
#[derive(Clone, Copy)]
pub struct Number(&'static AtomicU64);

impl Number {
    /// Adds.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Takes away, for gauges.
    pub fn sub(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Sets, for gauges.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
