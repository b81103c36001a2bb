//! CONNECT and its answer: checks, login, session takeover and resumption (3.1.4).

use std::sync::Arc;

use bytes::Bytes;

use super::authenticate::{Authentication, Exchange, Turn};
use super::connection::{Connection, Phase};
use super::delayed;
use super::disconnect::WillFate;
use super::local::LOCAL_CLIENT;
use super::session::{PendingWill, Session, SessionId};
use super::{Broker, ConnectionId, Event, LoginRequest};
use crate::authorizer::{Authorizer, LoginRefusal};
use crate::bans::Kind;
use crate::codec::connect::{Connect, ConnectError};
use crate::codec::property::Property;
use crate::codec::{QoS, ReasonCode, Version, connack};
use crate::message::Message;
use crate::settings::Names;
use crate::store::Record;
use crate::via;

/// A CONNECT that waits for the answer to its login.
#[derive(Debug)]
pub(super) struct PendingConnect {
    pub client_id: String,
    pub assigned: bool,
    pub clean_start: bool,
    pub keep_alive: u16,
    pub requested_expiry: u32,
    pub receive_maximum: u16,
    pub maximum_packet_size: Option<u32>,
    pub topic_alias_maximum: u16,
    pub request_problem_information: bool,
    pub will: Option<(Message, u32, Option<u32>)>,
}

impl PendingConnect {
    /// Whether a reason string of a few words may be sent.
    fn may_explain(&self) -> bool {
        self.request_problem_information && self.maximum_packet_size.is_none_or(|size| size >= 128)
    }
}

