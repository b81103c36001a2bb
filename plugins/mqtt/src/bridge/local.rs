//! A bridge's connection to its own broker: a client without a socket.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use polyport_mqtt_core::codec::subscribe::{RetainHandling, SubscriptionOptions};
use polyport_mqtt_core::codec::{QoS, Version};
use polyport_mqtt_core::{Authorizer, ConnectionId};

use crate::client::packets::{self, Connect, Terms};
use crate::engine::Engine;
use crate::outbound::{Outbound, Writing};

/// Packet identifier of what a bridge asks for itself. It asks when nothing else is under way on its connection.
pub(super) const OWN_IDENTIFIER: u16 = u16::MAX;

/// The engine takes nothing now.
#[derive(Debug)]
pub(super) struct Halted;

/// One connection.
pub(super) struct Local {
    engine: Arc<Engine>,
    id: ConnectionId,
    outbound: Arc<Outbound>,
    pieces: Writing,
    /// Bytes of the broker that were not looked at yet.
    pub(super) unread: Vec<u8>,
    closed: bool,
}

/// What a session here is to be.
pub(super) struct Wanted<'a> {
    pub(super) client_id: &'a str,
    /// Messages that may be unacknowledged there.
    pub(super) window: u16,
    pub(super) filters: Vec<(&'a str, QoS)>,
    pub(super) retained: RetainHandling,
}

impl Local {
    /// Connects and subscribes; the answers come by [`Local::poll_take`].
    pub(super) fn open(
        engine: &Arc<Engine>,
        rights: Arc<dyn Authorizer>,
        wanted: &Wanted<'_>,
    ) -> Result<Local, Halted> {
        let before = engine.local_session(wanted.client_id).unwrap_or_default();
        let outbound = Arc::new(Outbound::default());
        let id = engine.open_local(&outbound).ok_or(Halted)?;
        let mut local = Local {
            engine: Arc::clone(engine),
            id,
            outbound,
            pieces: None,
            unread: Vec::new(),
            closed: false,
        };
        let connect = Connect {
            version: Version::V5,
            client_id: wanted.client_id.into(),
            clean: false,
            keep_alive: 0,
            login: None,
            terms: Terms {
                receive_maximum: Some(wanted.window),
                ..Terms::default()
            },
        };
        let mut packets = Vec::new();
        connect.encode(&mut packets);
        local.send(&mut packets)?;
        engine.login_answer(id, Ok(rights)).ok_or(Halted)?;
        let gone = before.filters.iter().map(String::as_str);
        let mut gone = gone
            .filter(|filter| wanted.filters.iter().all(|(wanted, _)| wanted != filter))
            .peekable();
        if gone.peek().is_some() {
            packets::unsubscribe(&mut packets, Version::V5, OWN_IDENTIFIER, gone);
        }
        subscribe(&mut packets, Version::V5, &wanted.filters, wanted.retained);
        local.send(&mut packets)?;
        Ok(local)
    }

    /// Its number in the engine.
    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Hands whole packets to the broker, and empties them.
    pub(super) fn send(&mut self, packets: &mut Vec<u8>) -> Result<(), Halted> {
        if !packets.is_empty() {
            let received = self.engine.receive(self.id, packets, None).ok_or(Halted)?;
            packets.drain(..received.consumed);
        }
        Ok(())
    }

    /// Takes what the broker says and its store has committed. Ready with false at the end.
    pub(super) fn poll_take(&mut self, cx: &mut TaskContext<'_>) -> Poll<bool> {
        self.outbound.register(cx.waker());
        loop {
            let taken = self
                .outbound
                .take(self.engine.committed(), &mut self.pieces);
            self.closed |= taken.close;
            if let Some(mut pieces) = self.pieces.take() {
                let before = self.unread.len();
                for piece in pieces.queue.drain(..) {
                    self.unread.extend_from_slice(piece.as_ref());
                    self.outbound.recycle(piece);
                }
                if self.outbound.meter.sent(self.unread.len() - before) {
                    self.engine.drained(self.id);
                }
                return Poll::Ready(true);
            }
            match taken.held {
                Some(gate) if self.engine.wake_on_commit(gate, &self.outbound) => {
                    return Poll::Pending;
                }
                Some(_) => {}
                None if self.closed => return Poll::Ready(false),
                None => return Poll::Pending,
            }
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.engine.lost(self.id);
    }
}

/// Appends a SUBSCRIBE that keeps a bridge's own messages from it, and the retain flags.
pub(super) fn subscribe(
    packets: &mut Vec<u8>,
    version: Version,
    filters: &[(&str, QoS)],
    retain_handling: RetainHandling,
) {
    if filters.is_empty() {
        return;
    }
    let each = filters.iter().map(|(filter, qos)| {
        let options = SubscriptionOptions {
            qos: *qos,
            no_local: true,
            retain_as_published: true,
            retain_handling,
        };
        (*filter, options)
    });
    packets::subscribe_each(packets, version, OWN_IDENTIFIER, each);
}
