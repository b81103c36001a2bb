//! Clients that are too slow, too fast or too many: what they cost, and that others do not wait for them.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

struct Client {
    id: ConnectionId,
    meter: Arc<Meter>,
    /// Handed out and not taken.
    unsent: VecDeque<u8>,
    /// Taken.
    taken: Vec<u8>,
    closed: bool,
}

struct World {
    settings: Settings,
    broker: Broker,
    now: Time,
    clients: BTreeMap<&'static str, Client>,
    /// The most bytes that one turn gave to one client.
    most: usize,
}

impl World {
    fn new(settings: Settings) -> World {
        World {
            broker: Broker::new(settings.clone(), || 0, Time(1_000_000)),
            settings,
            now: Time(1_000_000),
            clients: BTreeMap::new(),
            most: 0,
        }
    }

    /// What a host does after a turn: nobody has taken anything yet.
    fn finish(&mut self) {
        self.broker.journal().clear();
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let (closes, bytes) = (output.closes(), output.pieces().concat());
            self.most = self.most.max(bytes.len());
            let client = self.clients.values_mut().find(|client| client.id == id);
            if let Some(client) = client {
                client.closed |= closes;
                client.unsent.extend(bytes);
            }
        }
    }

    fn connect(&mut self, name: &'static str, clean: bool) {
        let mut body = b"\x00\x04MQTT\x04".to_vec();
        body.extend([u8::from(clean) << 1, 0, 0, 0, name.len() as u8]);
        body.extend(name.as_bytes());
        self.connect_with(name, &body);
    }

    /// 5.0, with a session that outlives the connection by an hour, and a will after ten seconds if `will`.
    fn connect_v5(&mut self, name: &'static str, client_id: &str, will: bool) {
        let mut body = b"\x00\x04MQTT\x05".to_vec();
        body.extend([u8::from(will) << 2, 0, 0, 5, 0x11, 0, 0, 0x0e, 0x10]);
        body.extend([0, client_id.len() as u8]);
        body.extend(client_id.as_bytes());
        if will {
            body.extend(b"\x05\x18\x00\x00\x00\x0a\x00\x04will\x00\x04gone");
        }
        self.connect_with(name, &body);
    }

    fn connect_with(&mut self, name: &'static str, body: &[u8]) {
        let meter = Arc::new(Meter::default());
        let id = self.broker.open(meter.clone(), Limits::default(), self.now);
        let client = Client {
            id,
            meter,
            unsent: VecDeque::new(),
            taken: Vec::new(),
            closed: false,
        };
        self.clients.insert(name, client);
        let packet = [&[0x10, body.len() as u8], body].concat();
        self.broker.receive(id, &packet, None, self.now);
        self.broker
            .login_answer(id, Ok(Arc::new(AllowAll)), self.now);
        self.finish();
    }

    fn send(&mut self, name: &str, packet: &[u8]) {
        let id = self.clients[name].id;
        let received = self.broker.receive(id, packet, None, self.now);
        assert_eq!(received.consumed, packet.len());
        self.finish();
    }

    fn subscribe(&mut self, name: &str, filter: &str, qos: u8) {
        let mut body = vec![0, 9, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(qos);
        self.send(name, &[&[0x82, body.len() as u8], &body[..]].concat());
    }

    fn subscribe_v5(&mut self, name: &str, filter: &str) {
        let mut body = vec![0, 9, 0, 0, filter.len() as u8];
        body.extend(filter.as_bytes());
        body.push(1);
        self.send(name, &[&[0x82, body.len() as u8], &body[..]].concat());
    }

    /// Turns that are due now.
    fn tick(&mut self) -> usize {
        let mut turns = 0;
        while self.broker.next_deadline().is_some_and(|at| at <= self.now) {
            self.broker.tick(self.now);
            self.finish();
            turns += 1;
            assert!(turns < 100_000, "the broker never comes to rest");
        }
        turns
    }

    /// A client takes so many bytes; false when there is nothing.
    fn take(&mut self, name: &str, bytes: usize) -> bool {
        let client = self.clients.get_mut(name).unwrap();
        let bytes = bytes.min(client.unsent.len());
        client.taken.extend(client.unsent.drain(..bytes));
        if bytes > 0 && client.meter.sent(bytes) {
            let id = client.id;
            self.broker.drained(id, self.now);
            self.finish();
        }
        bytes > 0
    }

    fn take_all(&mut self, name: &str) {
        loop {
            let turns = self.tick();
            if !self.take(name, usize::MAX) && turns == 0 {
                return;
            }
        }
    }

    /// Another broker takes over.
    fn cross(&mut self) {
        let exported = self.broker.export(self.now, |_| true);
        let numbers: Vec<_> = self
            .clients
            .values()
            .map(|client| self.broker.connection_number(client.id).unwrap())
            .collect();
        self.broker = Broker::import(self.settings.clone(), || 0, &exported, self.now).unwrap();
        for (client, number) in self.clients.values_mut().zip(numbers) {
            client.meter = Arc::default();
            let (meter, unsent) = (client.meter.clone(), client.unsent.len());
            let rights: Option<Arc<dyn polyport_mqtt_core::Authorizer>> = Some(Arc::new(AllowAll));
            let id = self.broker.attach(number, rights, meter, unsent, self.now);
            client.id = id.unwrap();
        }
        self.finish();
    }

    /// The PUBLISH packets that a client has taken: first byte, topic, packet identifier, payload.
    fn publishes(&mut self, name: &str) -> Vec<(u8, String, u16, Vec<u8>)> {
        let taken = std::mem::take(&mut self.clients.get_mut(name).unwrap().taken);
        let mut found = Vec::new();
        let mut rest = &taken[..];
        while !rest.is_empty() {
            let (mut length, mut at) = (0, 1);
            loop {
                length |= usize::from(rest[at] & 0x7f) << (7 * (at - 1));
                at += 1;
                if rest[at - 1] < 0x80 {
                    break;
                }
            }
            let (first, body) = (rest[0], &rest[at..at + length]);
            rest = &rest[at + length..];
            if first >> 4 == 3 {
                let (topic, after) =
                    body[2..].split_at(usize::from(body[0]) << 8 | usize::from(body[1]));
                let (identifier, payload) = match first & 6 {
                    0 => (0, after),
                    _ => (u16::from_be_bytes([after[0], after[1]]), &after[2..]),
                };
                let topic = String::from_utf8(topic.to_vec()).unwrap();
                found.push((first, topic, identifier, payload.to_vec()));
            }
        }
        found
    }
}

