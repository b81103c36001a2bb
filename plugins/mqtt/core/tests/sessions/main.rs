//! The session machine against a simple model: whatever happens to connections and to the broker, every message that
//! was published with QoS 1 or 2 reaches every subscriber, QoS 2 exactly once, those of a topic in their order, and
//! what is sent again says so.
//!
//! `world` plays clients and the host of a broker; `model` knows nothing of a broker but what clients may expect.

mod model;
mod world;

use proptest::prelude::*;
use world::{CLIENTS, World};

#[derive(Clone, Debug)]
enum Step {
    Connect(usize),
    /// The client connects again while its connection is still there.
    TakeOver(usize),
    /// A client of 5.0 begins a new session.
    Clean(usize),
    Drop(usize),
    /// Client, topic, QoS.
    Publish(usize, u8, u8),
    /// A client takes what came and answers.
    Read(usize),
    /// The disk catches up.
    Commit,
    /// The broker is killed; of the frames not yet committed so many per cent survive.
    Kill(usize),
    /// Another broker takes over: before the first client arrives there, the one with this number publishes at
    /// once, if it can.
    Cross(Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        3 => client.clone().prop_map(Step::Connect),
        1 => client.clone().prop_map(Step::TakeOver),
        1 => client.clone().prop_map(Step::Clean),
        1 => client.clone().prop_map(Step::Drop),
        8 => (client.clone(), 0..2u8, 0..=2u8)
            .prop_map(|(client, topic, qos)| Step::Publish(client, topic, qos)),
        8 => client.prop_map(Step::Read),
        3 => Just(Step::Commit),
        1 => (0..=100usize).prop_map(Step::Kill),
        2 => prop::option::of(0..CLIENTS).prop_map(Step::Cross),
    ];
    prop::collection::vec(step, 0..150)
}

/// `cargo xtask soak` asks for more of them.
fn cases() -> u32 {
    let cases = std::env::var("POLYPORT_SESSIONS");
    cases.map_or(800, |number| number.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn every_acknowledged_message_arrives_whatever_happens(window in 1u16..6, steps in steps()) {
        let mut world = World::new(window);
        world.settle();
        for step in steps {
            match step {
                Step::Connect(at) => world.connect(at),
                Step::TakeOver(at) => world.take_over(at),
                Step::Clean(at) => world.begin_anew(at),
                Step::Drop(at) => world.drop_connection(at),
                Step::Publish(at, topic, qos) => world.publish(at, topic, qos),
                Step::Read(at) => world.read(at),
                Step::Commit => world.commit(),
                Step::Kill(percent) => world.kill(percent),
                Step::Cross(first) => world.cross(first),
            }
        }
        world.settle();
        for at in 0..CLIENTS {
            world.receivers[at].check(at, &world.published)?;
        }
    }
}
