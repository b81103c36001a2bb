//! What a million subscriptions cost: resident bytes each beyond their text, and the time to match a topic name of
//! five levels. `cargo run --release -p polyport-mqtt-core --example subscriptions [SUBSCRIPTIONS [SESSIONS]]`

use std::sync::Arc;
use std::time::Instant;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::{AllowAll, Broker, ConnectionId, Limits, Settings, Time};

const NOW: Time = Time(0);

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u32| -> u32 {
        let given = arguments.next();
        given
            .and_then(|given| given.parse().ok())
            .unwrap_or(default)
    };
    let (subscriptions, sessions) = (number(1_000_000), number(1000));
    let settings = Settings {
        max_subscriptions: usize::MAX,
        ..Settings::default()
    };
    let mut broker = Broker::new(settings, || 1, NOW);
    let clients: Vec<_> = (0..sessions).map(|n| connect(&mut broker, n)).collect();
    let (before, mut text) = (resident(), 0);
    for n in 0..subscriptions {
        let filter = topic(n);
        text += filter.len();
        let client = clients[(n % sessions) as usize];
        let packet = with_length(0x82, &[&[0, 1][..], &string(&filter), &[0]].concat());
        take(&mut broker, client, &packet);
    }
    let bytes = (resident() - before - text) as f64 / f64::from(subscriptions);
    println!(
        "{subscriptions} subscriptions of {sessions} sessions: {bytes:.0} bytes each beyond the text"
    );

    let publisher = connect(&mut broker, sessions);
    let packets: Vec<_> = (0..200_000u32)
        .map(|n| topic(n.wrapping_mul(2_654_435_761) % subscriptions))
        .map(|name| with_length(0x30, &string(&name)))
        .collect();
    let start = Instant::now();
    for packet in &packets {
        take(&mut broker, publisher, packet);
    }
    let each = start.elapsed() / packets.len() as u32;
    // Where the last one went is known.
    let start = Instant::now();
    for _ in &packets {
        take(&mut broker, publisher, &packets[0]);
    }
    let known = start.elapsed() / packets.len() as u32;
    println!(
        "PUBLISH to one of them: {each:?}; matching it: {:?}",
        each.saturating_sub(known)
    );
}

/// Five levels, as a fleet has them.
fn topic(n: u32) -> String {
    format!("fleet/{}/{}/device{n}/state", n % 10, n / 1000 % 100)
}

fn connect(broker: &mut Broker, n: u32) -> ConnectionId {
    let client = broker.open(Arc::new(Meter::default()), Limits::default(), NOW);
    let packet = with_length(
        0x10,
        &[
            &b"\x00\x04MQTT\x04\x02\x00\x00"[..],
            &string(&format!("c{n}")),
        ]
        .concat(),
    );
    broker.receive(client, &packet, None, NOW);
    broker.login_answer(client, Ok(Arc::new(AllowAll)), NOW);
    drain(broker);
    client
}

fn take(broker: &mut Broker, client: ConnectionId, packet: &[u8]) {
    broker.receive(client, packet, None, NOW);
    drain(broker);
}

fn drain(broker: &mut Broker) {
    while let Some(client) = broker.next_touched() {
        if let Some(output) = broker.output(client).and_then(|output| output.buffer()) {
            output.clear();
        }
    }
    broker.take_events();
    broker.journal().clear();
}

fn string(text: &str) -> Vec<u8> {
    let length = (text.len() as u16).to_be_bytes();
    [&length[..], text.as_bytes()].concat()
}

/// A packet of fewer than 128 bytes.
fn with_length(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first, body.len() as u8][..], body].concat()
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.unwrap_or(0) * 4096
}