fn publish(first: u8, topic: &str, identifier: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = (topic.len() as u16).to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    if first & 6 > 0 {
        body.extend(identifier.to_be_bytes());
    }
    body.extend(payload);
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = (length & 0x7f) as u8;
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend(body);
    packet
}

/// 100,000 retained messages of 100 bytes.
const MANY: usize = 100_000;

fn with_retained() -> World {
    let mut world = World::new(Settings {
        persistence: false,
        ..Settings::default()
    });
    world.connect("source", true);
    for number in 0..MANY {
        let topic = format!("room/{}/{}", number / 100, number % 100);
        world.send("source", &publish(0x31, &topic, 0, &[b'x'; 100]));
    }
    world
}

#[test]
fn a_subscription_to_100_000_retained_messages_is_served_as_its_reader_takes_them() {
    let mut world = with_retained();
    world.connect("slow", true);
    world.connect("other", true);
    world.subscribe("other", "news", 0);
    world.subscribe("slow", "#", 0);
    world.tick();
    let unsent = |world: &World| world.clients["slow"].unsent.len();
    assert!(
        unsent(&world) > 60_000 && unsent(&world) < 80_000,
        "{}",
        unsent(&world)
    );

    // Of what is to come one is replaced, one removed and one added.
    world.send("source", &publish(0x31, "room/999/1", 0, b"new"));
    world.send("source", &publish(0x31, "room/999/2", 0, b""));
    world.send("source", &publish(0x31, "room/999/a", 0, b"added"));
    let mut steps = 0;
    while world.take("slow", 10_000) {
        world.tick();
        assert!(unsent(&world) < 80_000, "{}", unsent(&world));
        steps += 1;
        if steps % 100 == 0 {
            world.cross();
            world.send("source", &publish(0x30, "news", 0, b"n"));
        }
    }
    assert!(world.most < 80_000, "one turn gave {}", world.most);
    let got = world.publishes("slow");
    let news = got.iter().filter(|(_, topic, ..)| topic == "news").count();
    assert_eq!(
        news,
        steps / 100,
        "what is published meanwhile is not held up"
    );
    let mut retained: Vec<_> = got.iter().filter(|(first, ..)| *first == 0x31).collect();
    assert!(retained.iter().all(|(.., payload)| *payload == [b'x'; 100]));
    assert_eq!(
        retained.len(),
        MANY - 2,
        "each once, but for those that went out as they were published"
    );
    retained.dedup_by(|a, b| a.1 == b.1);
    assert_eq!(retained.len(), MANY - 2);
    let live: Vec<_> = got
        .iter()
        .filter(|(first, topic, ..)| *first == 0x30 && topic != "news")
        .map(|(_, topic, _, payload)| (topic.as_str(), payload.as_slice()))
        .collect();
    let expected: [(&str, &[u8]); 3] = [
        ("room/999/1", b"new"),
        ("room/999/2", b""),
        ("room/999/a", b"added"),
    ];
    assert_eq!(live, expected);
    world.take_all("other");
    assert_eq!(world.publishes("other").len(), steps / 100);
}

