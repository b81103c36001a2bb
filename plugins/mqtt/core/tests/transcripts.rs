//! Replays every transcript against the engine, on a clock of its own.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod transcript;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::codec::QoS;
use polyport_mqtt_core::settings::SlowConsumer;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    AuthAnswer, Authentication, Authorizer, Broker, ConnectionId, Extent, Limits, LoginRefusal,
    LoginRequest, Settings, Time,
};

/// Everything but topics beneath `denied/`, and for clients without a name beneath `private/`. The
/// accounts of `plugins/mqtt/tests/transcripts.rs` have the same rights.
struct Rights {
    named: bool,
}

impl Authorizer for Rights {
    fn may_publish(&self, topic: &str) -> bool {
        !topic.starts_with("denied/")
    }
    fn may_subscribe(&self, filter: &str) -> Extent {
        let denied = if self.named {
            &["denied/"][..]
        } else {
            &["denied/", "private/"]
        };
        if denied.iter().any(|prefix| filter.starts_with(prefix)) {
            Extent::None
        } else if filter.starts_with(['+', '#']) {
            Extent::Some
        } else {
            Extent::Every
        }
    }
    fn may_receive(&self, topic: &str) -> bool {
        self.may_subscribe(topic) == Extent::Every
    }
}

fn login(request: &LoginRequest) -> Result<Arc<dyn Authorizer>, LoginRefusal> {
    match (request.username.as_deref(), request.password.as_deref()) {
        (None, None) => Ok(Arc::new(Rights { named: false })),
        (Some("alice"), Some(b"wonderland")) => Ok(Arc::new(Rights { named: true })),
        (Some("in clear"), _) => Err(LoginRefusal::Insecure),
        (Some("elsewhere"), _) => Err(LoginRefusal::NotAuthorized),
        (Some("too many"), _) => Err(LoginRefusal::QuotaExceeded),
        (Some("busy"), _) => Err(LoginRefusal::Busy),
        _ => Err(LoginRefusal::BadUserNameOrPassword),
    }
}

/// Three steps of a method that nobody has: `first`, `challenge`; `proof`, `verified`.
fn authenticate(step: &Authentication) -> AuthAnswer {
    if step.method != "TOY" {
        return AuthAnswer::Refused(LoginRefusal::BadAuthenticationMethod);
    }
    let go_on = |data: Option<&[u8]>, state: &[u8]| AuthAnswer::Continue {
        data: data.map(<[u8]>::to_vec),
        state: state.to_vec(),
    };
    match (step.data.as_deref(), step.state.as_deref()) {
        (None, None) => go_on(None, b"begun"),
        (Some(b"first"), None | Some(b"begun")) => go_on(Some(b"challenge"), b"asked"),
        (Some(b"proof"), Some(b"asked")) => AuthAnswer::Success {
            authorizer: (!step.again).then(|| Arc::new(Rights { named: true }) as _),
            data: Some(b"verified".to_vec()),
        },
        (Some(b"busy"), _) => AuthAnswer::Refused(LoginRefusal::Busy),
        _ => AuthAnswer::Refused(LoginRefusal::BadUserNameOrPassword),
    }
}

#[derive(Default)]
struct Client {
    id: Option<ConnectionId>,
    rights: Option<Arc<dyn Authorizer>>,
    meter: Arc<Meter>,
    unread: Vec<u8>,
    received: Vec<u8>,
    closed: bool,
}

struct Engine {
    settings: Settings,
    broker: Broker,
    stored: Vec<u8>,
    now: Time,
    clients: BTreeMap<String, Client>,
    entropy: Arc<AtomicU64>,
    /// Another broker takes over before every step, between bytes and before every answer to a login.
    crossing: bool,
}

