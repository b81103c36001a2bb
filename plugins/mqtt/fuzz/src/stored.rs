//! What a broker is started from: records of a store, and the state of the broker before.

use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::store::state::LAST_NUMBER;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{AllowAll, Broker, Limits, Settings, Time};

use crate::clients::compacted;

const NOW: Time = Time(1_000_000);

/// Records in sound frames, whatever they say: each has a two-byte length before it in the input.
pub fn records(data: &[u8]) {
    let mut nothing = State::default();
    let _ = read_frames(data, |record| nothing.apply(record));
    let mut state = State::default();
    let mut log = Vec::new();
    let mut rest = data;
    while let Some((length, after)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (record, after) = after.split_at(length);
        rest = after;
        if state.apply(record) {
            log.extend(frame(record));
        }
    }
    let mut again = State::default();
    assert_eq!(read_frames(&log, |record| again.apply(record)), log.len());
    assert_eq!(again, state);
    // Cut anywhere, the log is whole up to a frame before.
    let cut = log.len() / 2;
    assert!(read_frames(&log[..cut], |_| true) <= cut);
    compacted(&state);
    assert!(state.last_number <= LAST_NUMBER);
    let (before, doubled) = (state.sessions.len(), state.finish());
    assert_eq!(state.sessions.len() + doubled.len(), before);
    assert!(state.finish().is_empty(), "dropped again");
    compacted(&state);
    let clients: Vec<String> = state
        .sessions
        .values()
        .map(|session| session.client_id.clone())
        .collect();
    let mut broker = Broker::new(Settings::default(), || 7, NOW);
    broker.restore(state);
    let exported = broker.export(NOW, |_| true);
    if let Err(damaged) = Broker::import(Settings::default(), || 7, &exported, NOW) {
        panic!("what was restored cannot be handed on: {damaged}");
    }
    for client in clients.iter().take(8) {
        connect(&mut broker, client);
    }
    broker.tick(NOW.after_seconds(100));
    broker.journal();
}

/// A frame around one record.
fn frame(record: &[u8]) -> Vec<u8> {
    let records = [&(record.len() as u32).to_le_bytes(), record].concat();
    let length = (records.len() as u32).to_le_bytes();
    let crc = crc32fast::hash(&records).to_le_bytes();
    [&length[..], &crc, &records].concat()
}

/// A client that resumes what is there, and takes all that it is sent.
fn connect(broker: &mut Broker, client_id: &str) {
    let Ok(length) = u16::try_from(client_id.len()) else {
        return;
    };
    let body = [
        &b"\x00\x04MQTT\x05\x00\x00\x00\x00"[..],
        &length.to_be_bytes(),
        client_id.as_bytes(),
    ]
    .concat();
    if body.len() > 127 {
        return;
    }
    let id = broker.open(Arc::new(Meter::default()), Limits::default(), NOW);
    let packet = [&[0x10, body.len() as u8], &body[..]].concat();
    if broker.receive(id, &packet, None, NOW).login.is_some() {
        broker.login_answer(id, Ok(Arc::new(AllowAll)), NOW);
    }
    broker.receive(id, b"\xc0\x00", None, NOW);
    take_all(broker);
}

fn take_all(broker: &mut Broker) {
    while let Some(id) = broker.next_touched() {
        if let Some(output) = broker.output(id) {
            output.pieces();
        }
    }
}

/// The state of a broker: refused, or a broker that works and can be handed over itself.
pub fn handover(data: &[u8]) {
    let Ok(mut broker) = Broker::import(Settings::default(), || 7, data, NOW) else {
        return;
    };
    let sizes = broker.sizes();
    let exported = broker.export(NOW, |_| true);
    let again = match Broker::import(Settings::default(), || 7, &exported, NOW) {
        Ok(again) => again.sizes(),
        Err(damaged) => panic!("what was taken cannot be handed on: {damaged}"),
    };
    assert_eq!(
        (again.sessions, again.subscriptions, again.retained),
        (sizes.sessions, sizes.subscriptions, sizes.retained)
    );
    for number in 0..20 {
        let meter = Arc::new(Meter::default());
        if let Some(id) = broker.attach(number, Some(Arc::new(AllowAll)), meter, 0, NOW) {
            broker.receive(
                id,
                b"\xc0\x00\x32\x06\x00\x01t\x00\x09x\x82\x06\x00\x01\x00\x01#\x02",
                None,
                NOW,
            );
            take_all(&mut broker);
        }
    }
    broker.abandon(NOW);
    connect(&mut broker, "a");
    broker.tick(NOW.after_seconds(100));
    broker.journal();
}
