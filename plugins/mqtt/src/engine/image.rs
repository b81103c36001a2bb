//! Images of the broker's state for its store, a little at a time beside what clients do.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use polyport_mqtt_core::broker::Walk;
use polyport_mqtt_core::store::Sequence;

use super::{Engine, Standing};
use crate::outbound::Outbound;
use crate::store::DiskStore;

/// Bytes that are written in one batch, which clients wait for.
const ROOM: usize = 64 << 10;

impl Engine {
    /// Writes an image whenever the store wants one, for as long as this engine serves.
    pub(crate) async fn write_images(self: Arc<Self>) {
        let Some(store) = &self.store else {
            return;
        };
        let waiter = Arc::new(Outbound::default());
        loop {
            store.image_due().await;
            let mut walk = None;
            loop {
                let Some((sequence, done)) = self.write_some(store, &mut walk) else {
                    let standing = self.standing();
                    match standing {
                        Standing::Serving => continue,
                        Standing::Frozen => self.moved(standing).await,
                        Standing::Retired => return,
                    }
                    continue;
                };
                committed(store, sequence, &waiter).await;
                if done {
                    break;
                }
            }
        }
    }

    /// One batch of it; none unless serving. Also what is to be on disk before the next one, and whether all is.
    fn write_some(&self, store: &DiskStore, walk: &mut Option<Walk>) -> Option<(Sequence, bool)> {
        let inner = self.lock();
        if self.standing() != Standing::Serving {
            return None;
        }
        let walk = walk.get_or_insert_with(|| {
            store.begin_image();
            Walk::default()
        });
        let done = self.run(inner, |inner, now| {
            inner.broker.write_image(walk, ROOM, now)
        });
        let sequence = match done {
            true => store.end_image(walk.written()),
            false => store.force(),
        };
        Some((sequence, done))
    }
}

async fn committed(store: &DiskStore, sequence: Sequence, waiter: &Arc<Outbound>) {
    poll_fn(|cx| {
        waiter.register(cx.waker());
        match store.wake_on_commit(sequence, waiter) {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
}
