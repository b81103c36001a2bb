//! What waits to be written to one connection, each piece held back until the store has committed
//! what it acknowledges.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use polyport_mqtt_core::Output;
use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::store::Sequence;

/// A buffer stops growing here, and what is this long becomes a piece as it is: to move much to a larger buffer for each
/// of many readers that do not keep up is a pause for all.
const BUFFER_MAX: usize = 16 * 1024;
const MOVED: usize = 4 * 1024;
/// A written buffer up to this capacity is used again.
const SPARE_MAX: usize = 64 * 1024;

/// Output of one connection, filled by the engine and emptied by the connection's task.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: Mutex<Queue>,
    waker: AtomicWaker,
    pub meter: Arc<Meter>,
}

#[derive(Debug, Default)]
struct Queue {
    /// None of an idle connection: it holds no buffers.
    waiting: Option<Box<Waiting>>,
    close: bool,
    given_up: bool,
}

#[derive(Debug, Default)]
struct Waiting {
    pieces: VecDeque<(Sequence, Piece)>,
    spare: Vec<u8>,
}

/// What a connection's task is about to write; none while it is idle.
pub(crate) type Writing = Option<Box<Pieces>>;

/// Pieces in their order.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    pub(crate) queue: VecDeque<Piece>,
    /// Bytes of the first that are written.
    pub(crate) written: usize,
}

/// Bytes for the socket.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Small packets side by side.
    Buffer(Vec<u8>),
    /// A payload shared between receivers.
    Shared(Bytes),
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        match self {
            Piece::Buffer(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

/// What [`Outbound::take`] found.
pub(crate) struct Taken {
    /// The connection is to be closed once everything is written.
    pub close: bool,
    /// The next piece waits until this is committed.
    pub held: Option<Sequence>,
}

impl Outbound {
    /// Takes over the engine's output, to be written once `gate` is committed.
    pub(crate) fn push(&self, output: &mut Output, gate: Sequence) {
        let mut queue = self.lock();
        queue.close |= output.closes();
        queue.given_up |= output.is_given_up();
        if queue.given_up {
            output.pieces();
            queue.waiting = None;
        }
        if output.is_empty() {
            return;
        }
        let Waiting { pieces, spare } = &mut **queue.waiting.get_or_insert_default();
        match (output.buffer(), pieces.back_mut()) {
            (Some(bytes), Some((last, Piece::Buffer(buffer))))
                if gate <= *last && bytes.len() < MOVED && buffer.len() < BUFFER_MAX =>
            {
                buffer.extend_from_slice(bytes);
                bytes.clear();
            }
            (Some(bytes), _) => {
                let buffer = std::mem::replace(bytes, std::mem::take(spare));
                pieces.push_back((gate, Piece::Buffer(buffer)));
            }
            (None, _) => {
                pieces.extend(
                    output
                        .pieces()
                        .into_iter()
                        .map(|piece| (gate, Piece::Shared(piece))),
                );
            }
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake(&self) {
        self.waker.wake();
    }

    /// Has the task woken when there is something new.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether the connection is to be closed once everything is written.
    pub(crate) fn closes(&self) -> bool {
        self.lock().close
    }

    /// Whether the connection is to be closed at once.
    pub(crate) fn is_given_up(&self) -> bool {
        self.lock().given_up
    }

    /// Moves what may be written into `writing`.
    pub(crate) fn take(&self, committed: Sequence, writing: &mut Writing) -> Taken {
        let mut queue = self.lock();
        let close = queue.close;
        let Some(waiting) = &mut queue.waiting else {
            return Taken { close, held: None };
        };
        let is_committed = |(gate, _): &(Sequence, Piece)| *gate <= committed;
        while waiting.pieces.front().is_some_and(is_committed) {
            let piece = waiting.pieces.pop_front().map(|(_, piece)| piece);
            writing.get_or_insert_default().queue.extend(piece);
        }
        let held = waiting.pieces.front().map(|(gate, _)| *gate);
        if held.is_none() && writing.as_ref().is_none_or(|it| it.queue.is_empty()) {
            // Nothing to do.
            queue.waiting = None;
            *writing = None;
        }
        Taken { close, held }
    }

    /// Gives a written buffer back.
    pub(crate) fn recycle(&self, piece: Piece) {
        if let Piece::Buffer(mut buffer) = piece
            && buffer.capacity() <= SPARE_MAX
            && let Some(waiting) = &mut self.lock().waiting
        {
            buffer.clear();
            waiting.spare = buffer;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while it was held left whole pieces: there is no half-done change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polyport_mqtt_core::{AllowAll, Broker, Limits, Settings, Time};

    /// What a broker wants to say to a client that pings.
    fn pong(outbound: &Outbound, gates: &[Sequence]) {
        let mut broker = Broker::new(Settings::default(), || 0, Time(0));
        let id = broker.open(Arc::clone(&outbound.meter), Limits::default(), Time(0));
        let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c";
        broker.receive(id, connect, None, Time(0));
        broker.login_answer(id, Ok(Arc::new(AllowAll)), Time(0));
        broker.output(id).unwrap().pieces();
        for gate in gates {
            broker.receive(id, b"\xc0\x00", None, Time(0));
            outbound.push(broker.output(id).unwrap(), *gate);
        }
    }

    fn taken(outbound: &Outbound, committed: Sequence) -> (usize, Option<Sequence>) {
        let mut writing = None;
        let taken = outbound.take(committed, &mut writing);
        let pieces = writing.unwrap_or_default();
        let bytes = pieces.queue.iter().map(|piece| piece.as_ref().len()).sum();
        (bytes, taken.held)
    }

    #[test]
    fn nothing_leaves_before_its_records_are_committed_and_order_is_kept() {
        let outbound = Outbound::default();
        pong(&outbound, &[0, 5, 0, 7, 6]);
        assert_eq!(
            taken(&outbound, 0),
            (2, Some(5)),
            "what waits for nothing goes"
        );
        assert_eq!(taken(&outbound, 4), (0, Some(5)));
        assert_eq!(
            taken(&outbound, 5),
            (4, Some(7)),
            "the ungated packet behind it goes with it"
        );
        assert_eq!(
            taken(&outbound, 6),
            (0, Some(7)),
            "an earlier gate waits behind a later one"
        );
        assert_eq!(taken(&outbound, 7), (4, None));
    }
}
