//! Notices that the configuration, the accounts, a certificate or a library came to rest in another state.
//!
//! An event only says that it is time to look; what counts is the content. It rests when no event came for the quiet
//! time, nobody has a file open that he wrote to, and two looks a quiet time apart agree. What raises no event is
//! found by a look every few seconds. Knows nothing of what the files mean.

mod events;
mod files;
mod places;
#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::debug;

use events::Events;
pub use files::{Look, Watched};
use places::Places;

/// Between two looks without an event.
const RESCAN: Duration = Duration::from_secs(5);
/// What changed without an event must rest longer: its next write raises none either.
const SILENT_REST: Duration = Duration::from_secs(1);
/// From the last event to the first of two looks, at most: what follows at once is seen by it already.
const LULL: Duration = Duration::from_millis(20);

/// Watches for as long as it lives.
pub struct Watcher {
    orders: watch::Sender<Order>,
    task: JoinHandle<()>,
}

/// What to watch, and the state of it that is known.
#[derive(Debug, Clone)]
struct Order {
    watched: Watched,
    seen: Look,
}

/// There is no [`Watcher`] any more, or nobody who listens to it.
struct Gone;

impl Watcher {
    /// Watches these files from now on. Each time that they came to rest in another state than the one before, which
    /// was `seen` at first, that state comes out of the channel.
    pub fn start(watched: Watched, seen: Look) -> (Self, mpsc::Receiver<Look>) {
        let (told, changed) = mpsc::channel(1);
        let order = Order { watched, seen };
        let (orders, heard) = watch::channel(order.clone());
        let sentry = Sentry {
            order,
            orders: heard,
            events: Events::default(),
            told,
        };
        let task = tokio::spawn(async move {
            // Ends with its listeners.
            let _: Result<(), Gone> = sentry.watch().await;
        });
        (Self { orders, task }, changed)
    }

    /// Goes on with these files, of which `seen` is known. What is being written at the moment is not forgotten.
    pub fn follow(&self, watched: Watched, seen: Look) {
        self.orders.send_replace(Order { watched, seen });
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The task of a [`Watcher`].
struct Sentry {
    order: Order,
    orders: watch::Receiver<Order>,
    events: Events,
    told: mpsc::Sender<Look>,
}

impl Sentry {
    async fn watch(mut self) -> Result<(), Gone> {
        let mut least = Duration::ZERO;
        loop {
            // At once, too: nobody watched until now.
            let now = self.rest(least).await?;
            least = Duration::ZERO;
            if now != self.order.seen {
                self.order.seen = now.clone();
                debug!("files changed");
                self.told.send(now).await.map_err(|_| Gone)?;
            }
            while !self.event_within(RESCAN).await? {
                if self.look() != self.order.seen {
                    // One that changed just now has its event on the way.
                    if !self.event_within(LULL).await? {
                        debug!("something changed without an event");
                        least = SILENT_REST;
                    }
                    break;
                }
            }
        }
    }

    /// The files once they rest for the quiet time, or for `least` if that is longer.
    async fn rest(&mut self, least: Duration) -> Result<Look, Gone> {
        loop {
            let quiet = self.order.watched.quiet_time().max(least);
            let lull = LULL.min(quiet / 4);
            while self.event_within(lull).await? {}
            let before = self.look();
            if self.event_within(quiet - lull).await? {
                continue;
            }
            if let Some(wait) = self.events.unfinished() {
                debug!("a file is open for writing");
                self.event_within(wait).await?;
                continue;
            }
            if self.look() == before {
                return Ok(before);
            }
        }
    }

    /// Looks, once all is watched that the files are found by now: a change after the look raises an event.
    fn look(&mut self) -> Look {
        tokio::task::block_in_place(|| {
            let watched = &self.order.watched;
            self.events.watch(|| Places::of(watched));
            watched.look()
        })
    }

    /// Whether something happened within a time, or there is something else to watch.
    async fn event_within(&mut self, time: Duration) -> Result<bool, Gone> {
        tokio::select! {
            biased;
            order = self.orders.changed() => {
                order.map_err(|_| Gone)?;
                self.order = self.orders.borrow_and_update().clone();
                Ok(true)
            }
            () = self.events.next() => Ok(true),
            () = tokio::time::sleep(time) => Ok(false),
        }
    }
}
