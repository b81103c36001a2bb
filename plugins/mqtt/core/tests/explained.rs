//! Reason strings: only for clients that take them (3.14.2.2.3, 3.1.2.11.4, 3.1.2.11.7).

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

fn connected(connect: &[u8]) -> (Broker, ConnectionId) {
    let mut broker = Broker::new(Settings::default(), || 7, Time(0));
    let id = broker.open(Arc::new(Meter::default()), Limits::default(), Time(0));
    assert!(broker.receive(id, connect, None, Time(1)).login.is_some());
    broker.login_answer(id, Ok(Arc::new(AllowAll)), Time(1));
    assert_eq!(sent(&mut broker)[0], 0x20);
    (broker, id)
}

fn sent(broker: &mut Broker) -> Vec<u8> {
    let mut sent = Vec::new();
    while let Some(id) = broker.next_touched() {
        if let Some(output) = broker.output(id) {
            sent.extend(output.pieces().into_iter().flatten());
        }
    }
    broker.journal().clear();
    sent
}

#[test]
fn a_disconnect_explains_itself_to_who_takes_it() {
    let plain = b"\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01c";
    let small = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x05\x27\x00\x00\x00\x14\x00\x01c";
    let silent = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x02\x17\x00\x00\x01c";
    let explained = |what: &str| {
        let length = what.len() as u8;
        let head = [0xe0, length + 5, 0x8b, length + 3, 0x1f, 0, length];
        [&head[..], what.as_bytes()].concat()
    };
    for (connect, expected) in [
        (&plain[..], explained("server shutting down")),
        (small, vec![0xe0, 1, 0x8b]),
        (silent, vec![0xe0, 1, 0x8b]),
    ] {
        let (mut broker, _) = connected(connect);
        broker.shut_down(Time(2));
        assert_eq!(sent(&mut broker), expected, "{connect:02x?}");
    }
    let (mut broker, id) = connected(plain);
    broker.revoke(id, Time(2));
    let mut expected = explained("account changed or removed");
    expected[2] = 0x87;
    assert_eq!(sent(&mut broker), expected);
}
