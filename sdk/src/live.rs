//! A value that is replaced whole while many read it: settings that change under open connections.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// A value that [`Live::set`] replaces. Cloning shares it.
#[derive(Debug)]
pub struct Live<T> {
    shared: Arc<Shared<T>>,
}

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<Arc<T>>,
    revision: AtomicU64,
}

/// One reader of a [`Live`] value: as long as nothing is replaced, a look costs an atomic load.
#[derive(Debug)]
pub struct Reader<T> {
    live: Live<T>,
    value: Arc<T>,
    revision: u64,
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<T> Live<T> {
    /// A value to begin with.
    pub fn new(value: T) -> Self {
        Self {
            shared: Arc::new(Shared {
                value: RwLock::new(Arc::new(value)),
                revision: AtomicU64::new(0),
            }),
        }
    }

    /// The value of the moment.
    #[must_use]
    pub fn get(&self) -> Arc<T> {
        let value = self.shared.value.read();
        Arc::clone(&value.unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place: for whoever looks from now on.
    pub fn set(&self, value: T) {
        let value = Arc::new(value);
        *self
            .shared
            .value
            .write()
            .unwrap_or_else(PoisonError::into_inner) = value;
        self.shared.revision.fetch_add(1, Ordering::Release);
    }

    /// A reader, for one connection.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        // Before the value: one that comes meanwhile is read the next time.
        let revision = self.shared.revision.load(Ordering::Acquire);
        Reader {
            live: self.clone(),
            value: self.get(),
            revision,
        }
    }
}

impl<T> Reader<T> {
    /// The value of the moment.
    #[inline]
    pub fn get(&mut self) -> &Arc<T> {
        if self.live.shared.revision.load(Ordering::Acquire) != self.revision {
            *self = self.live.reader();
        }
        &self.value
    }

    /// The value, if another was put in place since the last look.
    #[inline]
    pub fn changed(&mut self) -> Option<&Arc<T>> {
        if self.live.shared.revision.load(Ordering::Acquire) == self.revision {
            return None;
        }
        *self = self.live.reader();
        Some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_was_put_in_place() {
        let live = Live::new(1);
        let (mut one, mut two) = (live.reader(), live.clone().reader());
        assert_eq!((**one.get(), *live.get()), (1, 1));
        assert_eq!(one.changed(), None);
        live.set(2);
        assert_eq!((**one.get(), *live.get()), (2, 2));
        assert_eq!((one.changed(), two.changed()), (None, Some(&Arc::new(2))));
        live.set(3);
        assert_eq!((**one.get(), **two.get()), (3, 3));
    }
}
