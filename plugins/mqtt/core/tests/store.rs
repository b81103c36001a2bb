//! What the store is told of messages that change hands among the members of a shared subscription, and what waits
//! for it.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::broker::Walk;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    AllowAll, Authorizer, Broker, ConnectionId, Extent, Limits, Settings, Time,
};

const NOW: Time = Time(1_000_000);
const SUBSCRIBE: &[u8] = b"\x82\x0f\x00\x01\x00\x0a$share/g/t\x01";

fn send(broker: &mut Broker, id: ConnectionId, packet: &[u8]) -> Vec<u8> {
    if broker.receive(id, packet, None, NOW).login.is_some() {
        broker.login_answer(id, Ok(Arc::new(AllowAll)), NOW);
    }
    while broker.next_touched().is_some() {}
    broker.output(id).unwrap().pieces().concat()
}

fn connect(broker: &mut Broker, client: u8, clean: u8) -> (ConnectionId, Vec<u8>) {
    let id = broker.open(Arc::default(), Limits::default(), NOW);
    let connect = [
        b"\x10\x0d\x00\x04MQTT\x04",
        &[clean << 1, 0, 0, 0, 1, client][..],
    ];
    let answer = send(broker, id, &connect.concat());
    (id, answer)
}

fn store(broker: &mut Broker, stored: &mut Vec<u8>) {
    stored.extend_from_slice(broker.journal().bytes());
    broker.journal().clear();
}

#[test]
fn what_goes_from_one_member_to_another_while_the_store_is_written_anew_stays_in_it() {
    // The member that gets it is written after so many steps, and the one that had it is not.
    for steps in 0..10 {
        let mut broker = Broker::new(Settings::default(), || 7, NOW);
        let (stays, _) = connect(&mut broker, b's', 0);
        send(&mut broker, stays, SUBSCRIBE);
        broker.lost(stays, NOW);
        let (leaves, _) = connect(&mut broker, b'l', 0);
        send(&mut broker, leaves, SUBSCRIBE);
        let (publisher, _) = connect(&mut broker, b'p', 1);
        let acknowledged = send(&mut broker, publisher, b"\x32\x06\x00\x01t\x00\x07m");
        assert_eq!(acknowledged, b"\x40\x02\x00\x07");
        let mut stored = Vec::new();
        store(&mut broker, &mut stored);

        let (begin, mut walk) = (stored.len(), Walk::default());
        for _ in 0..steps {
            broker.write_image(&mut walk, 1, NOW);
            store(&mut broker, &mut stored);
        }
        connect(&mut broker, b'l', 1);
        store(&mut broker, &mut stored);
        while !broker.write_image(&mut walk, 1, NOW) {
            store(&mut broker, &mut stored);
        }
        store(&mut broker, &mut stored);

        let mut state = State::default();
        read_frames(&stored[begin..], |record| state.apply(record));
        let mut broker = Broker::new(Settings::default(), || 7, NOW);
        broker.restore(state);
        let (_, got) = connect(&mut broker, b's', 0);
        assert_eq!(
            got, b"\x20\x02\x01\x00\x32\x06\x00\x01t\x00\x01m",
            "after {steps}"
        );
    }
}

#[derive(Clone, Copy, Debug)]
enum Way {
    Stays,
    HandedOver,
    Restarted,
    RestartedFromImage,
}

#[test]
fn what_a_member_did_not_acknowledge_goes_on_when_its_session_ends_also_after_unsubscribe() {
    for way in [
        Way::Stays,
        Way::HandedOver,
        Way::Restarted,
        Way::RestartedFromImage,
    ] {
        let mut broker = Broker::new(Settings::default(), || 7, NOW);
        let mut stored = Vec::new();
        let (leaves, _) = connect(&mut broker, b'l', 0);
        send(&mut broker, leaves, SUBSCRIBE);
        let (publisher, _) = connect(&mut broker, b'p', 1);
        send(&mut broker, publisher, b"\x32\x06\x00\x01t\x00\x07m");
        let got = send(&mut broker, leaves, b"\xc0\x00");
        assert_eq!(got, b"\x32\x06\x00\x01t\x00\x01m\xd0\x00");
        send(&mut broker, leaves, b"\xa2\x0e\x00\x02\x00\x0a$share/g/t");
        let (stays, _) = connect(&mut broker, b's', 0);
        send(&mut broker, stays, SUBSCRIBE);
        broker.lost(stays, NOW);
        broker.lost(leaves, NOW);
        store(&mut broker, &mut stored);
        match way {
            Way::Stays => {}
            Way::HandedOver => {
                let exported = broker.export(NOW, |_| false);
                broker = Broker::import(Settings::default(), || 7, &exported, NOW).unwrap();
            }
            Way::Restarted | Way::RestartedFromImage => {
                if let Way::RestartedFromImage = way {
                    stored.clear();
                    let mut walk = Walk::default();
                    while !broker.write_image(&mut walk, 1, NOW) {}
                    store(&mut broker, &mut stored);
                }
                let mut state = State::default();
                read_frames(&stored, |record| state.apply(record));
                assert_eq!(state.finish(), [""; 0]);
                let (mut again, read) = (State::default(), state.to_journal());
                read_frames(read.bytes(), |record| again.apply(record));
                assert_eq!(again.finish(), [""; 0]);
                broker = Broker::new(Settings::default(), || 7, NOW);
                broker.restore(again);
            }
        }
        connect(&mut broker, b'l', 1);
        let (_, got) = connect(&mut broker, b's', 0);
        assert_eq!(
            got, b"\x20\x02\x01\x00\x32\x06\x00\x01t\x00\x01m",
            "{way:?}"
        );
    }
}