#[test]
fn retained_messages_with_qos_1_follow_the_window_and_fill_no_queue() {
    let mut world = World::new(Settings {
        max_queued_messages: 1,
        max_inflight_messages: 10,
        ..Settings::default()
    });
    world.connect("source", true);
    for number in 0..5_000 {
        world.send("source", &publish(0x33, &format!("t/{number:05}"), 1, b"x"));
    }
    world.connect("slow", false);
    world.subscribe("slow", "t/+", 1);
    let mut got = Vec::new();
    loop {
        world.take_all("slow");
        let new = world.publishes("slow");
        assert!(new.len() <= 10);
        if new.is_empty() {
            break;
        }
        for (first, topic, identifier, _) in new {
            assert_eq!(first, 0x33);
            got.push(topic);
            let [high, low] = identifier.to_be_bytes();
            world.send("slow", &[0x40, 2, high, low]);
        }
        if got.len() == 2_500 {
            world.cross();
        }
    }
    let expected: Vec<_> = (0..5_000).map(|number| format!("t/{number:05}")).collect();
    assert!(got == expected, "{} came", got.len());
    assert_eq!(world.broker.counters().messages_dropped, 0);
}

#[test]
fn a_filter_that_is_unsubscribed_gets_no_more_retained_messages() {
    let mut world = with_retained();
    world.connect("slow", true);
    world.subscribe("slow", "room/#", 0);
    world.send("slow", b"\xa2\x0a\x00\x07\x00\x06room/#");
    world.take_all("slow");
    assert!(world.publishes("slow").len() < 1_000);
}

#[test]
fn one_look_at_a_hundred_thousand_topics_is_many_turns() {
    let mut world = with_retained();
    world.connect("seeker", true);
    world.subscribe("seeker", "+/+/+/none", 0);
    let turns = world.tick();
    assert!(turns > 0 && turns < 1_000, "{turns}");
    world.subscribe("seeker", "room/+/7", 0);
    world.take_all("seeker");
    assert_eq!(world.publishes("seeker").len(), 1_000);
}

#[test]
fn a_reader_that_takes_nothing_of_a_flood_costs_its_limits_and_delays_nobody() {
    let settings = Settings {
        persistence: false,
        max_outbound_bytes: 1 << 20,
        max_queued_bytes: 2 << 20,
        max_queued_messages: 1_000_000,
        ..Settings::default()
    };
    for qos in 0..=2 {
        let mut world = World::new(settings.clone());
        world.connect("never", false);
        world.connect("reads", true);
        world.connect("source", true);
        world.subscribe("never", "flood", qos);
        world.subscribe("reads", "flood", 0);
        for number in 0..10_000u16 {
            let packet = publish(
                0x30 | qos << 1,
                "flood",
                number % 10_000 + 1,
                &[b'x'; 4_000],
            );
            world.send("source", &packet);
            if qos == 2 {
                let [high, low] = (number % 10_000 + 1).to_be_bytes();
                world.send("source", &[0x62, 2, high, low]);
            }
            world.take_all("reads");
            world.take_all("source");
        }
        assert_eq!(world.publishes("reads").len(), 10_000);
        let unsent = world.clients["never"].unsent.len();
        assert!(unsent < (1 << 20) + 5_000, "QoS {qos}: {unsent}");
        let held = world.broker.held();
        assert!(held < 4 << 20, "QoS {qos}: {held}");
        let dropped = world.broker.counters().messages_dropped;
        assert!(dropped > 9_000, "QoS {qos}: {dropped}");
    }
}

