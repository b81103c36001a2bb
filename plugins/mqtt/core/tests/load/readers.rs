//! Readers that do not keep up.

use polyport_mqtt_core::{Settings, Time};

use crate::world::{World, publish};

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
fn a_few_who_take_nothing_leave_room_for_others() {
    let mut settings = Settings {
        persistence: false,
        ..Settings::default()
    };
    settings.load.max_memory = 16 << 20;
    let mut world = World::new(settings);
    let names: Vec<&'static str> = (0..20)
        .map(|number| &*Box::leak(format!("never{number}").into_boxed_str()))
        .collect();
    for name in &names {
        world.connect(name, true);
        world.subscribe(name, "flood", 0);
    }
    world.connect("source", true);
    world.take_all("source");
    let packet = publish(0x30, "flood", 0, &[b'x'; 10_000]);
    for _ in 0..1_000 {
        world.send("source", &packet);
    }
    let held = world.broker.held();
    let least = (16 << 20) / 2;
    assert!((least..(16 << 20) / 4 * 3).contains(&held), "{held}");
    // What one may let wait grows as others go.
    for name in names.iter().skip(1) {
        world.broker.lost(world.clients[name].id, world.now);
        world.clients.remove(name);
    }
    let alone = world.broker.held();
    for _ in 0..1_000 {
        world.send("source", &packet);
    }
    let held = world.broker.held();
    assert!(held > 2 * alone && held < 2 << 20, "{alone}, {held}");
}

#[test]
fn who_takes_nothing_for_a_second_is_given_up_before_others_have_to_wait() {
    let mut settings = Settings {
        persistence: false,
        ..Settings::default()
    };
    settings.load.max_memory = 4 << 20;
    let mut world = World::new(settings);
    let names: Vec<&'static str> = (0..80)
        .map(|number| &*Box::leak(format!("never{number}").into_boxed_str()))
        .collect();
    for name in names.iter().chain(&["slow"]) {
        world.connect(name, true);
        world.subscribe(name, "flood", 0);
    }
    world.connect("source", true);
    world.take_all("source");
    let packet = publish(0x30, "flood", 0, &[b'x'; 10_000]);
    while !world.broker.is_overloaded() {
        world.send("source", &packet);
    }
    // One of them takes a little all the time.
    for _ in 0..15 {
        world.now = Time(world.now.0 + 100);
        world.take("slow", 10);
        world.tick();
    }
    assert!(!world.broker.is_overloaded());
    let closed = names.iter().filter(|name| world.clients[*name].closed);
    assert!((1..80).contains(&closed.count()), "no more than had to go");
    assert!(!world.clients["slow"].closed);
    let held = world.broker.held();
    assert!(held < (4 << 20) / 10 * 9, "{held}");
    // What the host throws away later counts no more: nobody is counted twice.
    for name in names {
        let id = world.clients[name].id;
        world.broker.lost(id, world.now);
        world.clients.remove(name);
    }
    world.take_all("slow");
    world.finish();
    let sessions = 2 * 700 + 300;
    assert!(world.broker.held() < sessions, "{}", world.broker.held());
}