#[test]
fn shares_that_are_left_take_no_more_memory_than_what_is_in_flight() {
    let mut broker = Broker::new(Settings::default(), || 7, NOW);
    let (leaves, _) = connect(&mut broker, b'l', 0);
    send(&mut broker, leaves, SUBSCRIBE);
    let (publisher, _) = connect(&mut broker, b'p', 1);
    send(&mut broker, publisher, b"\x32\x06\x00\x01t\x00\x07m");
    let size = |broker: &Broker| broker.export(NOW, |_| true).len();
    let mut after_one = 0;
    for group in b'h'..=b'z' {
        let filter = [b"\x00\x0a$share/", &[group][..], b"/t"].concat();
        let subscribe = [b"\x82\x0f\x00\x01", &filter[..], b"\x01"].concat();
        send(&mut broker, leaves, &subscribe);
        let unsubscribe = [b"\xa2\x0e\x00\x01", &filter[..]].concat();
        send(&mut broker, leaves, &unsubscribe);
        if group == b'h' {
            after_one = size(&broker);
        }
    }
    assert_eq!(size(&broker), after_one);
}

#[test]
fn qos_2_that_waited_in_a_queue_follows_the_record_that_it_came() {
    let settings = Settings {
        max_inflight_messages: 1,
        ..Settings::default()
    };
    let mut broker = Broker::new(settings, || 7, NOW);
    let (reader, _) = connect(&mut broker, b'r', 1);
    send(&mut broker, reader, b"\x82\x06\x00\x01\x00\x01t\x02");
    let (source, _) = connect(&mut broker, b's', 0);
    for identifier in [1, 2] {
        broker.journal().clear();
        let publish = [b"\x34\x06\x00\x01t\x00", &[identifier, b'm'][..]].concat();
        send(&mut broker, source, &publish);
        assert!(broker.journal().must_commit());
    }
    broker.journal().clear();
    let got = send(&mut broker, reader, b"\x50\x02\x00\x01");
    assert_eq!(got, b"\x34\x06\x00\x01t\x00\x01m\x62\x02\x00\x01");
    assert!(!broker.journal().must_commit());
    let got = send(&mut broker, reader, b"\x70\x02\x00\x01");
    assert_eq!(got, b"\x34\x06\x00\x01t\x00\x02m");
    // The reader's session is not stored: there is no record to wait for but the publisher's.
    assert!(broker.journal().is_empty() && broker.journal().must_commit());
    broker.journal().clear();
    assert!(!broker.journal().must_commit());
}

/// An account that may do nothing any more.
struct Nothing;

impl Authorizer for Nothing {
    fn may_publish(&self, _: &str) -> bool {
        false
    }
    fn may_subscribe(&self, _: &str) -> Extent {
        Extent::None
    }
    fn may_receive(&self, _: &str) -> bool {
        false
    }
}

#[test]
fn what_a_member_may_not_receive_any_more_goes_to_another() {
    let mut broker = Broker::new(Settings::default(), || 7, NOW);
    let (leaves, _) = connect(&mut broker, b'l', 0);
    send(&mut broker, leaves, SUBSCRIBE);
    broker.lost(leaves, NOW);
    let (publisher, _) = connect(&mut broker, b'p', 1);
    send(&mut broker, publisher, b"\x32\x06\x00\x01t\x00\x07m");
    let (stays, _) = connect(&mut broker, b's', 0);
    send(&mut broker, stays, SUBSCRIBE);
    broker.lost(stays, NOW);
    let id = broker.open(Arc::default(), Limits::default(), NOW);
    let packet = b"\x10\x0d\x00\x04MQTT\x04\x00\x00\x00\x00\x01l";
    assert!(broker.receive(id, packet, None, NOW).login.is_some());
    broker.login_answer(id, Ok(Arc::new(Nothing)), NOW);
    let (_, got) = connect(&mut broker, b's', 0);
    assert_eq!(got, b"\x20\x02\x01\x00\x32\x06\x00\x01t\x00\x01m");
}
