//! The broker as bridges use it: they are its clients from within the program.

use std::sync::Arc;

use polyport_mqtt_core::{Absent, ConnectionId, Limits};
use polyport_sdk::net::Peer;

use super::{Client, Engine, Standing};
use crate::outbound::Outbound;

/// The listener of connections that came by none.
const NO_LISTENER: u32 = u32::MAX;

/// What a session here has, connected or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LocalSession {
    /// Its subscriptions.
    pub(crate) filters: Vec<String>,
}

impl Engine {
    /// What this broker is called on messages that pass bridges.
    pub(crate) fn set_name(&self, name: &str) {
        self.lock().broker.set_name(name);
    }

    /// Who knows the rights of accounts whose clients are not here.
    pub(crate) fn set_absent(&self, absent: Arc<dyn Absent>) {
        self.lock().broker.set_absent(absent);
    }

    /// Adds a connection from within the program; none unless it serves.
    pub(crate) fn open_local(&self, outbound: &Arc<Outbound>) -> Option<ConnectionId> {
        let inner = self.lock();
        let client = Client {
            peer: Peer::Unix.into(),
            listener: NO_LISTENER,
            crosses: false,
            core: polyport_sdk::cores::current(),
        };
        // Who opens it looks after its size and its time.
        let limits = Limits {
            max_packet: usize::MAX,
            ..Limits::default()
        };
        (self.standing() == Standing::Serving).then(|| {
            self.run(inner, |inner, now| {
                let meter = Arc::clone(&outbound.meter);
                let id = inner.broker.open_local(meter, limits, now);
                inner.keep(id, outbound, client);
                id
            })
        })
    }

    /// The peer of a local connection begins anew. None while frozen.
    pub(crate) fn forget_received(&self, id: ConnectionId) -> Option<()> {
        self.batch(|inner, now| inner.broker.forget_received(id, now))
    }

    /// The session of a local client; none if there is none.
    pub(crate) fn local_session(&self, client_id: &str) -> Option<LocalSession> {
        let filters = self.lock().broker.subscribed_by(client_id)?;
        Some(LocalSession { filters })
    }

    /// Messages that wait for a client or are under way to it.
    pub(crate) fn waiting_for(&self, client_id: &str) -> usize {
        self.lock().broker.waiting_for(client_id)
    }

    /// Clients from within the program that have a session.
    pub(crate) fn local_clients(&self) -> Vec<String> {
        self.lock().broker.local_clients()
    }

    /// Ends the session of a client that is not connected. None while frozen.
    pub(crate) fn forget_client(&self, client_id: &str) -> Option<()> {
        self.batch(|inner, now| inner.broker.forget_client(client_id, now))
    }

    /// Publishes and retains a message of the broker's own, if it serves.
    pub(crate) fn publish_own(&self, topic: &str, payload: &[u8]) {
        if self.standing() == Standing::Serving {
            self.batch(|inner, now| inner.broker.publish_own(topic, payload, true, now));
        }
    }
}
