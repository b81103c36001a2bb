//! What an account left behind, once it may not publish there any more: retained messages and wills.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    Absent, AllowAll, Authorizer, Broker, ConnectionId, Extent, Limits, Settings, Time,
};

const NOW: Time = Time(1_000_000);

/// A client of an account.
struct Of(&'static str);

impl Authorizer for Of {
    fn may_publish(&self, _: &str) -> bool {
        true
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::Every
    }
    fn may_receive(&self, _: &str) -> bool {
        true
    }
    fn account(&self) -> Option<&str> {
        Some(self.0)
    }
}

/// Alice may publish, or not any more.
#[derive(Default)]
struct Alice(AtomicBool);

impl Absent for Alice {
    fn may_publish(&self, account: &str, client_id: &str, topic_name: &str) -> bool {
        assert_eq!((account, client_id, topic_name), ("alice", "p", "t"));
        self.0.load(Ordering::Relaxed)
    }
}

fn send(broker: &mut Broker, id: ConnectionId, packet: &[u8], rights: Arc<dyn Authorizer>) {
    if broker.receive(id, packet, None, NOW).login.is_some() {
        broker.login_answer(id, Ok(rights), NOW);
    }
}

/// Everything that goes to a connection now.
fn output(broker: &mut Broker, id: ConnectionId) -> Vec<u8> {
    while broker.next_touched().is_some() {}
    broker.output(id).unwrap().pieces().concat()
}

/// What a new client gets of the topic beside CONNACK and SUBACK.
fn retained(broker: &mut Broker) -> Vec<u8> {
    let id = broker.open(Arc::default(), Limits::default(), NOW);
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01s";
    send(broker, id, connect, Arc::new(AllowAll));
    let subscribe = b"\x82\x06\x00\x01\x00\x01t\x00";
    send(broker, id, subscribe, Arc::new(AllowAll));
    let out = output(broker, id);
    assert_eq!(out[..9], *b"\x20\x02\x00\x00\x90\x03\x00\x01\x00");
    broker.lost(id, NOW);
    out[9..].to_vec()
}

/// A broker with a retained message of alice's, and the state of its store.
fn broker(settings: Settings) -> (Broker, Arc<Alice>, State) {
    let mut broker = Broker::new(settings, || 7, NOW);
    let id = broker.open(Arc::default(), Limits::default(), NOW);
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p";
    send(&mut broker, id, connect, Arc::new(Of("alice")));
    send(&mut broker, id, b"\x31\x04\x00\x01tm", Arc::new(AllowAll));
    broker.lost(id, NOW);
    let mut state = State::default();
    read_frames(broker.journal().bytes(), |record| state.apply(record));
    broker.journal().clear();
    let alice = Arc::new(Alice::default());
    broker.set_absent(alice.clone());
    (broker, alice, state)
}

#[test]
fn a_retained_message_waits_for_the_right_of_its_publisher() {
    let (before, alice, state) = broker(Settings::default());
    let mut restored = Broker::new(Settings::default(), || 7, NOW);
    restored.restore(state);
    let exported = before.export(NOW, |_| false);
    let imported = Broker::import(Settings::default(), || 7, &exported, NOW).unwrap();
    for mut broker in [before, restored, imported] {
        broker.set_absent(alice.clone());
        alice.0.store(true, Ordering::Relaxed);
        assert_eq!(retained(&mut broker), b"\x31\x04\x00\x01tm");
        alice.0.store(false, Ordering::Relaxed);
        assert_eq!(retained(&mut broker), b"");
        let mut seen = Vec::new();
        let mut cursor = broker.look_for_retained(None).unwrap();
        broker.look_at_retained(&mut cursor, (9, 9), |view| {
            seen.push((view.publisher.map(str::to_owned), view.since));
        });
        assert_eq!(seen, [(Some("alice".to_owned()), Some(NOW))]);
    }
}

#[test]
fn it_does_not_where_the_operator_says_so() {
    let mut settings = Settings::default();
    settings.rules.check_retained_source = false;
    let (mut broker, _, _) = broker(settings);
    assert_eq!(retained(&mut broker), b"\x31\x04\x00\x01tm");
}

#[test]
fn a_will_is_not_published_without_the_right() {
    for (right, published) in [(true, &b"\x30\x04\x00\x01tw"[..]), (false, b"")] {
        let (mut broker, alice, _) = broker(Settings::default());
        let reader = broker.open(Arc::default(), Limits::default(), NOW);
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01s";
        send(&mut broker, reader, connect, Arc::new(AllowAll));
        let subscribe = b"\x82\x06\x00\x01\x00\x01t\x00";
        send(&mut broker, reader, subscribe, Arc::new(AllowAll));
        output(&mut broker, reader);
        let id = broker.open(Arc::default(), Limits::default(), NOW);
        let connect = b"\x10\x13\x00\x04MQTT\x04\x06\x00\x00\x00\x01p\x00\x01t\x00\x01w";
        send(&mut broker, id, connect, Arc::new(Of("alice")));
        alice.0.store(right, Ordering::Relaxed);
        broker.lost(id, NOW);
        let out = broker.output(reader).unwrap().pieces().concat();
        assert!(out.ends_with(published), "{out:02x?}");
        assert_eq!(out.windows(2).any(|it| it == b"tw"), right, "{out:02x?}");
    }
}

#[test]
fn nor_after_a_restart() {
    let (mut before, ..) = broker(Settings::default());
    let id = before.open(Arc::default(), Limits::default(), NOW);
    // A session that ends with its connection, in the store for its will alone.
    let connect = b"\x10\x13\x00\x04MQTT\x04\x06\x00\x00\x00\x01p\x00\x01t\x00\x01w";
    send(&mut before, id, connect, Arc::new(Of("alice")));
    let mut recorded = State::default();
    read_frames(before.journal().bytes(), |record| recorded.apply(record));
    before.journal().clear();
    let (mut image, mut walk) = (State::default(), Default::default());
    while !before.write_image(&mut walk, usize::MAX, NOW) {}
    read_frames(before.journal().bytes(), |record| image.apply(record));
    for state in [recorded, image] {
        for right in [true, false] {
            let mut broker = Broker::new(Settings::default(), || 7, NOW);
            broker.restore(state.clone());
            broker.set_absent(Arc::new(Alice(AtomicBool::new(right))));
            let reader = broker.open(Arc::default(), Limits::default(), NOW);
            let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01s";
            send(&mut broker, reader, connect, Arc::new(AllowAll));
            let subscribe = b"\x82\x06\x00\x01\x00\x01t\x00";
            send(&mut broker, reader, subscribe, Arc::new(AllowAll));
            broker.tick(NOW + 60_000);
            let out = output(&mut broker, reader);
            assert_eq!(out.windows(2).any(|it| it == b"tw"), right, "{out:02x?}");
        }
    }
}

#[test]
fn a_delayed_message_is_its_accounts_whoever_has_the_name_by_then() {
    let mut before = Broker::new(Settings::default(), || 7, NOW);
    let id = before.open(Arc::default(), Limits::default(), NOW);
    let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01p";
    send(&mut before, id, connect, Arc::new(Of("alice")));
    let delayed = b"\x31\x0f\x00\x0c$delayed/1/tm";
    send(&mut before, id, delayed, Arc::new(AllowAll));
    before.lost(id, NOW);
    let mut recorded = State::default();
    read_frames(before.journal().bytes(), |record| recorded.apply(record));
    before.journal().clear();
    assert_eq!(recorded.delayed.len(), 1);
    let exported = before.export(NOW, |_| false);
    for restored in [true, false] {
        for right in [true, false] {
            let mut broker = match restored {
                true => {
                    let mut broker = Broker::new(Settings::default(), || 7, NOW);
                    broker.restore(recorded.clone());
                    broker
                }
                false => Broker::import(Settings::default(), || 7, &exported, NOW).unwrap(),
            };
            broker.set_absent(Arc::new(Alice(AtomicBool::new(right))));
            // The name is another account's by now.
            let id = broker.open(Arc::default(), Limits::default(), NOW);
            send(&mut broker, id, connect, Arc::new(Of("bob")));
            broker.tick(NOW + 1_000);
            let kept: &[u8] = if right { b"\x31\x04\x00\x01tm" } else { b"" };
            assert_eq!(retained(&mut broker), kept);
            let mut cursor = broker.look_for_retained(None).unwrap();
            let mut publishers = Vec::new();
            broker.look_at_retained(&mut cursor, (9, 9), |view| {
                publishers.extend(view.publisher.map(str::to_owned));
            });
            assert_eq!(publishers, vec!["alice"; usize::from(right)]);
        }
    }
}