impl Engine {
    fn new(settings: Settings, crossing: bool) -> Engine {
        let now = Time(1_000_000);
        let entropy = Arc::default();
        let broker = Broker::new(settings.clone(), counting(&entropy), now);
        Engine {
            settings,
            broker,
            stored: Vec::new(),
            now,
            clients: BTreeMap::new(),
            entropy,
            crossing,
        }
    }

    fn cross(&mut self) {
        if !self.crossing {
            return;
        }
        let import = |bytes: &[u8]| {
            let (settings, entropy) = (self.settings.clone(), counting(&self.entropy));
            Broker::import(settings, entropy, bytes, self.now).unwrap()
        };
        let exported = self.broker.export(self.now, |_| true);
        let again = import(&exported).export(self.now, |_| true);
        assert_eq!(again.len(), exported.len());
        assert!(again == import(&again).export(self.now, |_| true));
        let numbers: Vec<_> = self
            .clients
            .values()
            .map(|client| Some(self.broker.connection_number(client.id?).unwrap()))
            .collect();
        self.broker = import(&exported);
        for (client, number) in self.clients.values_mut().zip(numbers) {
            let Some(number) = number else { continue };
            client.meter = Arc::default();
            let meter = Arc::clone(&client.meter);
            let rights = client.rights.clone();
            client.id = self.broker.attach(number, rights, meter, 0, self.now);
            assert!(client.id.is_some());
        }
        self.finish();
    }

    fn finish(&mut self) {
        self.stored.extend_from_slice(self.broker.journal().bytes());
        self.broker.journal().clear();
        self.broker.take_events();
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let (closes, pieces) = (output.closes(), output.pieces());
            let Some(client) = self
                .clients
                .values_mut()
                .find(|client| client.id == Some(id))
            else {
                continue;
            };
            for piece in pieces {
                client.received.extend_from_slice(&piece);
                if client.meter.sent(piece.len()) {
                    self.broker.drained(id, self.now);
                }
            }
            if closes {
                client.closed = true;
                client.id = None;
                self.broker.lost(id, self.now);
            }
        }
        self.stored.extend_from_slice(self.broker.journal().bytes());
        self.broker.journal().clear();
    }
}

fn counting(number: &Arc<AtomicU64>) -> impl FnMut() -> u128 + Send + use<> {
    let number = Arc::clone(number);
    move || u128::from(number.fetch_add(1, Ordering::Relaxed) + 1)
}

impl transcript::Broker for Engine {
    fn connect(&mut self, client: &str) {
        let meter = Arc::new(Meter::default());
        let id = Some(self.broker.open(meter.clone(), Limits::default(), self.now));
        self.clients.insert(
            client.to_owned(),
            Client {
                id,
                meter,
                ..Client::default()
            },
        );
    }

    /// Byte by byte: a packet means the same in any split.
    fn send(&mut self, client: &str, bytes: &[u8]) {
        for (at, &byte) in bytes.iter().enumerate() {
            // Long packets have nothing new in every byte.
            if at < 48 || at % 1000 == 0 || at + 1 == bytes.len() {
                self.cross();
            }
            let Some(state) = self.clients.get_mut(client) else {
                return;
            };
            let Some(id) = state.id else { return };
            state.unread.push(byte);
            let received = self.broker.receive(id, &state.unread, None, self.now);
            state.unread.drain(..received.consumed);
            if let Some(request) = received.login {
                self.finish();
                self.cross();
                let state = self.clients.get_mut(client).unwrap();
                if let Some(step) = &request.authentication {
                    let answer = authenticate(step);
                    if let AuthAnswer::Success {
                        authorizer: Some(rights),
                        ..
                    } = &answer
                    {
                        state.rights = Some(Arc::clone(rights));
                    }
                    if let Some(id) = state.id {
                        self.broker.auth_answer(id, answer, self.now);
                    }
                    self.finish();
                    continue;
                }
                let answer = login(&request);
                state.rights = answer.as_ref().ok().cloned();
                if let Some(id) = state.id {
                    self.broker.login_answer(id, answer, self.now);
                }
            }
            self.finish();
        }
    }

