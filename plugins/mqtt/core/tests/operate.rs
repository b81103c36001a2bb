//! What an operator sees and does: pages of sessions, kicks, retained messages, who listens, and the `$SYS` tree.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::BTreeMap;
use std::sync::Arc;

use polyport_mqtt_core::broker::{SysFacts, Totals};
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

struct World {
    broker: Broker,
    now: Time,
    state: State,
}

impl World {
    fn new() -> World {
        let now = Time(1_000_000);
        World {
            broker: Broker::new(Settings::default(), || 7, now),
            now,
            state: State::default(),
        }
    }

    /// Takes what goes to the store, and what goes to each connection.
    fn finish(&mut self) -> BTreeMap<ConnectionId, Vec<u8>> {
        let journal = self.broker.journal();
        let state = &mut self.state;
        read_frames(journal.bytes(), |record| state.apply(record));
        journal.clear();
        let mut out = BTreeMap::new();
        while let Some(id) = self.broker.next_touched() {
            if let Some(output) = self.broker.output(id) {
                out.insert(id, output.pieces().concat());
            }
        }
        out
    }

    fn send(&mut self, id: ConnectionId, packet: &[u8]) -> Vec<u8> {
        let received = self.broker.receive(id, packet, None, self.now);
        assert_eq!(received.consumed, packet.len());
        if received.login.is_some() {
            self.broker
                .login_answer(id, Ok(Arc::new(AllowAll)), self.now);
        }
        self.finish().remove(&id).unwrap_or_default()
    }

    /// A 5.0 client whose session lasts so many seconds.
    fn connect(&mut self, client_id: &str, expiry: u32) -> ConnectionId {
        let id = self
            .broker
            .open(Arc::default(), Limits::default(), self.now);
        let mut body = b"\x00\x04MQTT\x05\x00\x00\x3c\x05\x11".to_vec();
        body.extend_from_slice(&expiry.to_be_bytes());
        body.extend_from_slice(&(client_id.len() as u16).to_be_bytes());
        body.extend_from_slice(client_id.as_bytes());
        let answer = self.send(id, &packet(0x10, &body));
        assert_eq!(answer.first(), Some(&0x20));
        id
    }

    fn subscribe(&mut self, id: ConnectionId, filter: &str, qos: u8) {
        let mut body = vec![0, 1, 0, 0, filter.len() as u8];
        body.extend_from_slice(filter.as_bytes());
        body.push(qos);
        self.send(id, &packet(0x82, &body));
    }

    /// QoS 0, or 1 with the packet identifier 9.
    fn publish(&mut self, id: ConnectionId, topic: &str, payload: &str, first: u8) {
        let mut body = vec![0, topic.len() as u8];
        body.extend_from_slice(topic.as_bytes());
        if first & 6 != 0 {
            body.extend_from_slice(&[0, 9]);
        }
        body.push(0);
        body.extend_from_slice(payload.as_bytes());
        self.send(id, &packet(first, &body));
    }

