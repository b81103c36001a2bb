//! Replays every transcript against the engine, on a clock of its own.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod transcript;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use polyport_mqtt_core::broker::{Meter, Walk};
use polyport_mqtt_core::codec::subscribe::SubscriptionOptions;
use polyport_mqtt_core::codec::{QoS, Version};
use polyport_mqtt_core::settings::{
    AutoSubscription, Overlapping, Override, Redirect, Rewrite, Rules, SlowConsumer, Who,
};
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
    fn account(&self) -> Option<&str> {
        Some(if self.named { "alice" } else { "anonymous" })
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
    /// Nothing is read from it until then.
    resume_at: Option<Time>,
}

struct Engine {
    settings: Settings,
    broker: Broker,
    stored: Vec<u8>,
    now: Time,
    clients: BTreeMap<String, Client>,
    entropy: Arc<AtomicU64>,
    meanwhile: Meanwhile,
    /// The image that is being written, and where in what is stored it begins.
    image: Option<(Walk, usize)>,
}

/// What goes on beside what the transcript says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// Another broker takes over before every step, between bytes and before every answer to a login.
    Crossing,
    /// Images of the state are written, a record after each batch, and what was stored before them is forgotten.
    Images,
}

impl Engine {
    fn new(settings: Settings, meanwhile: Meanwhile) -> Engine {
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
            meanwhile,
            image: None,
        }
    }

    fn write_image(&mut self) {
        if self.meanwhile != Meanwhile::Images {
            return;
        }
        let (walk, begin) = self
            .image
            .get_or_insert_with(|| (Walk::default(), self.stored.len()));
        let done = self.broker.write_image(walk, 1, self.now);
        self.stored.extend_from_slice(self.broker.journal().bytes());
        self.broker.journal().clear();
        if done {
            self.stored.drain(..*begin);
            self.image = None;
        }
    }

    fn cross(&mut self) {
        if self.meanwhile != Meanwhile::Crossing {
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
            self.broker.came_by(client.id.unwrap(), LISTENER);
        }
        self.finish();
    }

    /// The broker's next deadline, or that of a client that is read from again.
    fn next_event(&self) -> Option<Time> {
        let resuming = self.clients.values().filter_map(|client| client.resume_at);
        self.broker
            .next_deadline()
            .into_iter()
            .chain(resuming)
            .min()
    }

    fn resume(&mut self) {
        for client in self.clients.values_mut() {
            if let Some(id) = client.id
                && client.resume_at.is_some_and(|at| at <= self.now)
            {
                let received = self.broker.receive(id, &client.unread, None, self.now);
                client.unread.drain(..received.consumed);
                client.resume_at = received.resume_at;
            }
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
        self.write_image();
    }
}

/// By which all clients come, as they do in the real host.
const LISTENER: &str = "tcp://127.0.0.1:1883";

fn counting(number: &Arc<AtomicU64>) -> impl FnMut() -> u128 + Send + use<> {
    let number = Arc::clone(number);
    move || u128::from(number.fetch_add(1, Ordering::Relaxed) + 1)
}

impl transcript::Broker for Engine {
    fn connect(&mut self, client: &str) {
        let meter = Arc::new(Meter::default());
        let id = self.broker.open(meter.clone(), Limits::default(), self.now);
        self.broker.came_by(id, LISTENER);
        let id = Some(id);
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
            state.resume_at = received.resume_at;
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
        while let Some(at) = self.next_event().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.cross();
            self.broker.tick(self.now);
            self.finish();
            self.resume();
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
        self.image = None;
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
            "max_memory" => settings.load.max_memory = number() as usize,
            "max_publish_rate" => settings.load.max_publish_rate = number(),
            "max_publish_rate_per_user" => settings.load.max_publish_rate_per_user = number(),
            "server_reference" => settings.load.server_reference = value.trim_matches('"').into(),
            "redirect" => {
                settings.load.redirect = match value {
                    "\"drain\"" => Redirect::Drain,
                    "\"temporary\"" => Redirect::Temporary,
                    "\"permanent\"" => Redirect::Permanent,
                    _ => panic!("unknown redirection: {line}"),
                }
            }
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
            _ => rule(&mut settings.rules, key, value),
        }
    }
    settings
}