    fn receive(&mut self, client: &str) -> Vec<u8> {
        self.clients
            .get_mut(client)
            .map(|client| std::mem::take(&mut client.received))
            .unwrap_or_default()
    }

    fn is_closed(&mut self, client: &str) -> bool {
        self.clients[client].closed
    }

    fn close(&mut self, client: &str) {
        self.cross();
        if let Some(id) = self.clients.remove(client).and_then(|client| client.id) {
            self.broker.lost(id, self.now);
            self.finish();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time.as_millis() as u64;
        while let Some(at) = self.broker.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.cross();
            self.broker.tick(self.now);
            self.finish();
        }
        self.now = end;
        self.cross();
    }

    fn restart(&mut self) {
        let mut state = State::default();
        let whole = read_frames(&self.stored, |body| state.apply(body));
        assert_eq!(whole, self.stored.len());
        assert!(read_frames(state.to_journal().bytes(), |_| true) > 0);
        self.stored = state.to_journal().bytes().to_vec();
        self.broker = Broker::new(self.settings.clone(), counting(&self.entropy), self.now);
        self.broker.restore(state);
        self.clients.clear();
    }
}

fn settings(text: &str) -> Settings {
    let mut settings = Settings::default();
    for line in text.lines() {
        let (key, value) = line.split_once('=').unwrap();
        let (key, value) = (key.trim(), value.trim());
        let number = || {
            value
                .parse::<u32>()
                .unwrap_or_else(|_| panic!("no number: {line}"))
        };
        match key {
            "receive_maximum" => settings.receive_maximum = number() as u16,
            "topic_alias_maximum" => settings.topic_alias_maximum = number() as u16,
            "max_inflight_messages" => settings.max_inflight_messages = number() as u16,
            "max_queued_messages" => settings.max_queued_messages = number() as usize,
            "max_queued_bytes" => settings.max_queued_bytes = number() as usize,
            "slow_consumer" => {
                settings.load.slow_consumer = match value {
                    "\"drop-newest\"" => SlowConsumer::DropNewest,
                    "\"drop-oldest\"" => SlowConsumer::DropOldest,
                    "\"disconnect\"" => SlowConsumer::Disconnect,
                    _ => panic!("unknown policy: {line}"),
                }
            }
            "max_keepalive" => settings.max_keepalive = number() as u16,
            "max_session_expiry_interval" => settings.max_session_expiry = number(),
            "max_subscriptions" => settings.max_subscriptions = number() as usize,
            "max_qos" => settings.max_qos = QoS::from_bits(number() as u8).unwrap(),
            "retain_available" => settings.retain_available = value == "true",
            "allow_zero_length_clientid" => settings.allow_zero_length_clientid = value == "true",
            _ => panic!("unknown setting {key}"),
        }
    }
    settings
}

#[test]
fn every_transcript_replays_against_the_engine() {
    replay(false);
}

#[test]
fn every_transcript_replays_with_another_broker_taking_over_at_every_step_and_within_packets() {
    replay(true);
}

fn replay(crossing: bool) {
    let cases = transcript::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"));
    let mut failures = Vec::new();
    for case in &cases {
        let mut engine = Engine::new(settings(&case.settings), crossing);
        let played = transcript::play(case, &mut engine);
        let left: Vec<_> = engine
            .clients
            .values()
            .filter(|client| !client.received.is_empty())
            .collect();
        failures.extend(played.err());
        for client in left {
            failures.push(format!(
                "{}: == {}\n  more came: {:02x?}",
                case.file, case.name, client.received
            ));
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {} cases failed\n{}",
        failures.len(),
        cases.len(),
        failures.join("\n")
    );
    assert_eq!(
        cases
            .iter()
            .filter(|case| case.duration() > Duration::from_secs(3600))
            .count(),
        0
    );
}
