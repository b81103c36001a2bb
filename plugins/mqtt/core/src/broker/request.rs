//! SUBSCRIBE and UNSUBSCRIBE packets, worked off some filters at a time so that nobody waits for very many: what is left
//! of one stays with its connection, and nothing behind it is taken until it is answered.

use super::retained_delivery::PendingRetained;
use super::session::SessionId;
use super::{Broker, ConnectionId, Phase};
use crate::codec::{Version, suback, subscribe, unsuback, unsubscribe};

/// So many filters of one connection in one turn.
const TURN: usize = 64;

/// A packet of topic filters, each of them known to be good.
#[derive(Debug)]
pub(super) struct Request {
    pub kind: Kind,
    pub packet_identifier: u16,
    /// Reason codes of those that are done.
    pub codes: Vec<u8>,
    /// What is to be sent once it is answered.
    pub retained: Vec<PendingRetained>,
    filters: Vec<u8>,
    /// Where the next one begins.
    at: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Subscribe {
        /// Zero for none.
        identifier: u32,
    },
    Unsubscribe,
}

impl Request {
    pub(super) fn new(kind: Kind, packet_identifier: u16) -> Request {
        Request {
            kind,
            packet_identifier,
            codes: Vec::new(),
            retained: Vec::new(),
            filters: Vec::new(),
            at: 0,
        }
    }

    /// The filters to come, as they were in the packet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.filters[self.at..]
    }

    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.filters = rest.to_vec();
        self.at = 0;
    }
}

impl Broker {
    /// From here on filters count.
    pub(super) fn begin_turn(&mut self, id: ConnectionId) {
        let local = self.connections.get(id).is_some_and(|it| it.local);
        self.filters_left = if local { usize::MAX } else { TURN };
    }

    /// Works off a packet as far as this turn goes.
    pub(super) fn begin_request(&mut self, id: ConnectionId, mut request: Request, filters: &[u8]) {
        let Some((session, version)) = self.subscriber(id) else {
            return;
        };
        let rest = self.take_turn(id, (session, version), &mut request, filters);
        if rest.is_empty() {
            return self.answer_request(id, version, request);
        }
        request.keep(rest);
        if let Some(connection) = self.connections.get_mut(id) {
            connection.request = Some(Box::new(request));
        }
    }

    /// Goes on with what a turn before left.
    pub(super) fn continue_request(&mut self, id: ConnectionId) {
        let connection = self.connections.get_mut(id);
        let request = connection.and_then(|connection| connection.request.take());
        let (Some(mut request), Some((session, version))) = (request, self.subscriber(id)) else {
            return;
        };
        let filters = std::mem::take(&mut request.filters);
        let to_come = &filters[request.at..];
        let rest = self.take_turn(id, (session, version), &mut request, to_come);
        if rest.is_empty() {
            return self.answer_request(id, version, *request);
        }
        request.at = filters.len() - rest.len();
        request.filters = filters;
        if let Some(connection) = self.connections.get_mut(id) {
            connection.request = Some(request);
        }
    }

    fn subscriber(&self, id: ConnectionId) -> Option<(SessionId, Version)> {
        let connection = self.connections.get(id)?;
        match connection.phase {
            Phase::Connected(session) => Some((session, connection.version)),
            _ => None,
        }
    }

    /// The filters that are left over.
    fn take_turn<'a>(
        &mut self,
        id: ConnectionId,
        (session, version): (SessionId, Version),
        request: &mut Request,
        filters: &'a [u8],
    ) -> &'a [u8] {
        let before = self.filters_left;
        let rest = match request.kind {
            Kind::Subscribe { identifier } => {
                let mut filters = subscribe::Filters::new(version, filters);
                for filter in filters.by_ref().take(before) {
                    let (code, found) = self.subscribe_to(id, session, filter, identifier);
                    request.codes.push(code);
                    request.retained.extend(found);
                    self.filters_left -= 1;
                }
                filters.rest()
            }
            Kind::Unsubscribe => {
                let mut filters = unsubscribe::Filters::new(filters);
                for text in filters.by_ref().take(before) {
                    let reason = self.unsubscribe_from(id, session, text);
                    request.codes.push(reason as u8);
                    self.filters_left -= 1;
                }
                filters.rest()
            }
        };
        // Whoever adds to the tree takes out as much of what is to leave it: it cannot grow by what has ended.
        self.leave_some(before - self.filters_left);
        if self.filters_left > 0 { &[] } else { rest }
    }

    fn answer_request(&mut self, id: ConnectionId, version: Version, request: Request) {
        let (identifier, codes) = (request.packet_identifier, request.codes);
        self.write(id, |out| match request.kind {
            Kind::Subscribe { .. } => suback::encode(out, version, identifier, &codes),
            Kind::Unsubscribe => unsuback::encode(out, version, identifier, &codes),
        });
        self.queue_retained(id, request.retained);
    }
}
