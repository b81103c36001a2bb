//! A connection being served: a task no larger than what its plugin keeps for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{Shared, panic_text};
use crate::limits::Admission;
use crate::net::{Peer, SmallPeer};
use crate::{Connection, Error, Plugin};

/// The tasks that end when a listener, or the instance, is closed. A [`CancellationToken`] would have a waiter of its
/// own in each of them, and a lock to take at each turn.
#[derive(Default)]
pub(super) struct Closing {
    closed: AtomicBool,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    wakers: Vec<Option<Waker>>,
    free: Vec<u32>,
}

impl Closing {
    /// Closed by `force`. To be called within the runtime.
    pub(super) fn by(force: CancellationToken) -> Arc<Self> {
        let closing = Arc::<Self>::default();
        let closes = Arc::clone(&closing);
        tokio::spawn(async move {
            force.cancelled().await;
            closes.close();
        });
        closing
    }

    fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        let tasks = std::mem::take(&mut self.lock().wakers);
        tasks.into_iter().flatten().for_each(Waker::wake);
    }

    /// Has a task woken when it is closed; the place to [`Closing::leave`].
    fn enter(&self, waker: &Waker) -> u32 {
        let mut tasks = self.lock();
        let waker = Some(waker.clone());
        let free = tasks.free.pop();
        match free.and_then(|place| Some((place, tasks.wakers.get_mut(place as usize)?))) {
            Some((place, empty)) => {
                *empty = waker;
                place
            }
            None => {
                tasks.wakers.push(waker);
                (tasks.wakers.len() - 1) as u32
            }
        }
    }

    fn leave(&self, place: u32) {
        let mut tasks = self.lock();
        let waker = tasks.wakers.get_mut(place as usize);
        let waker = waker.and_then(Option::take);
        if waker.is_some() {
            tasks.free.push(place);
        }
        if tasks.free.len() == tasks.wakers.len() {
            *tasks = Tasks::default();
        }
        drop(tasks);
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pin_project! {
    /// The plugin's code for one client, until it or the listener ends.
    struct Serving<P: Plugin, F> {
        shared: Arc<Shared<P>>,
        // Counts the client until this ends, also when the plugin has let go of its connection.
        admission: Arc<Admission>,
        closing: Arc<Closing>,
        place: Option<u32>,
        peer: SmallPeer,
        #[pin]
        work: F,
    }

    impl<P: Plugin, F> PinnedDrop for Serving<P, F> {
        fn drop(this: Pin<&mut Self>) {
            if let Some(place) = this.place {
                this.closing.leave(place);
            }
            this.shared.connections.sub(1);
        }
    }
}

impl<P: Plugin> Shared<P> {
    /// Runs the plugin's code for one client; none if it did not even begin.
    pub(super) fn serve(
        self: &Arc<Self>,
        connection: Connection,
        admission: Arc<Admission>,
        closing: &Arc<Closing>,
    ) -> Option<Pin<Box<impl Future<Output = ()> + Send + use<P>>>> {
        let plugin = Arc::clone(self.plugin.get()?);
        let peer = connection.peer();
        let work = catch_unwind(AssertUnwindSafe(|| plugin.connection(connection)));
        let work = work.map_err(|panic| self.panicked(peer, &*panic)).ok()?;
        self.connections.add(1);
        // Boxed: a task of no more than a pointer is the smallest there is.
        Some(Box::pin(Serving {
            shared: Arc::clone(self),
            admission,
            closing: Arc::clone(closing),
            place: None,
            peer: peer.into(),
            work,
        }))
    }

    fn panicked(&self, peer: Peer, panic: &(dyn std::any::Any + Send)) {
        let text = panic_text(panic);
        error!(%peer, "a connection panicked: {text}");
        self.context
            .degraded(&format!("a connection panicked: {text}"));
    }
}

impl<P: Plugin, F: Future<Output = Result<(), Error>>> Future for Serving<P, F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let peer = &*this.peer;
        if this.place.is_none() {
            // A task's waker stays the same. Before `closed` is looked at: one of the two sees the other.
            *this.place = Some(this.closing.enter(cx.waker()));
        }
        if this.closing.closed.load(Ordering::SeqCst) {
            debug!(%peer, "closed at the drain deadline");
            return Poll::Ready(());
        }
        match catch_unwind(AssertUnwindSafe(|| this.work.poll(cx))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(Ok(()))) => {}
            Ok(Poll::Ready(Err(problem @ Error::Operator(_)))) => warn!(%peer, "{problem}"),
            Ok(Poll::Ready(Err(problem))) => debug!(%peer, "{problem}"),
            Err(panic) => this.shared.panicked(peer.get(), &*panic),
        }
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker;

    #[test]
    fn places_are_used_again_and_given_back() {
        let closing = Closing::default();
        let waker = noop_waker();
        let places: Vec<u32> = (0..3).map(|_| closing.enter(&waker)).collect();
        closing.leave(places[1]);
        assert_eq!(closing.enter(&waker), places[1]);
        for place in places {
            closing.leave(place);
        }
        assert_eq!(closing.lock().wakers.capacity(), 0);
    }

    #[tokio::test]
    async fn all_are_woken_when_it_is_closed() {
        let force = CancellationToken::new();
        let closing = Closing::by(force.clone());
        let waits = |closing: Arc<Closing>| {
            let mut place = None;
            std::future::poll_fn(move |cx| {
                place.get_or_insert_with(|| closing.enter(cx.waker()));
                match closing.closed.load(Ordering::SeqCst) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
        };
        let tasks: Vec<_> = (0..3)
            .map(|_| tokio::spawn(waits(Arc::clone(&closing))))
            .collect();
        tokio::task::yield_now().await;
        force.cancel();
        for task in tasks {
            task.await.unwrap();
        }
        // Who comes later sees that it is too late, and leaves like everybody.
        let place = closing.enter(&noop_waker());
        closing.leave(place);
    }
}
