//! Packets that have come in part and whose rest is waited for. All of them together may take an eighth of
//! `max_memory`: beyond that whoever has been at his for the longest is ended, until one is left.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyport_mqtt_core::ConnectionId;

use super::Engine;

/// What is shorter is not counted: each connection has as much for itself.
const LEAST: usize = 4 * 1024;
/// Their part of the memory.
const PART: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Unfinished(Mutex<Packets>);

#[derive(Debug, Default)]
struct Packets {
    may_take: usize,
    take: usize,
    last: u64,
    /// Whose they are and what they take, in the order in which they were begun.
    begun: BTreeMap<u64, (ConnectionId, usize)>,
}

/// The packet that one connection has begun; dropped when it is whole, or nobody waits for it.
pub(crate) struct Begun {
    engine: Arc<Engine>,
    number: u64,
}

impl Engine {
    /// `taken` bytes of a packet are there; `begun` is what this connection was told of it before.
    pub(crate) fn begun(
        self: &Arc<Self>,
        id: ConnectionId,
        taken: usize,
        begun: &mut Option<Box<Begun>>,
    ) {
        if taken < LEAST {
            return;
        }
        let begun = begun.get_or_insert_with(|| {
            let engine = Arc::clone(self);
            let number = self.unfinished.lock().begin(id);
            Box::new(Begun { engine, number })
        });
        let given_up = self.unfinished.lock().grow(begun.number, taken);
        for id in given_up {
            self.batch(|inner, now| inner.broker.give_up_packet(id, now));
        }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.engine.unfinished.lock().end(self.number);
    }
}

impl Unfinished {
    /// For a service that may hold so much.
    pub(super) fn may_take_of(&self, memory: usize) {
        self.lock().may_take = memory / PART;
    }

    fn lock(&self) -> MutexGuard<'_, Packets> {
        // A panic while it was held left sums that are right: there is nothing between two changes that can panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Packets {
    fn begin(&mut self, id: ConnectionId) -> u64 {
        self.last += 1;
        self.begun.insert(self.last, (id, 0));
        self.last
    }

    /// Who is to be ended for it.
    fn grow(&mut self, number: u64, taken: usize) -> Vec<ConnectionId> {
        if let Some((_, before)) = self.begun.get_mut(&number) {
            self.take = self.take - *before + taken;
            *before = taken;
        }
        let mut given_up = Vec::new();
        while self.take > self.may_take && self.begun.len() > 1 {
            let Some((_, (id, taken))) = self.begun.pop_first() else {
                break;
            };
            self.take -= taken;
            given_up.push(id);
        }
        given_up
    }

    fn end(&mut self, number: u64) {
        if let Some((_, taken)) = self.begun.remove(&number) {
            self.take -= taken;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_longest_goes_first_and_one_always_has_room() {
        let id = |index| ConnectionId {
            index,
            generation: 0,
        };
        let mut packets = Packets {
            may_take: 100,
            ..Packets::default()
        };
        let numbers: Vec<u64> = (0..4).map(|index| packets.begin(id(index))).collect();
        assert!(packets.grow(numbers[1], 60).is_empty());
        assert!(packets.grow(numbers[3], 40).is_empty());
        assert_eq!(
            packets.grow(numbers[3], 41),
            [id(0), id(1)],
            "the first has taken nothing, but longer"
        );
        assert_eq!(packets.take, 41);
        packets.end(numbers[1]);
        assert_eq!(packets.take, 41, "it was ended before");
        assert!(packets.grow(numbers[2], 59).is_empty());
        assert_eq!(packets.grow(numbers[3], 1_000), [id(2)]);
        assert!(packets.grow(numbers[3], 10_000).is_empty(), "the only one");
        packets.end(numbers[3]);
        assert_eq!((packets.take, packets.begun.len()), (0, 0));
    }
}
