//! The session machine against a simple model: whatever happens to connections and to the broker, every message that
//! was published with QoS 1 or 2 reaches every subscriber, QoS 2 exactly once, those of a topic in their order, and
//! what is sent again says so. Of a shared subscription it reaches one member, also when members leave; wills are
//! published once when they are due, and never when they are cancelled; the last retained message is there; sessions
//! end when their time is over, and not before.
//!
//! `world` plays clients and the host of a broker; the others know nothing of a broker but what clients may expect:
//! `model` one subscriber, `shares` the members of a shared subscription, `wills` and `retained` those.

mod model;
mod retained;
mod shares;
mod wills;
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
    /// One of two clients publishes a retained message, or removes it.
    Retain(usize, bool),
    /// A new subscriber gets the retained messages.
    LookForRetained,
    /// A client takes what came and answers.
    Read(usize),
    /// The same with the next packet alone.
    ReadOne(usize),
    /// A client leaves in order.
    Disconnect(usize),
    /// A member of the shared subscription leaves it, or comes again.
    Share(usize, bool),
    /// Seconds.
    Pass(u32),
    /// The store is written anew, up to so many bytes of it.
    Image(usize),
    /// The disk catches up.
    Commit,
    /// The broker is killed; of the frames not yet committed so many per cent survive. It starts after some seconds.
    Kill(usize, u32),
    /// Another broker takes over: before the other clients arrive there, the one with this number publishes at once,
    /// if it can. The connection of the second one stays behind.
    Cross(Option<usize>, Option<usize>),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        3 => client.clone().prop_map(Step::Connect),
        1 => client.clone().prop_map(Step::TakeOver),
        1 => client.clone().prop_map(Step::Clean),
        1 => client.clone().prop_map(Step::Drop),
        10 => (client.clone(), 0..3u8, 0..=2u8)
            .prop_map(|(client, topic, qos)| Step::Publish(client, topic, qos)),
        8 => client.clone().prop_map(Step::Read),
        8 => client.clone().prop_map(Step::ReadOne),
        1 => client.prop_map(Step::Disconnect),
        1 => (5..CLIENTS, any::<bool>()).prop_map(|(at, comes)| Step::Share(at, comes)),
        2 => (0..2usize, prop::bool::weighted(0.3))
            .prop_map(|(which, clears)| Step::Retain(which, clears)),
        1 => Just(Step::LookForRetained),
        2 => (0..13u32).prop_map(Step::Pass),
        2 => prop_oneof![Just(usize::MAX), 1..1000usize].prop_map(Step::Image),
        3 => Just(Step::Commit),
        1 => (0..=100usize, prop_oneof![Just(0), 0..13u32])
            .prop_map(|(percent, seconds)| Step::Kill(percent, seconds)),
        2 => (prop::option::of(0..CLIENTS), prop::option::weighted(0.3, 0..CLIENTS))
            .prop_map(|(first, stays)| Step::Cross(first, stays)),
    ];
    prop::collection::vec(step, 0..200)
}

/// `cargo xtask soak` asks for more of them.
fn cases() -> u32 {
    let cases = std::env::var("POLYPORT_SESSIONS");
    cases.map_or(4000, |number| number.parse().expect("a number"))
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
                Step::Retain(which, clears) => world.retain(which, clears),
                Step::LookForRetained => world.look_for_retained(),
                Step::Read(at) => world.read(at, usize::MAX),
                Step::ReadOne(at) => world.read(at, 1),
                Step::Disconnect(at) => world.disconnect(at),
                Step::Share(at, comes) => world.share(at, comes),
                Step::Pass(seconds) => world.pass(seconds),
                Step::Image(room) => world.write_image(room),
                Step::Commit => world.commit(),
                Step::Kill(percent, seconds) => world.kill(percent, seconds),
                Step::Cross(first, stays) => world.cross(first, stays),
            }
        }
        world.settle();
        world.check()?;
    }
}
