//! The cores of an instance: with [`Plugin::PINNED`](crate::Plugin::PINNED) each of its threads is one, with tasks
//! that no other takes; without, all its threads together are one.

use std::cell::Cell;
use std::sync::Arc;

use tokio::runtime::Handle;

thread_local! {
    static CURRENT: Cell<u16> = const { Cell::new(0) };
}

/// The number of the core that this thread belongs to; 0 for threads that are of none.
#[must_use]
pub fn current() -> u16 {
    CURRENT.get()
}

/// A thread of this core begins.
pub(crate) fn enter_thread(core: u16) {
    CURRENT.set(core);
}

/// The cores of one instance, numbered from 0, at least one. [`Plugin::start`](crate::Plugin::start) runs on the first.
#[derive(Debug, Clone)]
pub struct Cores(Arc<[Handle]>);

impl Cores {
    pub(crate) fn new(handles: Arc<[Handle]>) -> Self {
        Self(handles)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each by its number, to spawn on.
    pub fn each(&self) -> impl Iterator<Item = &Handle> {
        self.0.iter()
    }

    /// The one with the fewest tasks.
    pub(crate) fn least(&self) -> &Handle {
        match &*self.0 {
            [only] => only,
            cores => cores
                .iter()
                .min_by_key(|core| core.metrics().num_alive_tasks())
                .expect("an instance has a core"),
        }
    }
}
