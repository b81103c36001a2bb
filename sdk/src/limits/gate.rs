//! The way in: the host's word on each client.

use std::net::IpAddr;
use std::sync::Arc;

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

    /// Whether this client begins with a PROXY header that is to be believed.
    pub(crate) fn trusts(&self, listener: u32, peer: Option<IpAddr>) -> bool {
        self.table
            .is_some_and(|table| (table.trusts)(table.ctx, listener, text(peer).as_str().into()))
    }

    /// Counts a client in, until the admission is dropped.
    pub(crate) fn admit(&self, listener: u32, peer: Option<IpAddr>) -> Result<Admission, Refusal> {
        let Some(table) = self.table else {
            return Ok(Admission(None));
        };
        match (table.admit)(table.ctx, listener, text(peer).as_str().into()) {
            RResult::ROk(handle) => Ok(Admission(Some((table, handle)))),
            RResult::RErr(number) => Err(Refusal::from_number(number)),
        }
    }
}

/// A client that the host counts until this is dropped.
pub(crate) struct Admission(Option<(&'static LimitsV1, AdmissionHandle)>);

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some((table, handle)) = self.0.take() {
            (table.release)(handle);
        }
    }
}

fn text(peer: Option<IpAddr>) -> String {
    peer.map(|peer| peer.to_string()).unwrap_or_default()
}
