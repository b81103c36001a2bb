//! The cases with a load of messages.

use std::time::Duration;

use super::demand::Demand;
use super::load::{Load, Pace};

/// One load and what is asked of it.
pub struct Case {
    pub name: &'static str,
    pub load: Load,
    pub store: Store,
    pub asked: Asked,
    pub demand: Option<Demand>,
}

/// When what polyport acknowledges is on disk; mosquitto has no store here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Store {
    /// Before it is acknowledged, as shipped.
    Always,
    Never,
}

/// The figure of a case that its demand is about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asked {
    PerSecond,
    P99,
}

/// As many messages as brokers have in flight to a client where nothing else is said, filled up as
/// acknowledgements come.
const WINDOW: Pace = Pace::Credit {
    window: 20,
    batch: 1,
};

/// QoS 0, whose credit comes back in halves.
const fn credit(window: u64) -> Pace {
    Pace::Credit {
        window,
        batch: window / 2,
    }
}

const fn demand(bound: f64, ratio: f64) -> Option<Demand> {
    Some(Demand {
        bound,
        ratio: Some(ratio),
    })
}

/// The time is that of the whole run.
const PAIR: Load = Load {
    groups: 1,
    publishers: 1,
    subscribers: 1,
    qos: 0,
    payload: 64,
    pace: credit(500),
    kept: false,
    time: Duration::ZERO,
};

const PAIRS: Load = Load {
    groups: 50,
    pace: WINDOW,
    ..PAIR
};

pub const CASES: [Case; 10] = [
    Case {
        name: "1:1, QoS 0",
        load: PAIR,
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: demand(600_000.0, 4.0),
    },
    Case {
        name: "50 pairs, QoS 0",
        load: Load {
            pace: credit(100),
            ..PAIRS
        },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: demand(1_000_000.0, 9.0),
    },
    Case {
        name: "50 pairs, QoS 1, clean sessions",
        load: Load { qos: 1, ..PAIRS },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: None,
    },
    Case {
        name: "50 pairs, QoS 1, kept sessions, durability never",
        load: Load {
            qos: 1,
            kept: true,
            ..PAIRS
        },
        store: Store::Never,
        asked: Asked::PerSecond,
        demand: demand(500_000.0, 7.0),
    },
    Case {
        name: "50 pairs, QoS 2, clean sessions",
        load: Load { qos: 2, ..PAIRS },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: demand(300_000.0, 10.0),
    },
    Case {
        name: "50 pairs, QoS 1, kept sessions, durability always",
        load: Load {
            qos: 1,
            kept: true,
            ..PAIRS
        },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: Some(Demand {
            bound: 150_000.0,
            ratio: None,
        }),
    },
    Case {
        name: "fan-out 1:100, QoS 0",
        load: Load {
            subscribers: 100,
            pace: credit(100),
            ..PAIR
        },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: demand(2_000_000.0, 11.0),
    },
    Case {
        name: "5:1,000, QoS 1, 16 bytes",
        load: Load {
            publishers: 5,
            subscribers: 1000,
            qos: 1,
            payload: 16,
            pace: WINDOW,
            ..PAIR
        },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: Some(Demand {
            bound: 900_000.0,
            ratio: None,
        }),
    },
    Case {
        name: "fan-in 100:1, QoS 0",
        load: Load {
            publishers: 100,
            pace: credit(100),
            ..PAIR
        },
        store: Store::Always,
        asked: Asked::PerSecond,
        demand: demand(2_500_000.0, 16.0),
    },
    Case {
        name: "10,000 messages a second, 50 pairs, QoS 1: p99",
        load: Load {
            qos: 1,
            pace: Pace::Fixed(10_000),
            ..PAIRS
        },
        store: Store::Always,
        asked: Asked::P99,
        demand: demand(400.0, 0.3),
    },
];
