//! A broker takes another's place: what waits for connections on their way, what becomes of those that stay, other
//! settings, a store that begins, and bytes that no broker wrote.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    AllowAll, AuthAnswer, Authorizer, Broker, ConnectionId, Extent, Limits, Settings, Time,
};
use proptest::prelude::*;

const NOW: Time = Time(1_000_000);

/// May receive everything but what is beneath `denied/`, and has to be asked for each topic.
struct Partly;

impl Authorizer for Partly {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::Some
    }
    fn may_receive(&self, topic: &str) -> bool {
        !topic.starts_with("denied/")
    }
    fn account(&self) -> Option<&str> {
        Some("some")
    }
}

struct World {
    broker: Broker,
    settings: Settings,
    now: Time,
    stored: Vec<u8>,
    clients: BTreeMap<&'static str, ConnectionId>,
    identifier: u8,
    /// Numbers of connections on their way.
    away: BTreeMap<&'static str, u64>,
}

impl World {
    fn new(settings: Settings) -> World {
        World {
            broker: Broker::new(settings.clone(), || 0, NOW),
            settings,
            now: NOW,
            stored: Vec::new(),
            clients: BTreeMap::new(),
            identifier: 0,
            away: BTreeMap::new(),
        }
    }

    fn store(&mut self) {
        self.stored.extend_from_slice(self.broker.journal().bytes());
        self.broker.journal().clear();
    }

    /// What comes out for a client.
    fn output(&mut self, client: &str) -> Vec<u8> {
        self.store();
        while self.broker.next_touched().is_some() {}
        let output = self.broker.output(self.clients[client]).unwrap();
        output.pieces().concat()
    }

    fn send(&mut self, client: &str, bytes: &[u8]) -> Vec<u8> {
        let id = self.clients[client];
        let received = self.broker.receive(id, bytes, None, self.now);
        assert_eq!(received.consumed, bytes.len());
        self.output(client)
    }

    /// Connects with 5.0: `keep_alive` and `expiry` in seconds, with a will at `will/NAME` if `will`.
    fn connect(
        &mut self,
        client: &'static str,
        (keep_alive, expiry, will): (u8, u8, bool),
        rights: impl Authorizer + 'static,
    ) -> Vec<u8> {
        let meter = Arc::new(Meter::default());
        let id = self.broker.open(meter, Limits::default(), self.now);
        self.clients.insert(client, id);
        let mut body = b"\x00\x04MQTT\x05".to_vec();
        body.extend([u8::from(will) << 2, 0, keep_alive, 5, 0x11, 0, 0, 0, expiry]);
        let text = |body: &mut Vec<u8>, text: &str| {
            body.extend([0, text.len() as u8]);
            body.extend(text.as_bytes());
        };
        text(&mut body, client);
        if will {
            body.push(0);
            text(&mut body, &format!("will/{client}"));
            text(&mut body, "gone");
        }
        let packet = [&[0x10, body.len() as u8], &body[..]].concat();
        assert!(
            self.broker
                .receive(id, &packet, None, self.now)
                .login
                .is_some()
        );
        self.broker.login_answer(id, Ok(Arc::new(rights)), self.now);
        self.output(client)
    }