#[test]
fn all_sessions_together_hold_no_more_than_the_service_may() {
    let mut settings = Settings {
        persistence: false,
        ..Settings::default()
    };
    settings.load.max_memory = 8 << 20;
    let mut world = World::new(settings);
    let names: Vec<&'static str> = (0..50)
        .map(|number| &*Box::leak(format!("never{number}").into_boxed_str()))
        .collect();
    for name in &names {
        world.connect(name, false);
        world.subscribe(name, "flood", 1);
    }
    world.connect("source", true);
    let mut most = 0;
    for number in 1..=2_000u16 {
        let packet = publish(0x32, "flood", number, &[b'x'; 10_000]);
        let id = world.clients["source"].id;
        let mut received = world.broker.receive(id, &packet, None, world.now);
        while let Some(at) = received.resume_at {
            world.now = at;
            received = world.broker.receive(id, &packet, None, world.now);
        }
        world.finish();
        world.tick();
        world.take_all("source");
        most = most.max(world.broker.held());
    }
    assert!(world.broker.is_overloaded());
    // An eighth beyond it, and what one message is to all of them.
    assert!(most < (9 << 20) + 50 * 21_000 && most > 8 << 20, "{most}");
    for name in &names {
        let id = world.clients[name].id;
        world.broker.lost(id, world.now);
        world.clients.remove(name);
        // It comes back for what waits, and does not want it.
        world.connect(name, false);
        world.connect(name, true);
    }
    world.now = Time(world.now.0 + 100);
    world.tick();
    assert!(!world.broker.is_overloaded());
}

#[test]
fn ten_thousand_wills_at_once_are_many_turns() {
    let mut world = World::new(Settings::default());
    world.connect("watcher", true);
    world.subscribe("watcher", "will", 0);
    for number in 0..10_000 {
        world.connect_v5("one", &format!("{number}"), true);
        let id = world.clients["one"].id;
        world.broker.lost(id, world.now);
        world.finish();
    }
    world.take_all("watcher");
    assert_eq!(world.publishes("watcher").len(), 0);
    world.now = Time(world.now.0 + 10_000);
    world.most = 0;
    let turns = world.tick();
    assert!(turns >= 10_000 / 256, "{turns}");
    assert!(world.most <= 256 * 12, "one turn gave {}", world.most);
    world.take_all("watcher");
    assert_eq!(world.publishes("watcher").len(), 10_000);
}

#[test]
fn a_takeover_storm_leaves_one_session_and_what_waits_for_it() {
    let mut world = World::new(Settings {
        persistence: false,
        ..Settings::default()
    });
    world.connect("source", true);
    world.connect_v5("victim", "victim", true);
    world.subscribe_v5("victim", "t");
    let held = world.broker.held();
    for _ in 0..10_000 {
        let old = world.clients["victim"].id;
        world.connect_v5("victim", "victim", true);
        world.broker.lost(old, world.now);
        world.finish();
        world.take_all("victim");
    }
    let sizes = world.broker.sizes();
    assert_eq!(
        (sizes.connections, sizes.sessions, sizes.subscriptions),
        (2, 2, 1)
    );
    assert!(world.broker.held() <= held + 200, "{}", world.broker.held());
    world.clients.get_mut("victim").unwrap().taken.clear();
    world.send("source", &publish(0x32, "t", 1, b"still there"));
    world.take_all("victim");
    let taken = &world.clients["victim"].taken;
    assert!(taken.ends_with(b"still there"), "{taken:02x?}");
}

#[test]
fn queued_messages_leave_memory_when_their_time_has_passed() {
    let mut world = World::new(Settings::default());
    world.connect_v5("source", "source", false);
    world.connect_v5("away", "away", false);
    world.subscribe_v5("away", "t");
    let id = world.clients["away"].id;
    world.broker.lost(id, world.now);
    world.clients.remove("away");
    world.take_all("source");
    let empty = world.broker.held();
    let expiring = |seconds: u8, payload: &[u8]| {
        let body = [
            &b"\x00\x01t\x00\x01\x05\x02\x00\x00\x00"[..],
            &[seconds],
            payload,
        ]
        .concat();
        [&[0x32, body.len() as u8], &body[..]].concat()
    };
    world.send("source", &expiring(2, &[b'x'; 50]));
    world.send("source", &expiring(60, &[b'y'; 50]));
    world.send("source", b"\x32\x07\x00\x01t\x00\x01\x00z");
    world.take_all("source");
    let full = world.broker.held();
    world.now = Time(world.now.0 + 1_999);
    world.tick();
    assert_eq!(world.broker.held(), full);
    world.now = Time(world.now.0 + 1);
    world.tick();
    assert_eq!(world.broker.held(), full - (1 + 50 + 192));
    world.now = Time(world.now.0 + 100_000);
    world.tick();
    assert_eq!(
        world.broker.held(),
        empty + 1 + 1 + 192,
        "the one without a time stays"
    );
}

