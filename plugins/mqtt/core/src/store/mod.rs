//! What survives a restart: the records of the journal, how they are framed, and the state they
//! add up to.
//!
//! The engine appends records to a [`Journal`] while it handles a batch; its
//! host hands them to a [`Store`] and keeps back the batch's output until they are committed.
//! A store needs no knowledge of records but [`State`], to load; the engine itself writes what replaces old ones.

pub mod journal;
pub mod record;
pub mod state;

pub use journal::{Journal, first_frame, read_frames};
pub use record::Record;
pub use state::State;

/// Position in a store's order of appends.
pub type Sequence = u64;

/// Keeps records. Everything appended before a sequence is committed no later than it.
pub trait Store {
    /// Takes the records of a batch and returns the sequence that stands for them. They are durable
    /// once [`committed`](Store::committed) has reached it.
    fn append(&mut self, journal: &Journal) -> Sequence;
    /// The last sequence that is durable.
    fn committed(&self) -> Sequence;
}