impl Broker {
    pub(super) fn handle_connect(&mut self, id: ConnectionId, body: &[u8]) {
        self.counters.traffic.connects += 1;
        let connect = match Connect::decode(body) {
            Ok(connect) => connect,
            Err(ConnectError { version, error }) => {
                if let (Some(version), Some(connection)) = (version, self.connections.get_mut(id)) {
                    connection.version = version;
                    self.refuse(id, String::new(), error.reason(), None);
                } else {
                    self.fail(id, error);
                }
                return;
            }
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.version = connect.version;
            connection.bridge = connect.bridge;
        }
        let local = self
            .connections
            .get(id)
            .is_some_and(|connection| connection.local);
        if connect.client_id.starts_with(LOCAL_CLIENT) && !local {
            let reason = ReasonCode::ClientIdentifierNotValid;
            self.refuse(id, connect.client_id.to_owned(), reason, None);
            return;
        }
        if self.is_banned(Kind::Client, connect.client_id) && !local {
            self.refuse(id, connect.client_id.to_owned(), ReasonCode::Banned, None);
            return;
        }
        let elsewhere = self.redirects(&connect);
        let busy = self
            .is_too_busy_for(connect.client_id)
            .then_some(ReasonCode::ServerBusy);
        if let Some(reason) = elsewhere.or(busy).filter(|_| !local) {
            self.refuse(id, connect.client_id.to_owned(), reason, None);
            return;
        }
        if let Err(reason) = self.check_connect(&connect) {
            self.refuse(id, connect.client_id.to_owned(), reason, None);
            return;
        }
        let assigned = connect.client_id.is_empty();
        let client_id = if assigned {
            format!("auto-{:032x}", (self.entropy)())
        } else {
            connect.client_id.to_owned()
        };
        let will = connect.will.map(|will| {
            let message = Message {
                stored: 0,
                topic: will.topic.into(),
                payload: Bytes::copy_from_slice(will.payload),
                properties: will.properties.into(),
                expires: None,
                qos: will.qos,
                retain: will.retain,
            };
            (message, will.delay, will.message_expiry_interval)
        });
        let requested_expiry = match (connect.version.is_v5(), connect.clean_start) {
            (true, _) => connect.properties.session_expiry_interval,
            (false, true) => 0,
            (false, false) => self.settings.persistent_client_expiration,
        };
        let pending = PendingConnect {
            client_id: client_id.clone(),
            assigned,
            clean_start: connect.clean_start,
            keep_alive: connect.keep_alive,
            requested_expiry,
            receive_maximum: connect.properties.receive_maximum,
            maximum_packet_size: connect.properties.maximum_packet_size,
            topic_alias_maximum: connect.properties.topic_alias_maximum,
            request_problem_information: connect.properties.request_problem_information,
            will,
        };
        let request = LoginRequest {
            client_id,
            username: connect.username.map(str::to_owned),
            password: connect.password.map(<[u8]>::to_vec),
            authentication: connect.properties.authentication_method.map(|method| {
                let data = connect.properties.authentication_data;
                Authentication {
                    method: method.to_owned(),
                    data: data.map(<[u8]>::to_vec),
                    state: None,
                    again: false,
                }
            }),
        };
        let method = connect.properties.authentication_method;
        let exchange = method.map(|method| Exchange::begin(method, self.now));
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Authenticating(Box::new(pending));
            connection.exchange = exchange;
            connection.login = Some(Box::new(request));
        }
    }

    fn check_connect(&self, connect: &Connect<'_>) -> Result<(), ReasonCode> {
        if !self.accepting {
            return Err(ReasonCode::ServerUnavailable);
        }
        if connect.client_id.is_empty() {
            // 3.1 wants 1 to 23 characters; 3.1.1 allows none only with a clean session
            // (MQTT-3.1.3-8); 5.0 always.
            let allowed = match connect.version {
                Version::V31 => false,
                Version::V311 => connect.clean_start,
                Version::V5 => true,
            };
            if !allowed || !self.settings.allow_zero_length_clientid {
                return Err(ReasonCode::ClientIdentifierNotValid);
            }
        }
        if let Some(will) = &connect.will {
            if will.qos > self.settings.max_qos {
                return Err(ReasonCode::QosNotSupported);
            }
            if will.retain && !self.settings.retain_available {
                return Err(ReasonCode::RetainNotSupported);
            }
            // One that is delayed: a will has a delay of its own.
            let delayed = self.settings.rules.delayed_publish && delayed::is_meant(will.topic);
            if self.is_reserved(will.topic) || delayed {
                return Err(ReasonCode::TopicNameInvalid);
            }
        }
        Ok(())
    }

    pub(super) fn handle_login_answer(
        &mut self,
        id: ConnectionId,
        answer: Result<Arc<dyn Authorizer>, LoginRefusal>,
    ) {
        let authorizer = match answer {
            Ok(authorizer) => authorizer,
            Err(refusal) => {
                self.refuse_pending(id, refusal.reason(), refusal.explanation());
                return;
            }
        };
        self.accept_login(id, authorizer, None);
    }

    /// Goes on with a CONNECT; `data` is the last of its authentication.
    pub(super) fn accept_login(
        &mut self,
        id: ConnectionId,
        authorizer: Arc<dyn Authorizer>,
        data: Option<&[u8]>,
    ) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut connection.phase, Phase::AwaitingConnect) {
            Phase::Authenticating(mut pending) => {
                if let Err(reason) = self.admit(id, &mut pending, &*authorizer) {
                    self.refuse(id, pending.client_id, reason, None);
                    return;
                }
                let Some(connection) = self.connections.get_mut(id) else {
                    return;
                };
                connection.authorizer = authorizer;
                if let Some(exchange) = &mut connection.exchange {
                    exchange.turn = Turn::Nobody;
                }
                self.establish(id, *pending, data);
            }
            other => connection.phase = other,
        }
    }

    /// Sees whether an account is let in. Puts a will where its topic stands for another one, and sees whether it may be
    /// published there.
    fn admit(
        &self,
        id: ConnectionId,
        pending: &mut PendingConnect,
        authorizer: &dyn Authorizer,
    ) -> Result<(), ReasonCode> {
        let account = authorizer.account();
        if account.is_some_and(|account| self.is_banned(Kind::User, account)) {
            return Err(ReasonCode::Banned);
        }
        let Some((message, ..)) = &mut pending.will else {
            return Ok(());
        };
        let names = Names {
            user: authorizer.account(),
            client_id: &pending.client_id,
        };
        if let Some(topic) = self.rewritten_name(id, names, &message.topic)? {
            message.topic = topic.into();
            if self.is_reserved(&message.topic) {
                return Err(ReasonCode::TopicNameInvalid);
            }
        }
        match authorizer.may_publish(&message.topic) {
            true => Ok(()),
            false => Err(ReasonCode::NotAuthorized),
        }
    }

    /// Refuses a CONNECT whose login is not answered yet. A text is for clients that take it.
    pub(super) fn refuse_pending(
        &mut self,
        id: ConnectionId,
        reason: ReasonCode,
        text: Option<&'static str>,
    ) {
        // CONNACK has no code for these (table 3-1).
        let reason = match reason {
            ReasonCode::ServerShuttingDown | ReasonCode::KeepAliveTimeout => {
                ReasonCode::ServerUnavailable
            }
            other => other,
        };
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        match std::mem::replace(&mut connection.phase, Phase::AwaitingConnect) {
            Phase::Authenticating(pending) => {
                let text = text.filter(|_| pending.may_explain());
                self.refuse(id, pending.client_id, reason, text);
            }
            other => connection.phase = other,
        }
    }

    /// Answers CONNACK with an error and closes.
    fn refuse(
        &mut self,
        id: ConnectionId,
        client_id: String,
        reason: ReasonCode,
        text: Option<&'static str>,
    ) {
        let Some(version) = self
            .connections
            .get(id)
            .map(|connection| connection.version)
        else {
            return;
        };
        let property = text.map(Property::ReasonString);
        let property = property.or(self.server_reference(reason));
        let mut packet = Vec::new();
        connack::encode(&mut packet, version, false, reason, property.as_slice());
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        self.counters.traffic.packets_sent += 1;
        connection.output.small().extend_from_slice(&packet);
        connection.start_closing();
        connection.touch(id, &mut self.touched);
        self.events.push(Event::Refused {
            connection: id,
            client_id,
            reason,
        });
    }

    fn establish(&mut self, id: ConnectionId, pending: PendingConnect, data: Option<&[u8]>) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let exchange = connection.exchange.as_deref();
        let method = exchange.map(|exchange| exchange.method.clone());
        let (version, local, bridge) = (connection.version, connection.local, connection.bridge);
        let expiry = match local {
            true => pending.requested_expiry,
            false => pending
                .requested_expiry
                .min(self.settings.max_session_expiry),
        };
        let resumed = self.take_over(&pending);
        let session_present = resumed.is_some();
        if let Some(key) = resumed {
            self.check_rights(id, key);
        }
        let client_id: Arc<str> = pending.client_id.as_str().into();
        let key = resumed.unwrap_or_else(|| {
            let number = self.next_number();
            let mut session = Session::new(client_id.clone(), number);
            session.durable = self.settings.persistence && expiry > 0;
            let key = self.sessions.insert(session);
            self.clients.insert(client_id.clone(), key);
            key
        });

        let now = self.now;
        let will = pending.will.map(|(mut message, delay, message_expiry)| {
            // The lifetime of a will begins when it is published (3.1.3.2.4); until then it holds
            // the interval.
            message.expires = message_expiry.map(|interval| crate::time::Time(interval.into()));
            PendingWill {
                message: Arc::new(message),
                delay,
            }
        });
        if let Some(session) = self.sessions.get_mut(key) {
            session.begin_connection(id);
            session.expiry = expiry;
            session.will = will;
            session.keep();
            session.recorded |=
                self.settings.persistence && (session.durable || session.will.is_some());
            if session.recorded {
                let will = session
                    .will
                    .as_ref()
                    .map(|will| (&*will.message, will.delay));
                let record = Record::Session {
                    session: session.number,
                    client_id: &session.client_id,
                    expiry,
                    will,
                };
                if session.durable || will.is_some() {
                    self.journal.require(&record);
                } else {
                    self.journal.note(&record);
                }
            }
        }

        self.weigh(key);
        self.assign(id, key);
        let limits = self.sessions.get(key).map(|session| self.limits(session));
        let limits = limits.unwrap_or_else(|| self.settings.general_limits());
        let keep_alive = match local {
            true => 0,
            false => self.keep_alive(version, pending.keep_alive),
        };
        if let Some(connection) = self.connections.get_mut(id) {
            connection.phase = Phase::Connected(key);
            if !local {
                connection.offer = self.settings.offer();
                let max_packet = &mut connection.limits.max_packet;
                *max_packet = limits.max_packet.min(*max_packet);
            }
            connection.full_window = pending
                .receive_maximum
                .min(limits.max_inflight_messages)
                .min(u16::MAX - 1);
            connection.maximum_packet_size = pending
                .maximum_packet_size
                .map_or(usize::MAX, |size| size as usize);
            connection.request_problem_information = pending.request_problem_information;
            connection.topic_alias_maximum_out = pending.topic_alias_maximum;
            connection.topic_aliases_out = None;
            let limits = [
                u64::from(keep_alive) * 1_500,
                connection.limits.idle_timeout,
            ];
            let limits = limits.into_iter().filter(|limit| *limit > 0);
            connection.keep_alive_limit = limits.min().unwrap_or(0);
            let until = now + connection.keep_alive_limit;
            // Otherwise the timer of its CONNECT puts itself off.
            let is_first = until < connection.opened + connection.limits.login_timeout;
            if connection.keep_alive_limit > 0 && is_first {
                self.timers.connection(until, id);
            }
        }

        let mut properties = Vec::new();
        let name = self.name.clone();
        if version.is_v5() {
            let max_packet = self
                .connections
                .get(id)
                .map_or(0, |connection| connection.limits.max_packet);
            self.announce(max_packet, &mut properties);
            if expiry != pending.requested_expiry {
                properties.push(Property::SessionExpiryInterval(expiry));
            }
            if pending.assigned {
                properties.push(Property::AssignedClientIdentifier(&client_id));
            }
            if keep_alive != pending.keep_alive {
                properties.push(Property::ServerKeepAlive(keep_alive));
            }
            if let Some(method) = &method {
                // MQTT-4.12.0-5.
                properties.push(Property::AuthenticationMethod(method));
                properties.extend(data.map(Property::AuthenticationData));
            }
            if bridge && !self.name.is_empty() {
                properties.push(Property::UserProperty(via::PROPERTY, &name));
            }
        }
        self.write(id, |out| {
            connack::encode(
                out,
                version,
                session_present,
                ReasonCode::Success,
                &properties,
            );
        });
        self.events.push(Event::Connected {
            connection: id,
            client_id,
            version,
            session_present,
            keep_alive,
        });
        self.auto_subscribe(id, key);
        self.pump(key);
    }

    /// Ends the connection that uses this client identifier (MQTT-3.1.4-3) and returns the session
    /// to go on with, if it is to be resumed.
    fn take_over(&mut self, pending: &PendingConnect) -> Option<SessionId> {
        let key = *self.clients.get(pending.client_id.as_str())?;
        // Its time may have come a moment before its timer fires.
        let session = self.sessions.get(key)?;
        if session.connection.is_none()
            && session.deadlines.ends_at.is_some_and(|at| at <= self.now)
        {
            self.end_session(key);
        }
        let key = *self.clients.get(pending.client_id.as_str())?;
        if let Some(old) = self
            .sessions
            .get(key)
            .and_then(|session| session.connection)
        {
            let is_here = self.connections.get(old).is_some_and(Connection::is_here);
            if !is_here {
                // Another process, or another instance, had to send it away: it is back in time.
                self.sessions.get_mut(key)?.will = None;
            }
            // A will with a delay is not published when the session goes on (3.1.3.2.2).
            let session = self.sessions.get(key)?;
            let delayed =
                session.expiry > 0 && session.will.as_ref().is_some_and(|will| will.delay > 0);
            let fate = if delayed && !pending.clean_start {
                WillFate::Defer
            } else {
                WillFate::Publish
            };
            self.close_with(
                old,
                ReasonCode::SessionTakenOver,
                "session taken over",
                fate,
            );
        }
        let key = *self.clients.get(pending.client_id.as_str())?;
        let session = self.sessions.get_mut(key)?;
        if session.is_resumable() && !pending.clean_start {
            return Some(key);
        }
        if !session.is_resumable() {
            // Left from before a restart for its will alone, and its client is back in time.
            session.will = None;
        }
        self.end_session(key);
        None
    }

    /// Ends the connection that uses this client identifier if it is of this account: another one of
    /// the account is about to take it over. True if there was one.
    pub(super) fn release_connection(&mut self, client_id: &str, account: &str) -> bool {
        let session = self.clients.get(client_id);
        let session = session.and_then(|key| self.sessions.get(*key));
        let Some(old) = session.and_then(|session| session.connection) else {
            return false;
        };
        let connection = self.connections.get(old);
        if connection.and_then(|connection| connection.authorizer.account()) != Some(account) {
            return false;
        }
        self.close_with(
            old,
            ReasonCode::SessionTakenOver,
            "session taken over",
            WillFate::Publish,
        );
        true
    }

    fn keep_alive(&self, version: Version, requested: u16) -> u16 {
        match self.settings.max_keepalive {
            0 => requested,
            // Only 5.0 can tell the client of another keep alive (3.2.2.3.14).
            maximum if version.is_v5() && (requested == 0 || requested > maximum) => maximum,
            _ => requested,
        }
    }

    /// The properties of CONNACK that say what this server offers, where that is not everything.
    fn announce(&self, max_packet: usize, properties: &mut Vec<Property<'_>>) {
        let settings = &self.settings;
        if settings.topic_alias_maximum > 0 {
            properties.push(Property::TopicAliasMaximum(settings.topic_alias_maximum));
        }
        let max_packet = u32::try_from(max_packet).unwrap_or(u32::MAX);
        properties.push(Property::MaximumPacketSize(max_packet));
        if settings.receive_maximum < u16::MAX {
            properties.push(Property::ReceiveMaximum(settings.receive_maximum));
        }
        if settings.max_qos < QoS::ExactlyOnce {
            properties.push(Property::MaximumQos(settings.max_qos as u8));
        }
        if !settings.retain_available {
            properties.push(Property::RetainAvailable(false));
        }
        if !settings.rules.wildcard_subscriptions {
            properties.push(Property::WildcardSubscriptionAvailable(false));
        }
        if !settings.rules.subscription_identifiers {
            properties.push(Property::SubscriptionIdentifierAvailable(false));
        }
        if !settings.rules.shared_subscriptions {
            properties.push(Property::SharedSubscriptionAvailable(false));
        }
    }
}
