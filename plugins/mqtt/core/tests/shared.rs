//! Messages that change hands among the members of a shared subscription, and the store.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::broker::Walk;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

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
