//! Wakes of connections. Those that live on another core are handed over to it all at once: a batch wakes that core,
//! not each of them from afar.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use polyport_sdk::cores::{self, Cores};

use crate::outbound::Outbound;

/// A connection to be woken, and its core.
pub(super) type Woken = (u16, Arc<Outbound>);

/// One inbox for each core.
#[derive(Debug)]
pub(super) struct Handoff(Vec<Arc<Inbox>>);

#[derive(Debug, Default)]
struct Inbox {
    woken: Mutex<Vec<Arc<Outbound>>>,
    waker: AtomicWaker,
}

impl Handoff {
    /// Has each of them look after its inbox.
    pub(super) fn between(cores: &Cores) -> Handoff {
        let inboxes = cores.each().map(|core| {
            let inbox = Arc::<Inbox>::default();
            core.spawn(Arc::clone(&inbox).look_after());
            inbox
        });
        Handoff(inboxes.collect())
    }

    /// Wakes all of them.
    pub(super) fn wake(&self, mut woken: Vec<Woken>) {
        let here = cores::current();
        for (core, inbox) in (0..).zip(&self.0) {
            if core != here {
                inbox.put(woken.extract_if(.., |(its, _)| *its == core));
            }
        }
        for (_, outbound) in woken {
            outbound.wake();
        }
    }
}

impl Inbox {
    /// Hands over; one alone is woken at once, which is the shorter way.
    fn put(&self, woken: impl Iterator<Item = Woken>) {
        let mut woken = woken.map(|(_, outbound)| outbound);
        let Some(first) = woken.next() else { return };
        let Some(second) = woken.next() else {
            return first.wake();
        };
        let mut waiting = self.lock();
        let is_asleep = waiting.is_empty();
        waiting.extend([first, second]);
        waiting.extend(woken);
        drop(waiting);
        if is_asleep {
            self.waker.wake();
        }
    }

    /// Wakes what is handed over, on the core that this runs on.
    async fn look_after(self: Arc<Self>) {
        let mut woken = Vec::new();
        loop {
            poll_fn(|cx| {
                self.waker.register(cx.waker());
                let mut waiting = self.lock();
                if waiting.is_empty() {
                    return Poll::Pending;
                }
                std::mem::swap(&mut *waiting, &mut woken);
                Poll::Ready(())
            })
            .await;
            woken.drain(..).for_each(|outbound| outbound.wake());
            // Otherwise other tasks might have to wait for as long as there are batches.
            tokio::task::yield_now().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Outbound>>> {
        // A panic while it was held left a list that is whole.
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    impl Count {
        fn total(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    fn connections(cores: &[u16], woken: &Arc<Count>) -> Vec<Woken> {
        let waker = Waker::from(Arc::clone(woken));
        let connection = |core: &u16| {
            let outbound = Arc::new(Outbound::default());
            outbound.register(&waker);
            (*core, outbound)
        };
        cores.iter().map(connection).collect()
    }

    #[test]
    fn another_core_is_woken_once_for_a_batch_and_wakes_its_own() {
        let handoff = Handoff(vec![Arc::default(), Arc::default()]);
        let looks = Arc::new(Count::default());
        let looking = Waker::from(Arc::clone(&looks));
        let mut cx = Context::from_waker(&looking);
        let mut other = std::pin::pin!(Arc::clone(&handoff.0[1]).look_after());
        assert!(other.as_mut().poll(&mut cx).is_pending());

        let woken = Arc::new(Count::default());
        handoff.wake(connections(&[0, 1, 1, 0, 1], &woken));
        handoff.wake(connections(&[1, 1], &woken));
        assert_eq!(woken.total(), 2, "those of this core");
        assert_eq!(looks.total(), 1, "one wake for all that it has not seen");
        assert!(other.as_mut().poll(&mut cx).is_pending());
        assert_eq!(woken.total(), 7);

        handoff.wake(connections(&[1], &woken));
        assert_eq!(woken.total(), 8, "one alone needs no hand-off");
    }

    #[test]
    fn what_comes_after_a_look_wakes_again() {
        let inbox = Arc::new(Inbox::default());
        let looks = Arc::new(Count::default());
        let looking = Waker::from(Arc::clone(&looks));
        let mut cx = Context::from_waker(&looking);
        let mut look = std::pin::pin!(Arc::clone(&inbox).look_after());
        let woken = Arc::new(Count::default());
        for round in 1..=3 {
            inbox.put(connections(&[1, 1], &woken).into_iter());
            for _ in 0..2 {
                assert!(look.as_mut().poll(&mut cx).is_pending());
            }
            assert_eq!(woken.total(), 2 * round);
        }
    }
}