#[test]
fn what_the_store_would_have_to_keep_waits_while_it_is_behind() {
    let mut world = World::new(Settings::default());
    world.connect("c", true);
    let id = world.clients["c"].id;
    let packets = [
        publish(0x31, "t", 0, b"x"),
        publish(0x32, "t", 1, b"x"),
        publish(0x34, "t", 2, b"x"),
        b"\x82\x06\x00\x03\x00\x01t\x00".to_vec(),
        b"\xa2\x05\x00\x03\x00\x01t".to_vec(),
    ];
    for packet in &packets {
        world.broker.store_is_behind(true, world.now);
        let received = world.broker.receive(id, packet, None, world.now);
        assert_eq!(
            (received.consumed, received.resume_at),
            (0, Some(world.now + 5))
        );
    }
    // Longer and longer, up to a second.
    world.now = world.now + 300;
    world.broker.store_is_behind(true, world.now);
    let received = world.broker.receive(id, &packets[0], None, world.now);
    assert_eq!(received.resume_at, Some(world.now + 300));
    world.now = world.now + 100_000;
    let received = world.broker.receive(id, &packets[0], None, world.now);
    assert_eq!(received.resume_at, Some(world.now + 1_000));
    // That it is not heard is not its silence.
    world.broker.tick(world.now);
    world.finish();
    assert!(!world.clients["c"].closed);
    // What is not kept passes.
    world.send("c", &publish(0x30, "t", 0, b"x"));
    world.send("c", b"\xc0\0");

    world.broker.store_is_behind(false, world.now);
    for packet in &packets {
        world.send("c", packet);
    }
    world.broker.store_is_behind(true, world.now);
    let received = world.broker.receive(id, &packets[0], None, world.now);
    assert_eq!(received.resume_at, Some(world.now + 5));
}

#[test]
fn very_many_subscriptions_leave_with_their_session_a_part_at_a_time() {
    for crosses in [false, true] {
        let mut world = World::new(Settings::default());
        world.connect("other", true);
        world.subscribe("other", "$share/all/many/7", 0);
        world.connect("many", true);
        for number in 0..20_000 {
            world.subscribe("many", &format!("many/{number}"), 0);
        }
        world.subscribe("many", "$share/all/many/7", 0);
        assert_eq!(world.broker.sizes().subscriptions, 20_002);
        world.send("many", b"\xe0\x00");
        let gone = world.clients.remove("many").unwrap();
        world.broker.lost(gone.id, world.now);
        world.finish();
        assert_eq!(world.broker.sizes().subscriptions, 1, "all have ended");
        if crosses {
            world.cross();
        }

        // Who comes back in the meantime has subscriptions of its own.
        world.connect("many", true);
        world.subscribe("many", "many/19999", 0);
        for _ in 0..3 {
            world.send("many", &publish(0x30, "many/7", 0, b"x"));
        }
        let (mut turns, soon) = (0, world.now + 1000);
        while let Some(at) = world.broker.next_deadline().filter(|at| *at < soon) {
            world.now = at;
            turns += world.tick();
        }
        assert_eq!(turns > 1, !crosses, "{turns} turns");
        world.send("other", &publish(0x30, "many/19999", 0, b"x"));
        assert_eq!(world.broker.sizes().subscriptions, 2);
        let mut taken = |name| {
            world.take_all(name);
            world.publishes(name).len()
        };
        assert_eq!((taken("other"), taken("many")), (3, 1));
    }
}

/// A subscription of a client with `filter`; the code that answers it.
fn subscribed(world: &mut World, name: &str, filter: &str) -> u8 {
    let mut body = vec![0, 9];
    body.extend((filter.len() as u16).to_be_bytes());
    body.extend(filter.as_bytes());
    body.push(0);
    let length = [(body.len() & 0x7f) as u8 | 0x80, (body.len() >> 7) as u8];
    world.send(name, &[&[0x82], &length[..], &body].concat());
    world.take_all(name);
    let taken = std::mem::take(&mut world.clients.get_mut(name).unwrap().taken);
    *taken.last().unwrap()
}

