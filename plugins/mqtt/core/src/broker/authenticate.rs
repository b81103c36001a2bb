//! Enhanced authentication (4.12): AUTH packets between CONNECT and CONNACK, and again on a connection that is there.
//!
//! What the data of a method means is the host's to know. What it needs for its next answer is kept here meanwhile, so
//! that an exchange goes over to another broker like everything else.

use std::sync::Arc;

use super::connection::Phase;
use super::{Broker, ConnectionId, LoginRequest};
use crate::authorizer::{Authorizer, LoginRefusal};
use crate::codec::auth::{self, Auth, AuthReason};
use crate::codec::{Error, ReasonCode};
use crate::time::Time;

/// One step of an exchange, to be answered by [`Broker::auth_answer`].
#[derive(Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The method that CONNECT named.
    pub method: String,
    /// What the client sent.
    pub data: Option<Vec<u8>>,
    /// What the answer before wanted back; none where an exchange begins.
    pub state: Option<Vec<u8>>,
    /// The client is logged in and proves who it is once more (4.12.1): it is read from meanwhile.
    pub again: bool,
}

/// The answer to a step.
pub enum AuthAnswer {
    /// The client is to go on.
    Continue {
        /// What it is sent.
        data: Option<Vec<u8>>,
        /// What is wanted back with its answer.
        state: Vec<u8>,
    },
    /// The client proved who it is.
    Success {
        /// Its rights; none for a client that had them before.
        authorizer: Option<Arc<dyn Authorizer>>,
        /// What it is sent.
        data: Option<Vec<u8>>,
    },
    /// It did not.
    Refused(LoginRefusal),
}

/// The method that a connection was begun with, and how far an exchange is.
pub(super) struct Exchange {
    pub method: Box<str>,
    pub turn: Turn,
    /// When an exchange on a connection that was there began.
    pub since: Time,
}

/// Who is to speak.
pub(super) enum Turn {
    /// Neither: no exchange is under way.
    Nobody,
    /// The host.
    Host,
    /// The client; with it goes what the host wants back.
    Client(Vec<u8>),
}

impl Exchange {
    /// Of a CONNECT with this method.
    pub(super) fn begin(method: &str, now: Time) -> Box<Exchange> {
        Box::new(Exchange {
            method: method.into(),
            turn: Turn::Host,
            since: now,
        })
    }

    pub(super) fn awaits_client(&self) -> bool {
        matches!(self.turn, Turn::Client(_))
    }

    pub(super) fn is_under_way(&self) -> bool {
        !matches!(self.turn, Turn::Nobody)
    }
}

impl Broker {
    pub(super) fn handle_auth(&mut self, id: ConnectionId, body: &[u8]) -> Result<(), Error> {
        let auth = Auth::decode(body)?;
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let (client_id, again) = match &connection.phase {
            Phase::Authenticating(pending) => (pending.client_id.clone(), false),
            Phase::Connected(key) => {
                let session = self.sessions.get(*key);
                let client_id = session.map(|session| session.client_id.to_string());
                (client_id.unwrap_or_default(), true)
            }
            Phase::AwaitingConnect | Phase::Closing => return Ok(()),
        };
        let Some(exchange) = connection.exchange.as_deref_mut() else {
            return Err(Error::Protocol("AUTH without enhanced authentication"));
        };
        // MQTT-4.12.0-5, MQTT-4.12.1-1, 3.15.2.2.2.
        if auth.method != Some(&*exchange.method) {
            return Err(Error::Protocol(
                "authentication method other than CONNECT's",
            ));
        }
        let state = match (
            auth.reason,
            std::mem::replace(&mut exchange.turn, Turn::Host),
        ) {
            (AuthReason::ContinueAuthentication, Turn::Client(state)) => Some(state),
            (AuthReason::ReAuthenticate, Turn::Nobody) if again => {
                exchange.since = now;
                let limit = connection.limits.login_timeout;
                self.timers.authentication(now + limit, id);
                None
            }
            _ => return Err(Error::Protocol("AUTH out of place")),
        };
        connection.login = Some(Box::new(LoginRequest {
            client_id,
            username: None,
            password: None,
            authentication: Some(Authentication {
                method: exchange.method.to_string(),
                data: auth.data.map(<[u8]>::to_vec),
                state,
                again,
            }),
        }));
        Ok(())
    }

    /// Answers a [`LoginRequest`] that is a step of an enhanced authentication.
    pub fn auth_answer(&mut self, id: ConnectionId, answer: AuthAnswer, now: Time) {
        self.now = now;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let again = connection.is_connected();
        let exchange = connection.exchange.as_deref_mut();
        let Some(exchange) = exchange.filter(|exchange| matches!(exchange.turn, Turn::Host)) else {
            return;
        };
        match answer {
            AuthAnswer::Continue { data, state } => {
                exchange.turn = Turn::Client(state);
                self.send_auth(id, AuthReason::ContinueAuthentication, data.as_deref());
            }
            AuthAnswer::Success { data, .. } if again => {
                exchange.turn = Turn::Nobody;
                self.send_auth(id, AuthReason::Success, data.as_deref());
            }
            AuthAnswer::Success {
                authorizer: Some(authorizer),
                data,
            } => self.accept_login(id, authorizer, data.as_deref()),
            AuthAnswer::Success { .. } => self.refuse_pending(id, ReasonCode::NotAuthorized, None),
            AuthAnswer::Refused(refusal) if again => {
                // DISCONNECT has no code for bad credentials (table 3-10).
                let reason = match refusal {
                    LoginRefusal::Busy => ReasonCode::ServerBusy,
                    _ => ReasonCode::NotAuthorized,
                };
                self.close(id, reason, "authentication failed");
            }
            AuthAnswer::Refused(refusal) => {
                self.refuse_pending(id, refusal.reason(), refusal.explanation());
            }
        }
    }

    fn send_auth(&mut self, id: ConnectionId, reason: AuthReason, data: Option<&[u8]>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(exchange) = &connection.exchange else {
            return;
        };
        let maximum = match &connection.phase {
            Phase::Authenticating(pending) => pending
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize),
            _ => connection.maximum_packet_size,
        };
        let mut packet = Vec::new();
        auth::encode(&mut packet, reason, &exchange.method, data);
        if packet.len() > maximum {
            // MQTT-3.1.2-24: it may not be sent, and without it nothing goes on.
            self.close(
                id,
                ReasonCode::PacketTooLarge,
                "AUTH too large for its receiver",
            );
            return;
        }
        self.write(id, |out| out.extend_from_slice(&packet));
    }

    /// The time for an exchange on a connection that was there may be over.
    pub(super) fn authentication_due(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let exchange = connection.exchange.as_deref();
        let Some(exchange) = exchange.filter(|exchange| exchange.is_under_way()) else {
            return;
        };
        if !connection.is_connected() {
            return;
        }
        let deadline = exchange.since + connection.limits.login_timeout;
        if deadline > self.now {
            self.timers.authentication(deadline, id);
        } else {
            self.close(
                id,
                ReasonCode::NotAuthorized,
                "authentication took too long",
            );
        }
    }
}
