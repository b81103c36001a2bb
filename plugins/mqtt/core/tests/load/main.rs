//! Clients that are too slow, too fast or too many: what they cost, and that others do not wait for them.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

mod readers;
mod world;

use polyport_mqtt_core::{Settings, Time};

use world::{World, publish};

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