    fn sessions(&self, slots: u32) -> Vec<String> {
        let (mut seen, mut from) = (Vec::new(), 0);
        loop {
            let next = self.broker.look_at_sessions(from, slots, |view| {
                seen.push(view.client_id().to_owned());
            });
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        seen.sort();
        seen
    }

    fn retained(&self, filter: Option<&str>, wanted: usize) -> Vec<String> {
        let mut cursor = self.broker.look_for_retained(filter).unwrap();
        let mut seen = Vec::new();
        for _ in 0..10_000 {
            let mut page = 0;
            let more = self
                .broker
                .look_at_retained(&mut cursor, (wanted, 8), |view| {
                    page += 1;
                    seen.push(view.message.topic.to_string());
                });
            assert!(page <= wanted);
            if !more {
                return seen;
            }
        }
        panic!("no end");
    }

    fn publish_sys(&mut self) {
        let mut totals = Totals::default();
        assert_eq!(self.broker.sum(0, u32::MAX, &mut totals), None);
        let facts = SysFacts {
            version: "x 1",
            heap: None,
            totals,
        };
        self.broker.publish_sys(&facts, self.now);
    }

    fn sys(&self, name: &str) -> String {
        let mut cursor = self
            .broker
            .look_for_retained(Some(&format!("$SYS/broker/{name}")))
            .unwrap();
        let mut value = None;
        self.broker.look_at_retained(&mut cursor, (1, 100), |view| {
            value = Some(String::from_utf8(view.message.payload.to_vec()).unwrap());
        });
        value.unwrap_or_else(|| panic!("no {name}"))
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

#[test]
fn sessions_are_shown_once_each_whatever_the_pages() {
    let mut world = World::new();
    let names: Vec<String> = (0..20).map(|number| format!("c{number:02}")).collect();
    let ids: Vec<_> = names.iter().map(|name| world.connect(name, 60)).collect();
    for id in &ids[..10] {
        world.broker.lost(*id, world.now);
    }
    for slots in [1, 3, 20, u32::MAX] {
        assert_eq!(world.sessions(slots), names, "{slots}");
    }
    let mut totals = Totals::default();
    world.broker.sum(0, 100, &mut totals);
    assert_eq!((totals.connected, totals.disconnected), (10, 10));
}

#[test]
fn a_session_shows_what_waits_and_who_it_is() {
    let mut world = World::new();
    let reader = world.connect("reader", 60);
    world.subscribe(reader, "a/#", 1);
    let writer = world.connect("writer", 0);
    world.publish(writer, "a/b", "under way", 0x32);
    world.broker.lost(reader, world.now);
    world.publish(writer, "a/b", "waits", 0x32);
    let seen = world.broker.look_at_session("reader", |view| {
        assert_eq!((view.in_flight(), view.in_flight_bytes()), (1, 3 + 9));
        assert_eq!((view.queued(), view.queued_bytes()), (1, 3 + 5));
        assert_eq!(
            view.filters().map(|(filter, _)| filter).collect::<Vec<_>>(),
            ["a/#"]
        );
        assert_eq!(view.ends_at(), Some(Time(1_060_000)));
        assert!(view.connection().is_none() && view.durable());
    });
    assert!(seen.is_some());
    world.broker.look_at_session("writer", |view| {
        let connection = view.connection().unwrap();
        assert_eq!(connection.keep_alive, Some(60));
        assert_eq!(connection.since, world.now);
    });
    assert!(world.broker.look_at_session("nobody", |_| ()).is_none());
}

#[test]
fn a_kick_says_why_and_leaves_the_session_unless_asked() {
    let mut world = World::new();
    let id = world.connect("c", 60);
    let kicked = world.broker.kick("c", false, world.now);
    assert!(kicked.connected && !kicked.session);
    let said = world.finish().remove(&id).unwrap();
    // DISCONNECT, administrative action, with a reason string.
    assert_eq!((said[0], said[2]), (0xe0, 0x98));
    assert!(said.ends_with(b"closed by the operator"));
    // Two at once: the second finds nobody.
    let again = world.broker.kick("c", false, world.now);
    assert!(!again.connected && !again.session);
    assert_eq!(world.sessions(8), ["c"]);
    let ended = world.broker.kick("c", true, world.now);
    assert!(!ended.connected && ended.session);
    world.finish();
    assert!(world.sessions(8).is_empty() && world.state.sessions.is_empty());
    // With its session at once, also one that lasts no longer than its connection.
    for (client_id, expiry) in [("d", 60), ("e", 0)] {
        world.connect(client_id, expiry);
        let kicked = world.broker.kick(client_id, true, world.now);
        assert!(kicked.connected && kicked.session, "{client_id}");
        assert!(world.sessions(8).is_empty());
    }
}

#[test]
fn retained_messages_come_in_pages_and_go_from_the_store() {
    let mut world = World::new();
    let id = world.connect("c", 0);
    for number in 0..30 {
        world.publish(id, &format!("a/{number:02}"), "x", 0x31);
    }
    world.publish(id, "b", "x", 0x31);
    world.publish_sys();
    for wanted in [1, 7, 1000] {
        assert_eq!(world.retained(Some("a/+"), wanted).len(), 30, "{wanted}");
        let all = world.retained(None, wanted);
        assert!(all.len() > 31 && all.iter().any(|topic| topic.starts_with("$SYS/")));
        assert_eq!(
            world.retained(Some("#"), wanted).len(),
            31,
            "$SYS is not in #"
        );
    }
    assert!(world.broker.look_for_retained(Some("a/#/b")).is_none());
    world.finish();
    assert_eq!(world.state.retained.len(), 31, "nothing of $SYS is stored");
    assert!(world.broker.remove_retained("a/05", world.now));
    assert!(!world.broker.remove_retained("a/05", world.now));
    world.finish();
    assert_eq!(world.state.retained.len(), 30);
}

#[test]
fn who_listens_hears_what_is_published_and_nobody_else_does() {
    let mut world = World::new();
    let id = world.connect("c", 0);
    let all = world.broker.listen("#");
    let some = world.broker.listen("a/+");
    world.publish(id, "a/b", "one", 0x31);
    world.publish(id, "b", "two", 0x32);
    let heard = world.broker.take_heard();
    let heard: Vec<_> = heard
        .iter()
        .map(|heard| {
            (
                heard.listener,
                &*heard.message.topic,
                heard.client_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        heard,
        [
            (all, "a/b", Some("c")),
            (some, "a/b", Some("c")),
            (all, "b", Some("c"))
        ]
    );
    world.broker.stop_listening(all);
    world.publish(id, "b", "three", 0x30);
    assert!(world.broker.take_heard().is_empty());
    world.broker.stop_listening(some);
}

#[test]
fn the_tree_tells_what_is_so_and_only_what_changed() {
    let mut world = World::new();
    let reader = world.connect("reader", 60);
    world.subscribe(reader, "$SYS/broker/clients/+", 2);
    world.subscribe(reader, "#", 2);
    world.subscribe(reader, "$share/g/a", 1);
    let writer = world.connect("writer", 0);
    world.publish(writer, "a", "hello", 0x33);
    world.finish();
    world.publish_sys();
    let told = world.finish().remove(&reader).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("$SYS/broker/clients/connected") && !told.contains("uptime"));
    for (name, expected) in [
        ("version", "x 1"),
        ("uptime", "0 seconds"),
        ("clients/connected", "2"),
        ("clients/total", "2"),
        ("publish/messages/received", "1"),
        ("publish/bytes/received", "5"),
        ("subscriptions/count", "2"),
        ("shared_subscriptions/count", "1"),
        ("messages/inflight", "2"),
        ("load/publish/received/1min", "0.00"),
    ] {
        assert_eq!(world.sys(name), expected, "{name}");
    }
    world.now = Time(1_010_000);
    world.publish_sys();
    let told = world.finish().remove(&reader);
    assert!(told.is_none(), "nothing of clients changed: {told:?}");
    assert_eq!(world.sys("uptime"), "10 seconds");
    world.broker.lost(writer, world.now);
    world.publish_sys();
    let told = world.finish().remove(&reader).unwrap();
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("clients/connected") && !told.contains("clients/maximum"));
    assert_eq!(world.sys("clients/maximum"), "2");
    assert_eq!(world.sys("clients/expired"), "0");
    world.broker.lost(reader, world.now);
    world.now = Time(1_080_000);
    world.broker.tick(world.now);
    world.publish_sys();
    assert_eq!(world.sys("clients/expired"), "1");
    world.broker.clear_sys(world.now);
    assert_eq!(world.retained(None, 9), ["a"]);
}

#[test]
fn no_client_publishes_to_the_tree() {
    let mut world = World::new();
    let id = world.connect("c", 0);
    world.publish(id, "$SYS/broker/version", "mine", 0x31);
    assert!(world.retained(None, 9).is_empty());
}

#[test]
fn the_tree_goes_on_in_the_next_broker() {
    let mut world = World::new();
    let id = world.connect("c", 60);
    world.subscribe(id, "$SYS/#", 0);
    world.publish(id, "a", "hello", 0x30);
    world.publish_sys();
    world.now = Time(1_010_000);
    world.publish(id, "a", "hello", 0x30);
    world.publish_sys();
    world.finish();
    let average = world.sys("load/publish/received/1min");
    assert_ne!(average, "0.00");
    let exported = world.broker.export(world.now, |_| true);
    let next = Broker::import(Settings::default(), || 7, &exported, world.now).unwrap();
    assert_eq!(next.export(world.now, |_| true), exported);
    assert_eq!(next.counters(), world.broker.counters());
    world.broker = next;
    world.publish_sys();
    assert_eq!(world.sys("load/publish/received/1min"), average);
    world.now = Time(1_020_000);
    world.publish_sys();
    assert_eq!(world.sys("uptime"), "20 seconds");
    assert_eq!(world.sys("publish/messages/received"), "2");
}