#[test]
fn sessions_and_subscriptions_take_no_more_than_the_service_may_hold() {
    const MAX: usize = 1 << 20;
    let mut settings = Settings::default();
    settings.load.max_memory = MAX;
    let mut world = World::new(settings);
    world.connect("many", true);
    let filter = |number: usize| format!("{number:06}/{}", "x".repeat(1_000));
    let made = (0..).find(|number| subscribed(&mut world, "many", &filter(*number)) == 0x80);
    let made = made.unwrap();
    let held = world.broker.held();
    assert!(held > MAX / 4 * 3 && held < MAX / 4 * 3 + 4_096, "{held}");
    // Messages are not concerned.
    assert!(!world.broker.is_overloaded());
    // One that it has may be made anew.
    assert_eq!(subscribed(&mut world, "many", &filter(0)), 0);
    world.connect("other", true);
    world.take_all("other");
    assert_eq!(world.clients["other"].taken, b"\x20\x02\x00\x03");
    assert!(made > 600, "{made}");
    let id = world.clients["many"].id;
    world.broker.lost(id, world.now);
    world.finish();
    for _ in 0..200 {
        world.now = Time(world.now.0 + 1);
        world.tick();
    }
    assert_eq!(world.broker.held(), 0);

    // Sessions that wait for their clients, each with a will.
    let mut sessions = 0;
    loop {
        world.connect_v5("one", &format!("{sessions}"), true);
        if world.clients["one"].closed {
            break;
        }
        let id = world.clients["one"].id;
        world.broker.lost(id, world.now);
        world.finish();
        sessions += 1;
    }
    assert!(sessions > 1_200 && sessions < MAX / 512, "{sessions}");
    let held = world.broker.held();
    assert!(held > MAX / 4 * 3 && held < MAX / 4 * 3 + 4_096, "{held}");
    assert!(!world.broker.is_overloaded());
    // Who has one comes in.
    world.connect_v5("first", "0", true);
    assert!(!world.clients["first"].closed);
    let id = world.clients["first"].id;
    world.broker.lost(id, world.now);
    world.finish();
    world.take_all("first");
    world.take_all("one");
    world.now = Time(world.now.0 + 3_700_000);
    world.tick();
    assert_eq!(world.broker.held(), 0);
}

#[test]
fn retained_messages_leave_memory_when_their_time_has_passed_also_over_a_swap() {
    let mut world = World::new(Settings::default());
    world.connect_v5("source", "source", false);
    world.take_all("source");
    let empty = world.broker.held();
    for number in 0..100u8 {
        let body = [
            &b"\x00\x04r/"[..],
            &[b'0' + number / 10, b'0' + number % 10],
            // Message expiry interval 60 s.
            b"\x05\x02\x00\x00\x00\x3c",
            &[b'x'; 50],
        ]
        .concat();
        world.send("source", &[&[0x31, body.len() as u8], &body[..]].concat());
    }
    let full = world.broker.held();
    assert!(full > empty + 100 * 50, "{full}");
    for wait in [20_000, 39_999] {
        world.now = Time(world.now.0 + wait);
        world.tick();
        world.cross();
        assert_eq!(world.broker.held(), full);
    }
    world.now = Time(world.now.0 + 1);
    world.tick();
    assert_eq!(world.broker.sizes().retained, 0);
    assert_eq!(world.broker.held(), empty);
}

#[test]
fn the_will_of_a_client_that_did_not_cross_is_forgotten_when_it_is_back_in_time() {
    let connect = b"\x00\x04MQTT\x04\x06\x00\x00\x00\x03one\x00\x04will\x00\x04gone";
    let mut world = World::new(Settings::default());
    world.connect("watcher", true);
    world.subscribe("watcher", "will", 0);
    for back in [true, false] {
        world.connect_with("one", connect);
        let gone = world.clients.remove("one").unwrap();
        let number = world.broker.connection_number(gone.id);
        world.take_all("watcher");
        world.clients.get_mut("watcher").unwrap().taken.clear();
        world.cross();
        assert!(number.is_some());
        world.now = Time(world.now.0 + 1_000);
        if back {
            world.connect_with("one", connect);
        }
        world.broker.abandon(world.now);
        world.finish();
        world.take_all("watcher");
        let wills = world.publishes("watcher").len();
        assert_eq!(wills, usize::from(!back), "back: {back}");
        if let Some(one) = world.clients.remove("one") {
            // It leaves in order.
            world.broker.receive(one.id, b"\xe0\x00", None, world.now);
            world.finish();
        }
    }
}