/// Settings of [`Rules`], as the file has them.
fn rule(rules: &mut Rules, key: &str, value: &str) {
    let value: toml::Table = toml::from_str(&format!("value = {value}")).unwrap();
    let value = &value["value"];
    let flag = || value.as_bool().unwrap();
    let number = || value.as_integer().unwrap() as usize;
    let tables = || value.as_array().unwrap().iter();
    let text = |table: &toml::Value, key: &str| table[key].as_str().unwrap().into();
    let texts = |table: &toml::Value, key: &str| {
        let all = table.get(key).and_then(toml::Value::as_array);
        let all = all.into_iter().flatten();
        all.map(|text| text.as_str().unwrap().into()).collect()
    };
    match key {
        "overlapping_subscriptions" => {
            rules.overlapping = match value.as_str().unwrap() {
                "merged" => Overlapping::Merged,
                "each" => Overlapping::Each,
                other => panic!("unknown word {other}"),
            }
        }
        "wildcard_subscriptions" => rules.wildcard_subscriptions = flag(),
        "shared_subscriptions" => rules.shared_subscriptions = flag(),
        "subscription_identifiers" => rules.subscription_identifiers = flag(),
        "max_wildcards" => rules.max_wildcards = number(),
        "max_retained_bytes" => rules.max_retained_bytes = number(),
        "max_retained_messages_per_user" => rules.max_retained_messages_per_user = number(),
        "max_retained_bytes_per_user" => rules.max_retained_bytes_per_user = number(),
        "delayed_publish" => rules.delayed_publish = flag(),
        "max_delayed_messages" => rules.max_delayed_messages = number(),
        "max_delayed_bytes" => rules.max_delayed_bytes = number(),
        "auto_subscribe" => {
            let options = |table: &toml::Value| {
                let qos = table.get("qos").map_or(0, |qos| qos.as_integer().unwrap());
                SubscriptionOptions::decode(Version::V5, qos as u8).unwrap()
            };
            let made = tables().map(|table| AutoSubscription {
                filter: text(table, "filter"),
                options: options(table),
                who: Who {
                    users: texts(table, "users"),
                    client_ids: texts(table, "client_ids"),
                },
            });
            rules.auto_subscribe = made.collect();
        }
        "overrides" => {
            let made = tables().map(|table| {
                let number = |key: &str| {
                    let number = table.get(key).and_then(toml::Value::as_integer);
                    number.map(|number| number as usize)
                };
                Override {
                    who: Who {
                        users: texts(table, "users"),
                        client_ids: texts(table, "client_ids"),
                    },
                    listeners: texts(table, "listeners"),
                    max_packet: number("max_packet"),
                    max_inflight_messages: number("max_inflight_messages").map(|most| most as u16),
                    max_queued_messages: number("max_queued_messages"),
                    max_queued_bytes: number("max_queued_bytes"),
                    max_subscriptions: number("max_subscriptions"),
                    max_topic_levels: number("max_topic_levels"),
                    max_wildcards: number("max_wildcards"),
                    max_publish_rate: number("max_publish_rate").map(|rate| rate as u32),
                    max_publish_rate_per_user: number("max_publish_rate_per_user")
                        .map(|rate| rate as u32),
                    max_retained_messages_per_user: number("max_retained_messages_per_user"),
                    max_retained_bytes_per_user: number("max_retained_bytes_per_user"),
                }
            });
            rules.overrides = made.collect();
        }
        "rewrite" => {
            let made = tables().map(|table| {
                let action = table
                    .get("action")
                    .map_or("all", |word| word.as_str().unwrap());
                Rewrite {
                    publish: action != "subscribe",
                    subscribe: action != "publish",
                    filter: text(table, "filter"),
                    to: text(table, "to"),
                }
            });
            rules.rewrite = made.collect::<Vec<_>>().into();
        }
        _ => panic!("unknown setting {key}"),
    }
}

#[test]
fn every_transcript_replays_against_the_engine() {
    replay(Meanwhile::Nothing);
}

#[test]
fn every_transcript_replays_with_another_broker_taking_over_at_every_step_and_within_packets() {
    replay(Meanwhile::Crossing);
}

#[test]
fn every_transcript_replays_while_images_of_the_state_are_written_for_the_store() {
    replay(Meanwhile::Images);
}

fn replay(meanwhile: Meanwhile) {
    let cases = transcript::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts"));
    let mut failures = Vec::new();
    for case in &cases {
        let mut engine = Engine::new(settings(&case.settings), meanwhile);
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
