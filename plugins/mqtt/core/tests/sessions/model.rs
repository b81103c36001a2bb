//! What a client may expect of any broker: section 4.3 (delivery), 4.4 (what is sent again), 4.6 (order).

use std::collections::{BTreeMap, BTreeSet};

use proptest::test_runner::TestCaseError;
use proptest::{prop_assert, prop_assert_eq};

/// What a topic is for; messages of the first two are published alike.
pub const SHARED: u8 = 2;
pub const WILL: u8 = 3;
pub const RETAINED: u8 = 4;

/// The shared subscription of clients 4 to 6, and of client 7 when it joins. Client 4 never leaves it, and its session
/// never ends.
pub const SHARE: (&str, u8) = ("$share/g/s/+", 2);

/// The filters of each client, with their QoS.
const FILTERS: [&[(&str, u8)]; 8] = [
    &[("t/+", 0)],
    &[("t/0", 1)],
    &[("t/#", 2), ("w/+", 2)],
    &[("t/0", 1), ("+/0", 2)],
    &[SHARE],
    &[SHARE],
    &[("t/1", 2), SHARE],
    &[("t/1", 1)],
];

/// The filters of a client.
pub fn filters(client: usize) -> &'static [(&'static str, u8)] {
    FILTERS[client]
}

/// The topic name of a message. Retained messages have a topic for each publisher.
pub fn name(publisher: usize, topic: u8) -> [u8; 3] {
    match topic {
        SHARED => *b"s/x",
        WILL => *b"w/x",
        RETAINED => [b'r', b'/', b'a' + publisher as u8],
        _ => [b't', b'/', b'0' + topic],
    }
}

/// The QoS with which a client gets the messages of a topic, if it gets all of them.
pub fn subscribed(client: usize, topic: u8) -> Option<u8> {
    match (client, topic) {
        (0, 0 | 1) => Some(0),
        (1, 0) | (7, 1) => Some(1),
        (2, 0 | 1 | WILL) | (3, 0) | (6, 1) => Some(2),
        _ => None,
    }
}

/// A message; its number is its place.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub publisher: usize,
    pub topic: u8,
    pub qos: u8,
    /// Its publisher forgot it before it was acknowledged, or it is a will.
    pub forgotten: bool,
    /// Its publisher was told that it arrived.
    pub acknowledged: bool,
    /// Its publisher sent it again.
    pub again: bool,
    /// Of a retained message: it removes the one before.
    pub clears: bool,
}

impl Published {
    pub fn new(publisher: usize, topic: u8, qos: u8) -> Published {
        Published {
            publisher,
            topic,
            qos,
            forgotten: false,
            acknowledged: false,
            again: false,
            clears: false,
        }
    }
}

/// One subscriber.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Messages from this number on must come; none yet without.
    since: Option<usize>,
    /// QoS of the delivery, and number, as the client took them.
    pub got: Vec<(u8, u32)>,
    /// Numbers of QoS 1 and 2 deliveries that the broker handed out at any time.
    ever: BTreeSet<u32>,
    /// Those of them that it handed out in sessions that ended.
    pub ended: BTreeSet<u32>,
    /// Of those, the ones that the broker as it is now knows of.
    known: BTreeSet<u32>,
    /// The ones on the present connection, with their packet identifiers.
    here: BTreeSet<(u16, u32)>,
    /// Packet identifiers in use, and what for.
    in_flight: BTreeMap<u16, u32>,
}

impl Receiver {
    /// A new connection.
    pub fn connected(&mut self) {
        self.here.clear();
    }

    /// The broker forgot what it had not written.
    pub fn killed(&mut self) {
        self.known.clear();
        self.in_flight.clear();
    }

    /// The client has a new session.
    pub fn begun_anew(&mut self) {
        self.since = None;
        self.ended.extend(&self.ever);
        self.killed();
    }

    /// The subscriptions stand: what is published from now on must come.
    pub fn subscribed(&mut self, published: usize) {
        self.since.get_or_insert(published);
    }

    /// Whether a QoS 0 message that is published now has to be sent at once.
    pub fn expects(&self) -> bool {
        self.since.is_some()
    }

    /// The broker hands a PUBLISH with QoS 1 or 2 out.
    pub fn handed(&mut self, window: u16, dup: bool, identifier: u16, number: u32, of: &Published) {
        if dup {
            assert!(
                self.ever.contains(&number),
                "DUP on the first delivery of {number}"
            );
            assert!(
                !self.here.contains(&(identifier, number)),
                "{number} again on one connection"
            );
        } else if of.qos == 2 {
            // What was published with QoS 1 may have come to the broker twice.
            assert!(!self.known.contains(&number), "{number} again without DUP");
        }
        let other = self.in_flight.insert(identifier, number);
        assert!(
            other.is_none_or(|other| other == number && dup),
            "identifier {identifier} of {other:?} for {number}"
        );
        assert!(
            self.in_flight.len() <= usize::from(window),
            "more than {window} in flight"
        );
        self.ever.insert(number);
        self.known.insert(number);
        self.here.insert((identifier, number));
    }

    /// The client took a message.
    pub fn took(&mut self, qos: u8, number: u32) {
        self.got.push((qos, number));
    }

    /// How often the client took a message.
    pub fn times(&self, number: u32) -> usize {
        let got = self.got.iter();
        got.filter(|(_, got)| *got == number).count()
    }

    /// The broker was told that a delivery is complete.
    pub fn completed(&mut self, identifier: u16) {
        self.in_flight.remove(&identifier);
    }

    /// In the end: nothing is missing, nothing is there twice that must not be, and all is in order.
    pub fn check(&self, at: usize, published: &[Published]) -> Result<(), TestCaseError> {
        let mut last: BTreeMap<(usize, u8, u8), u32> = BTreeMap::new();
        for (number, message) in (0..).zip(published) {
            if message.topic == SHARED {
                continue;
            }
            let got: Vec<u8> = self
                .got
                .iter()
                .filter(|(_, got)| *got == number)
                .map(|(qos, _)| *qos)
                .collect();
            let Some(most) = subscribed(at, message.topic) else {
                prop_assert_eq!(got.len(), 0, "client {} did not ask for {}", at, number);
                continue;
            };
            let qos = message.qos.min(most);
            prop_assert!(
                got.iter().all(|got| *got == qos),
                "client {}: {} with {:?}",
                at,
                number,
                got
            );
            let certain =
                !message.forgotten && self.since.is_some_and(|since| since <= number as usize);
            let fewest = usize::from(qos > 0 && certain);
            prop_assert!(
                got.len() >= fewest,
                "client {} lost {} of QoS {}",
                at,
                number,
                qos
            );
            if qos != 1 && message.qos != 1 {
                prop_assert!(
                    got.len() < 2,
                    "client {} got {} {} times",
                    at,
                    number,
                    got.len()
                );
            }
        }
        let mut seen = BTreeSet::new();
        for &(qos, number) in &self.got {
            let message = &published[number as usize];
            // What came to the broker before the subscription may come again after it, and shared subscriptions
            // have no order (MQTT-4.6.0-6).
            let before = self.since.is_none_or(|since| since > number as usize);
            if !seen.insert(number) || qos == 0 || before || message.topic == SHARED {
                continue;
            }
            let before = last.insert((message.publisher, message.topic, message.qos), number);
            prop_assert!(
                before < Some(number),
                "client {}: {} after {:?}",
                at,
                number,
                before
            );
        }
        Ok(())
    }
}
