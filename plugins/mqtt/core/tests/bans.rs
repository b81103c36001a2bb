//! Clients and accounts that are banned: what they are told, for how long, and that it outlives a broker.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::sync::Arc;

use polyport_mqtt_core::bans::{Ban, Kind};
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    AllowAll, Authorizer, Broker, ConnectionId, Extent, Limits, Settings, Time,
};

/// An account that may do all.
#[derive(Debug)]
struct Named(&'static str);

impl Authorizer for Named {
    fn account(&self) -> Option<&str> {
        Some(self.0)
    }
    fn may_publish(&self, topic: &str) -> bool {
        AllowAll.may_publish(topic)
    }
    fn may_subscribe(&self, filter: &str) -> Extent {
        AllowAll.may_subscribe(filter)
    }
    fn may_receive(&self, topic: &str) -> bool {
        AllowAll.may_receive(topic)
    }
}

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

    fn finish(&mut self, id: ConnectionId) -> Vec<u8> {
        let journal = self.broker.journal();
        let state = &mut self.state;
        read_frames(journal.bytes(), |record| state.apply(record));
        journal.clear();
        let mut out = Vec::new();
        while let Some(touched) = self.broker.next_touched() {
            let output = self.broker.output(touched);
            if let Some(output) = output.filter(|_| touched == id) {
                out.extend(output.pieces().concat());
            }
        }
        out
    }

    /// A client of a protocol level: its connection, whether anybody was asked who it is, and what it was told.
    fn connect(
        &mut self,
        level: u8,
        client_id: &str,
        account: &'static str,
    ) -> (ConnectionId, bool, Vec<u8>) {
        let id = self
            .broker
            .open(Arc::default(), Limits::default(), self.now);
        let mut body = b"\x00\x04MQTT".to_vec();
        body.extend([level, 2, 0, 0]);
        body.extend((level == 5).then_some(0));
        body.extend([0, client_id.len() as u8]);
        body.extend_from_slice(client_id.as_bytes());
        let packet = [&[0x10, body.len() as u8], &body[..]].concat();
        let received = self.broker.receive(id, &packet, None, self.now);
        let asked = received.login.is_some();
        if asked {
            let answer: Arc<dyn Authorizer> = Arc::new(Named(account));
            self.broker.login_answer(id, Ok(answer), self.now);
        }
        let told = self.finish(id);
        (id, asked, told)
    }

    fn is_let_in(&mut self, client_id: &str, account: &'static str) -> bool {
        let (id, _, told) = self.connect(4, client_id, account);
        self.broker.lost(id, self.now);
        self.finish(id);
        told == [0x20, 2, 0, 0]
    }

    fn ban(&mut self, kind: Kind, name: &str, until: Option<Time>) -> bool {
        let ban = Ban {
            since: self.now,
            until,
            reason: "noise".into(),
        };
        self.broker.ban(kind, name, ban, self.now)
    }

    fn banned(&self) -> Vec<(Kind, String)> {
        let bans = self.broker.bans(None, self.now);
        bans.map(|(kind, name, _)| (kind, name.to_owned()))
            .collect()
    }
}

#[test]
fn a_banned_client_is_told_so_before_it_is_asked_who_it_is() {
    let mut world = World::new();
    let (id, _, told) = world.connect(5, "bad", "alice");
    assert_eq!(told[3], 0);
    assert!(world.ban(Kind::Client, "bad", None));
    let said = world.finish(id);
    assert_eq!((said[0], said[2]), (0xe0, 0x8a));
    assert!(!world.ban(Kind::Client, "bad", None), "it is not connected");

    let (_, asked, told) = world.connect(5, "bad", "alice");
    assert!(!asked);
    assert_eq!((told[0], told[3]), (0x20, 0x8a));
    let (_, asked, told) = world.connect(4, "bad", "alice");
    assert!(!asked);
    assert_eq!(told, [0x20, 2, 0, 5]);
    assert!(world.is_let_in("good", "alice"));
    assert!(world.broker.unban(Kind::Client, "bad", world.now));
    assert!(!world.broker.unban(Kind::Client, "bad", world.now));
    assert!(world.is_let_in("bad", "alice"));
}

#[test]
fn a_banned_account_is_closed_wherever_it_is_and_let_in_no_more() {
    let mut world = World::new();
    let ids: Vec<ConnectionId> = (0..5)
        .map(|number| {
            let account = if number % 2 == 0 { "alice" } else { "bob" };
            world.connect(5, &format!("c{number}"), account).0
        })
        .collect();
    assert!(!world.ban(Kind::User, "alice", None));
    let (mut from, mut closed) = (Some(0), 0);
    while let Some(place) = from {
        let (count, next) = world.broker.close_banned("alice", place, 2, world.now);
        closed += count;
        from = next;
    }
    assert_eq!(closed, 3);
    for (number, id) in ids.into_iter().enumerate() {
        let session = world.broker.look_at_session(&format!("c{number}"), |_| ());
        assert_eq!(session.is_none(), number % 2 == 0, "{id:?}");
    }
    let (_, asked, told) = world.connect(5, "c0", "alice");
    assert!(asked, "nobody knows whose it is before");
    assert_eq!(told[3], 0x8a);
    // The name of an account is not that of a client.
    assert!(world.is_let_in("alice", "bob"));
}

#[test]
fn a_ban_ends_at_its_time() {
    let mut world = World::new();
    world.ban(Kind::Client, "bad", Some(world.now + 5_000));
    world.ban(Kind::Client, "worse", None);
    world.now = world.now + 4_999;
    world.broker.tick(world.now);
    assert!(!world.is_let_in("bad", "alice"));
    world.now = world.now + 1;
    world.broker.tick(world.now);
    assert!(world.is_let_in("bad", "alice"));
    assert_eq!(world.banned(), [(Kind::Client, "worse".to_owned())]);
}

#[test]
fn bans_go_along_to_the_next_broker_and_into_the_store() {
    let mut world = World::new();
    world.ban(Kind::Client, "bad", Some(world.now + 5_000));
    world.ban(Kind::Client, "lifted", None);
    world.ban(Kind::User, "alice", None);
    world.broker.unban(Kind::Client, "lifted", world.now);
    let (id, ..) = world.connect(4, "other", "bob");
    world.finish(id);
    let all = world.banned();
    assert_eq!(all.len(), 2);

    let exported = world.broker.export(world.now, |_| true);
    let next = Broker::import(Settings::default(), || 7, &exported, world.now).unwrap();
    assert_eq!(next.export(world.now, |_| true), exported);
    world.broker = next;
    assert_eq!(world.banned(), all);

    // What was recorded, and all of it written anew.
    let mut image = State::default();
    let mut walk = Default::default();
    while !world.broker.write_image(&mut walk, 1, world.now) {}
    let journal = world.broker.journal();
    read_frames(journal.bytes(), |record| image.apply(record));
    journal.clear();
    assert_eq!(image.bans, world.state.bans);
    for state in [world.state.clone(), image] {
        world.broker = Broker::new(Settings::default(), || 7, world.now);
        world.broker.restore(state);
        assert_eq!(world.banned(), all);
        assert!(!world.is_let_in("bad", "bob"));
    }
    world.now = world.now + 5_000;
    world.broker.tick(world.now);
    assert!(world.is_let_in("bad", "bob"));
    assert!(!world.is_let_in("bad", "alice"));
}
