//! Who has the store open: this instance, the one that takes its place, or nobody for a moment.
//!
//! Two libraries have two copies of SQLite, and within one process those do not see each other's locks. So only one
//! instance has the file open at a time: its requests wait while it is handed over, and those that are left when the
//! next one has it go there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyport_sdk::Context;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, RwLockReadGuard};

use crate::store::{OpenError, Options, Store, StoreError};

/// The store, or why there is none.
#[derive(Debug)]
enum Place {
    Here(Store),
    /// Closed for good, or it could not be opened again.
    Closed,
    /// Another instance has it.
    Elsewhere,
}

/// Keeps the store of one instance.
#[derive(Debug)]
pub struct Keeper {
    options: Options,
    place: Arc<RwLock<Place>>,
    /// Held from a freeze on: whoever asks for the store waits.
    held: Mutex<Option<OwnedRwLockWriteGuard<Place>>>,
}

impl Keeper {
    /// Opens the store; one that the instance before closed in order need not be checked through. Blocks.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open(options: Options, taken_over: bool) -> Result<Self, OpenError> {
        let store = if taken_over {
            Store::open(&known(&options))
        } else {
            Store::open(&options)
        };
        Ok(Self {
            place: Arc::new(RwLock::new(Place::Here(store?))),
            held: Mutex::default(),
            options,
        })
    }

    /// The store, as long as the guard is held; waits while it is being handed over.
    ///
    /// # Errors
    /// [`StoreError::Elsewhere`], [`StoreError::Closed`].
    pub async fn store(&self) -> Result<RwLockReadGuard<'_, Store>, StoreError> {
        let place = self.place.read().await;
        let here = RwLockReadGuard::try_map(place, |place| match place {
            Place::Here(store) => Some(store),
            Place::Closed | Place::Elsewhere => None,
        });
        here.map_err(|place| match *place {
            Place::Elsewhere => StoreError::Elsewhere,
            Place::Here(_) | Place::Closed => StoreError::Closed,
        })
    }

    /// Waits for the requests that have the store, closes it, and lets all others wait.
    pub async fn freeze(&self) {
        let mut place = Arc::clone(&self.place).write_owned().await;
        close(&mut place, Place::Closed).await;
        *self.held() = Some(place);
    }

    /// Opens it again after a freeze.
    pub fn thaw(self: &Arc<Self>, context: &Context) {
        let Some(mut place) = self.held().take() else {
            return;
        };
        let (options, context) = (known(&self.options), context.clone());
        tokio::task::spawn_blocking(move || match Store::open(&options) {
            Ok(store) => *place = Place::Here(store),
            Err(error) => {
                tracing::error!("{error}");
                context.degraded(&error.to_string());
            }
        });
    }

    /// After a freeze, another instance has the store: whoever waits for it goes there.
    pub fn yield_up(&self) {
        if let Some(mut place) = self.held().take() {
            *place = Place::Elsewhere;
        }
    }

    /// Makes the changes that were accepted and closes the file. Later ones are refused.
    pub async fn close(&self) {
        let mut place = self.place.write().await;
        if matches!(*place, Place::Here(_)) {
            close(&mut place, Place::Closed).await;
        }
    }

    fn held(&self) -> MutexGuard<'_, Option<OwnedRwLockWriteGuard<Place>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn close(place: &mut Place, then: Place) {
    if let Place::Here(store) = std::mem::replace(place, then) {
        store.close().await;
    }
}

/// For a file that was closed in order.
fn known(options: &Options) -> Options {
    Options {
        check_bytes: 0,
        ..options.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Durability, Outcome, Write};
    use std::time::Duration;

    fn options(folder: &std::path::Path) -> Options {
        Options {
            path: folder.join("documents.sqlite"),
            durability: Durability::Never,
            busy_timeout: Duration::from_secs(1),
            readers: 1,
            max_bytes: None,
            check_bytes: u64::MAX,
        }
    }

    async fn put(keeper: &Keeper, id: &str) -> Result<Outcome, StoreError> {
        let write = Write {
            collection: "c".to_owned(),
            id: id.to_owned(),
            body: Some("1".into()),
            conditions: Vec::new(),
        };
        keeper.store().await?.write(write).await
    }

    #[tokio::test]
    async fn whoever_waits_during_a_hand_over_goes_where_the_store_went() {
        let folder = tempfile::tempdir().unwrap();
        let old = Arc::new(Keeper::open(options(folder.path()), false).unwrap());
        put(&old, "a").await.unwrap();
        old.freeze().await;
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "closed in order: {left:?}");
        let waiting = tokio::spawn({
            let old = Arc::clone(&old);
            async move { put(&old, "b").await }
        });
        let new = Keeper::open(options(folder.path()), true).unwrap();
        assert!(!waiting.is_finished());
        old.yield_up();
        assert_eq!(waiting.await.unwrap(), Err(StoreError::Elsewhere));
        assert!(new.store().await.unwrap().get("c", "a").unwrap().is_some());
        put(&new, "b").await.unwrap();
        // Its end does nothing to what the other has.
        old.close().await;
        assert_eq!(put(&old, "c").await, Err(StoreError::Elsewhere));
        put(&new, "c").await.unwrap();
        new.close().await;
        assert_eq!(put(&new, "d").await, Err(StoreError::Closed));
    }
}
