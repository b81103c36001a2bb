//! The way in: the host's word on each client.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::limits::{AdmissionHandle, LimitsV1};
use polyport_abi::{HostQuery, RResult};

use super::current::Listeners;
use super::{Current, Known, Refusal};

/// Asks the host about clients. A host without limits lets everybody in, held to the plugin's defaults.
pub(crate) struct Gate {
    table: Option<&'static LimitsV1>,
    listeners: Arc<Listeners>,
}

impl Gate {
    pub(crate) fn new(host: HostQuery, known: &Known, listeners: usize) -> Self {
        let table = crate::export::host_interface::<LimitsV1>(host).ok();
        Self {
            table,
            listeners: Listeners::new(table, known.defaults(), listeners),
        }
    }

    /// The limits of a listener.
    pub(crate) fn limits(&self, listener: u32) -> Current {
        self.listeners.listener(listener)
    }

    /// There are listeners up to this one now.
    pub(crate) fn grow(&self, last: u32) {
        self.listeners.grow(last);
    }

    /// Whether this client begins with a PROXY header that is to be believed.
    pub(crate) fn trusts(&self, listener: u32, peer: Option<IpAddr>) -> bool {
        self.table
            .is_some_and(|table| (table.trusts)(table.ctx, listener, text(peer).as_str().into()))
    }

    /// Counts a client in, until the admission is dropped.
    pub(crate) fn admit(&self, listener: u32, peer: Option<IpAddr>) -> Result<Admission, Refusal> {
        let Some(table) = self.table else {
            return Ok(Admission(Mutex::default()));
        };
        match (table.admit)(table.ctx, listener, text(peer).as_str().into()) {
            RResult::ROk(handle) => Ok(Admission(Mutex::new(Some((table, handle))))),
            RResult::RErr(number) => Err(Refusal::from_number(number)),
        }
    }

    /// A client that was counted in for another instance. False: a host that counts nobody cannot have said so.
    pub(crate) fn claims(&self) -> bool {
        self.table.is_some()
    }

    /// Its admission, which becomes this instance's.
    pub(crate) fn claim(&self, handle: Option<AdmissionHandle>) -> Admission {
        Admission(Mutex::new(self.table.zip(handle)))
    }
}

/// A client that the host counts until this is dropped, or was passed on. The default counts nobody.
#[derive(Default)]
pub(crate) struct Admission(Mutex<Option<(&'static LimitsV1, AdmissionHandle)>>);

impl Admission {
    /// Lends the host's handle to `pass`; it is not ours any more if that is true.
    pub(crate) fn passing(&self, pass: impl FnOnce(Option<AdmissionHandle>) -> bool) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = pass(held.map(|(_, handle)| handle));
        if passed {
            *held = None;
        }
        passed
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let held = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((table, handle)) = held.take() {
            (table.release)(handle);
        }
    }
}

fn text(peer: Option<IpAddr>) -> String {
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}