    fn subscribe(&mut self, client: &str, filter: &str, qos: u8) {
        let mut body = vec![0, 9, 0, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(qos);
        let packet = [&[0x82, body.len() as u8], &body[..]].concat();
        let answer = self.send(client, &packet);
        assert_eq!(answer, [0x90, 4, 0, 9, 0, qos]);
    }

    fn publish(&mut self, client: &str, topic: &str, qos: u8) -> Vec<u8> {
        self.identifier += 1;
        let packet = publish(topic, qos, self.identifier);
        self.send(client, &packet)
    }

    fn cross(&mut self, settings: Settings, crossing: &[&'static str]) {
        let ids: Vec<_> = crossing.iter().map(|client| self.clients[client]).collect();
        for (client, id) in crossing.iter().zip(&ids) {
            let number = self.broker.connection_number(*id).unwrap();
            self.away.insert(client, number);
        }
        let exported = self.broker.export(self.now, |id| ids.contains(&id));
        self.broker = Broker::import(settings.clone(), || 0, &exported, self.now).unwrap();
        self.settings = settings;
        self.clients.clear();
        self.store();
    }

    fn arrive(&mut self, client: &'static str, rights: impl Authorizer + 'static) -> Vec<u8> {
        let number = self.away.remove(client).unwrap();
        let (meter, rights) = (Arc::default(), Arc::new(rights));
        let id = self.broker.attach(number, Some(rights), meter, 0, self.now);
        self.clients.insert(client, id.unwrap());
        self.output(client)
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.now + seconds * 1000;
        while let Some(at) = self.broker.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.broker.tick(self.now);
            self.store();
        }
        self.now = end;
    }

    fn restored(&self) -> State {
        let mut state = State::default();
        let whole = read_frames(&self.stored, |body| state.apply(body));
        assert_eq!(whole, self.stored.len());
        state
    }
}

fn publish(topic: &str, qos: u8, identifier: u8) -> Vec<u8> {
    let mut body = vec![0, topic.len() as u8];
    body.extend(topic.as_bytes());
    if qos > 0 {
        body.extend([0, identifier]);
    }
    body.extend([0, b'x']);
    [&[0x30 | qos << 1, body.len() as u8], &body[..]].concat()
}

/// Topics of the PUBLISH packets in an output.
fn topics(mut output: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    while let [first, length, rest @ ..] = output {
        let (body, rest) = rest.split_at(usize::from(*length));
        if first >> 4 == 3 {
            let topic = &body[2..2 + usize::from(body[1])];
            found.push(String::from_utf8(topic.to_vec()).unwrap());
        }
        output = rest;
    }
    found
}

#[test]
fn what_is_published_while_a_connection_is_on_its_way_waits_for_it_and_its_rights() {
    for (expiry, qos) in [(0, 0), (0, 1), (0, 2), (60, 0), (60, 1), (60, 2)] {
        let mut world = World::new(Settings {
            max_queued_messages: 1,
            ..Settings::default()
        });
        world.connect("reader", (0, expiry, false), Partly);
        world.subscribe("reader", "#", 2);
        world.connect("writer", (0, 0, false), AllowAll);
        world.cross(world.settings.clone(), &["reader", "writer"]);
        world.arrive("writer", AllowAll);
        for topic in ["a/1", "denied/1", "a/2", "denied/2", "a/3"] {
            world.publish("writer", topic, qos);
        }
        // Another broker takes over before it has arrived.
        let away = world.away.clone();
        world.cross(world.settings.clone(), &["writer"]);
        world.away.extend(away);
        world.arrive("writer", AllowAll);
        let got = topics(&world.arrive("reader", Partly));
        assert_eq!(got, ["a/1", "a/2", "a/3"], "expiry {expiry}, QoS {qos}");
        assert_eq!(
            world.restored().sessions.len(),
            usize::from(expiry > 0),
            "and the store goes on"
        );
        let of_reader = world.restored().sessions.into_values().next();
        let waiting = of_reader.map_or(0, |session| session.deliveries.len());
        let expected = if expiry > 0 && qos > 0 { 3 } else { 0 };
        assert_eq!(waiting, expected, "expiry {expiry}, QoS {qos}");
    }
}

#[test]
fn the_time_without_a_reader_does_not_count_against_a_client_but_what_follows_does() {
    let mut world = World::new(Settings::default());
    world.connect("c", (10, 60, false), AllowAll);
    world.pass(14);
    world.cross(world.settings.clone(), &["c"]);
    world.pass(100);
    assert_eq!(world.arrive("c", AllowAll), []);
    world.pass(0);
    assert_eq!(world.output("c"), []);
    world.pass(2);
    assert_eq!(
        world.output("c")[..3],
        [0xe0, 1, 0x8d],
        "keep alive timeout"
    );
}

#[test]
fn who_never_arrives_is_lost_with_its_will() {
    let mut world = World::new(Settings::default());
    world.connect("lost", (0, 0, true), AllowAll);
    world.connect("reader", (0, 0, false), AllowAll);
    world.subscribe("reader", "will/#", 0);
    world.cross(world.settings.clone(), &["lost", "reader"]);
    world.arrive("reader", AllowAll);
    world.broker.abandon(world.now);
    assert_eq!(topics(&world.output("reader")), ["will/lost"]);
    let number = world.away["lost"];
    let late = world
        .broker
        .attach(number, None, Arc::default(), 0, world.now);
    assert_eq!(late, None);
}

#[test]
fn a_client_that_comes_anew_takes_over_from_itself_on_the_way() {
    let mut world = World::new(Settings::default());
    world.connect("c", (0, 60, false), AllowAll);
    world.subscribe("c", "a", 1);
    world.cross(world.settings.clone(), &["c"]);
    let connack = world.connect("c", (0, 60, false), AllowAll);
    assert_eq!(connack[2], 1, "session present");
    let taken = world.arrive("c", AllowAll);
    assert_eq!(taken[..3], [0xe0, 1, 0x8e], "session taken over");
}

#[test]
fn an_account_that_is_gone_ends_its_connection() {
    let mut world = World::new(Settings::default());
    world.connect("c", (0, 0, false), AllowAll);
    world.cross(world.settings.clone(), &["c"]);
    let number = world.away["c"];
    let id = world
        .broker
        .attach(number, None, Arc::default(), 0, world.now);
    world.clients.insert("c", id.unwrap());
    assert_eq!(world.output("c")[2], 0x87, "not authorized");
}

#[test]
fn a_connection_that_stays_behind_has_time_to_come_back_before_its_will() {
    let mut world = World::new(Settings::default());
    for (client, expiry, will) in [("short", 0, false), ("will", 0, true), ("long", 200, true)] {
        world.connect(client, (0, expiry, will), AllowAll);
    }
    world.connect("reader", (0, 0, false), AllowAll);
    world.subscribe("reader", "will/#", 0);
    world.cross(world.settings.clone(), &["reader"]);
    world.arrive("reader", AllowAll);
    assert_eq!(world.broker.sizes().sessions, 3, "one had nothing to keep");
    assert_eq!(world.restored().sessions.len(), 2);
    let connack = world.connect("long", (0, 200, false), AllowAll);
    assert_eq!(connack[2], 1, "session present");
    world.pass(9);
    assert_eq!(topics(&world.output("reader")), <[&str; 0]>::default());
    world.pass(1);
    assert_eq!(topics(&world.output("reader")), ["will/will"]);
}

#[test]
fn limits_that_became_smaller_keep_what_is_there_and_what_was_promised() {
    let mut world = World::new(Settings::default());
    world.connect("reader", (0, 60, false), AllowAll);
    world.subscribe("reader", "a", 1);
    world.subscribe("reader", "b", 1);
    world.connect("writer", (0, 0, false), AllowAll);
    world.cross(world.settings.clone(), &["writer"]);
    world.arrive("writer", AllowAll);
    for _ in 0..5 {
        world.publish("writer", "a", 1);
    }
    let small = Settings {
        max_queued_messages: 2,
        max_subscriptions: 1,
        max_qos: polyport_mqtt_core::codec::QoS::AtMostOnce,
        ..Settings::default()
    };
    world.cross(small, &["writer"]);
    world.arrive("writer", AllowAll);
    let acknowledged = world.publish("writer", "a", 1);
    assert_eq!(
        acknowledged[0], 0x40,
        "QoS 1 was not refused when it connected"
    );
    let resumed = topics(&world.connect("reader", (0, 60, false), AllowAll));
    assert_eq!(resumed, ["a"; 5], "five stay, a sixth has no room");
}

/// A broker with something of everything in it.
fn rich() -> World {
    let mut world = World::new(Settings {
        max_inflight_messages: 2,
        ..Settings::default()
    });
    world.connect("some", (10, 60, true), Partly);
    world.subscribe("some", "#", 2);
    world.connect("all", (0, 0, true), AllowAll);
    world.subscribe("all", "$share/g/a/+", 1);
    world.connect("writer", (0, 90, false), AllowAll);
    world.subscribe("writer", "$share/g/a/+", 2);
    world.connect("offline", (0, 200, false), AllowAll);
    world.subscribe("offline", "a/#", 1);
    let offline = world.clients.remove("offline").unwrap();
    world.broker.lost(offline, world.now);
    let id = world.clients["writer"];
    // A retained message that ends, and a topic alias.
    let retained = b"\x31\x0d\x00\x03a/r\x05\x02\x00\x00\x00\x32xy";
    let alias = b"\x32\x0b\x00\x03a/b\x00\x08\x03\x23\x00\x01";
    for packet in [&retained[..], alias] {
        assert_eq!(
            world.broker.receive(id, packet, None, NOW).consumed,
            packet.len()
        );
    }
    for qos in [2, 1, 1] {
        world.publish("writer", "a/c", qos);
    }
    // One of `some`'s was received, and its PUBREL not answered.
    world.send("some", &[0x50, 2, 0, 2]);
    // One is logging in.
    let id = world.broker.open(Arc::default(), Limits::default(), NOW);
    let connect = b"\x10\x15\x00\x04MQTT\x05\x06\x00\x05\x00\x00\x01z\x00\x00\x01w\x00\x01x";
    assert!(world.broker.receive(id, connect, None, NOW).login.is_some());
    world.clients.insert("login", id);
    // One has to go on with its authentication, one was let in by it and does so again.
    for client in ["exchange", "again"] {
        let id = world.broker.open(Arc::default(), Limits::default(), NOW);
        let connect = [
            b"\x10\x16\x00\x04MQTT\x05\x02\x00\x05\x07\x15\x00\x01m\x16\x00\x00\x00\x02",
            &client.as_bytes()[..2],
        ];
        let go_on = || AuthAnswer::Continue {
            data: Some(b"x".to_vec()),
            state: b"y".to_vec(),
        };
        let mut send = |packet: &[u8], answer| {
            let login = world.broker.receive(id, packet, None, NOW).login;
            assert!(login.unwrap().authentication.is_some());
            world.broker.auth_answer(id, answer, NOW);
        };
        send(&connect.concat(), go_on());
        if client == "again" {
            let authorizer: Option<Arc<dyn Authorizer>> = Some(Arc::new(AllowAll));
            let data = Some(Vec::new());
            let proved = AuthAnswer::Success { authorizer, data };
            send(b"\xf0\x06\x18\x04\x15\x00\x01m", proved);
            send(b"\xf0\x06\x19\x04\x15\x00\x01m", go_on());
        }
        world.clients.insert(client, id);
    }
    world.store();
    world
}

#[test]
fn a_store_that_begins_learns_all_that_is_there_and_gives_back_what_is_not() {
    let mut kept = rich();
    let (mut before, session) = (State::default(), kept.restored().sessions);
    let offline = session
        .values()
        .find(|session| session.client_id == "offline");
    let mut elsewhere = offline.unwrap().clone();
    // One client that is here under another number, and one that only the store knows.
    before.sessions.insert(900, elsewhere.clone());
    elsewhere.client_id = "forgotten".into();
    before.sessions.insert(901, elsewhere);
    before.last_number = 950;
    kept.stored = before.to_journal().bytes().to_vec();

    let off = Settings {
        persistence: false,
        ..kept.settings.clone()
    };
    let on = kept.settings.clone();
    kept.cross(off, &["some", "all", "writer"]);
    kept.cross(on, &[]);
    kept.broker.begin_store(before);
    let expected = kept.broker.sizes();
    kept.store();

    let state = kept.restored();
    let clients: Vec<_> = state
        .sessions
        .values()
        .map(|session| session.client_id.as_str())
        .collect();
    for client in ["some", "all", "writer", "offline", "forgotten"] {
        let times = clients.iter().filter(|known| **known == client).count();
        assert_eq!(times, 1, "{client} in {clients:?}");
    }
    let some = state
        .sessions
        .values()
        .find(|session| session.client_id == "some");
    let some = some.unwrap();
    let deliveries: Vec<_> = some
        .deliveries
        .values()
        .map(|entry| {
            (
                entry.packet_identifier,
                entry.released,
                &*entry.message.topic,
            )
        })
        .collect();
    assert!(deliveries[1].1, "{deliveries:?}");
    assert!(
        deliveries.len() > 2 && some.subscriptions.len() == 1,
        "{deliveries:?}"
    );
    let mut again = Broker::new(kept.settings.clone(), || 0, kept.now);
    again.restore(state);
    let again = again.sizes();
    let (got, expected) = (
        (again.sessions, again.retained),
        (expected.sessions, expected.retained),
    );
    assert_eq!(got, expected);
}

#[test]
fn all_of_a_broker_survives_being_exported_twice() {
    let world = rich();
    let import = |bytes: &[u8]| Broker::import(world.settings.clone(), || 0, bytes, NOW).unwrap();
    let first = world.broker.export(NOW, |_| true);
    let second = import(&first).export(NOW, |_| true);
    assert_eq!(first.len(), second.len());
    assert!(import(&second).export(NOW, |_| true) == second);
    assert_eq!(import(&first).sizes(), world.broker.sizes());
    assert_eq!(
        import(&first).next_deadline(),
        Some(NOW + 50_000),
        "the retained message"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn damaged_bytes_are_an_error_or_another_broker_and_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        twice in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = EXPORTED.with(Clone::clone);
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(at) = twice {
            let tail = bytes[at.index(bytes.len())..].to_vec();
            bytes.extend(tail);
        }
        if let Some(at) = cut {
            bytes.truncate(at.index(bytes.len()));
        }
        if let Ok(mut broker) = Broker::import(Settings::default(), || 0, &bytes, NOW) {
            for number in 0..10 {
                let id = broker.attach(number, Some(Arc::new(Partly)), Arc::default(), 0, NOW);
                let Some(id) = id else { continue };
                broker.login_answer(id, Ok(Arc::new(AllowAll)), NOW);
                let proved = AuthAnswer::Success { authorizer: None, data: None };
                broker.auth_answer(id, proved, NOW);
                for packet in [&publish("a/b", 2, 7)[..], b"\x62\x02\x00\x07", b"\x40\x02\x00\x02", b"\xf0\x06\x18\x04\x15\x00\x01m", b"\xe0\x00"] {
                    broker.receive(id, packet, None, NOW);
                }
            }
            broker.abandon(NOW);
            broker.tick(NOW + 100_000);
            let again = broker.export(NOW, |_| true);
            prop_assert!(Broker::import(Settings::default(), || 0, &again, NOW).is_ok());
        }
    }
}

thread_local! {
    static EXPORTED: Vec<u8> = rich().broker.export(NOW, |_| true);
}
