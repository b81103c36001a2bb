//! The engine as an operator sees it: looks that take a page at a time, and what he has done.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use polyport_mqtt_core::Time;
use polyport_mqtt_core::bans::{Ban, Kind};
use polyport_mqtt_core::broker::{
    Heard, Kicked, RetainedCursor, RetainedView, SessionView, SysFacts, Totals,
};
use tokio::sync::mpsc;

use super::{Client, Engine, Inner, Standing};
use crate::outbound::Outbound;

/// What may wait for one who listens, in bytes.
const QUEUE: usize = 4 << 20;
/// What a message costs beside its bytes.
const MESSAGE: usize = 256;

/// Who listens to what passes.
#[derive(Default)]
pub(super) struct Ears(Vec<(u64, Arc<Ear>)>);

/// One who listens.
struct Ear {
    queue: mpsc::UnboundedSender<Heard>,
    /// Bytes in the queue.
    queued: AtomicUsize,
    lost: AtomicU64,
}

/// Messages for one who listens.
pub(crate) struct Tail {
    number: u64,
    ear: Arc<Ear>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Tail {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => {
                let cost = heard.message.size() + MESSAGE;
                self.ear.queued.fetch_sub(cost, Ordering::Relaxed);
                heard
            }
            // `ear` keeps the other end open.
            None => std::future::pending().await,
        }
    }

    /// How many had no room so far.
    pub(crate) fn lost(&self) -> u64 {
        self.ear.lost.load(Ordering::Relaxed)
    }
}

impl Ear {
    fn take(&self, heard: Heard) {
        let cost = heard.message.size() + MESSAGE;
        if self.queued.load(Ordering::Relaxed) + cost > QUEUE {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.queued.fetch_add(cost, Ordering::Relaxed);
        // He who is going away has closed his end.
        let _ = self.queue.send(heard);
    }
}

impl Inner {
    /// Hands on what was heard in a batch.
    pub(super) fn tell_ears(&mut self) {
        if self.ears.0.is_empty() {
            return;
        }
        for heard in self.broker.take_heard() {
            let ear = self
                .ears
                .0
                .iter()
                .find(|(number, _)| *number == heard.listener);
            if let Some((_, ear)) = ear {
                ear.take(heard);
            }
        }
    }
}

impl Engine {
    /// One look; none unless it serves.
    fn look<T>(&self, look: impl FnOnce(&Inner) -> T) -> Option<T> {
        let inner = self.lock();
        (self.standing() == Standing::Serving).then(|| look(&inner))
    }

    /// One batch; none unless it serves.
    fn act<T>(&self, work: impl FnOnce(&mut Inner, Time) -> T) -> Option<T> {
        let inner = self.lock();
        (self.standing() == Standing::Serving).then(|| self.run(inner, work))
    }

    /// Shows the sessions of so many places from one on, each with what is known of its connection, and gives the
    /// place to go on from. None unless it serves.
    pub(crate) fn look_at_sessions(
        &self,
        from: u32,
        places: u32,
        mut each: impl FnMut(SessionView<'_>, Option<&Client>),
    ) -> Option<Option<u32>> {
        self.look(|inner| {
            inner.broker.look_at_sessions(from, places, |view| {
                let attached = view.connection().and_then(|connection| {
                    let attached = inner.connections.get(connection.id.index as usize);
                    attached.and_then(Option::as_ref)
                });
                each(view, attached.map(|attached| &attached.client));
            })
        })
    }

    /// Adds up so many places. None unless it serves.
    pub(crate) fn sum(&self, from: u32, places: u32, totals: &mut Totals) -> Option<Option<u32>> {
        self.look(|inner| inner.broker.sum(from, places, totals))
    }

    /// A look at retained messages; none for what is no filter. None unless it serves.
    pub(crate) fn look_for_retained(&self, filter: Option<&str>) -> Option<Option<RetainedCursor>> {
        self.look(|inner| inner.broker.look_for_retained(filter))
    }

    /// Shows some, and tells whether there may be more. None unless it serves.
    pub(crate) fn look_at_retained(
        &self,
        cursor: &mut RetainedCursor,
        page: (usize, usize),
        mut each: impl FnMut(RetainedView<'_>, Time),
    ) -> Option<bool> {
        let now = self.clock.now();
        self.look(|inner| {
            inner
                .broker
                .look_at_retained(cursor, page, |view| each(view, now))
        })
    }

    /// Removes a retained message; whether there was one. None unless it serves.
    pub(crate) fn remove_retained(&self, topic: &str) -> Option<bool> {
        self.act(|inner, now| inner.broker.remove_retained(topic, now))
    }

    /// Closes a client's connection. None unless it serves.
    pub(crate) fn kick(&self, client_id: &str, with_session: bool) -> Option<Kicked> {
        self.act(|inner, now| inner.broker.kick(client_id, with_session, now))
    }

    /// Lets nobody of a name in for so many milliseconds, or until that is lifted; whether a client was connected.
    /// None unless it serves.
    pub(crate) fn ban(
        &self,
        kind: Kind,
        name: &str,
        time: Option<u64>,
        reason: &str,
    ) -> Option<bool> {
        self.act(|inner, now| {
            let ban = Ban {
                since: now,
                until: time.map(|time| now + time),
                reason: reason.into(),
            };
            inner.broker.ban(kind, name, ban, now)
        })
    }

    /// Closes the connections of an account among so many places: how many, and the place to go on from. None unless
    /// it serves.
    pub(crate) fn close_banned(
        &self,
        account: &str,
        from: u32,
        places: u32,
    ) -> Option<(usize, Option<u32>)> {
        self.act(|inner, now| inner.broker.close_banned(account, from, places, now))
    }

    /// Lifts a ban; whether there was one. None unless it serves.
    pub(crate) fn unban(&self, kind: Kind, name: &str) -> Option<bool> {
        self.act(|inner, now| inner.broker.unban(kind, name, now))
    }

    /// So many bans behind one, or the first. None unless it serves.
    pub(crate) fn bans(
        &self,
        last: Option<(Kind, &str)>,
        most: usize,
    ) -> Option<Vec<(Kind, String, Ban)>> {
        let now = self.clock.now();
        self.look(|inner| {
            let bans = inner.broker.bans(last, now).take(most);
            bans.map(|(kind, name, ban)| (kind, name.to_owned(), ban.clone()))
                .collect()
        })
    }

    /// Listens to what passes. None unless it serves.
    pub(crate) fn listen(&self, filter: &str) -> Option<Tail> {
        self.act(|inner, _| {
            let number = inner.broker.listen(filter);
            let (queue, heard) = mpsc::unbounded_channel();
            let ear = Arc::new(Ear {
                queue,
                queued: AtomicUsize::new(0),
                lost: AtomicU64::new(0),
            });
            inner.ears.0.push((number, Arc::clone(&ear)));
            Tail { number, ear, heard }
        })
    }

    /// No more.
    pub(crate) fn stop_listening(&self, tail: &Tail) {
        let mut inner = self.lock();
        inner.broker.stop_listening(tail.number);
        inner.ears.0.retain(|(number, _)| *number != tail.number);
    }

    /// Waits until all that was promised so far is on the disk.
    pub(crate) async fn stored(&self) {
        let promised = self.lock().promised;
        let woken = Arc::new(Outbound::default());
        std::future::poll_fn(|cx| {
            woken.register(cx.waker());
            match self.wake_on_commit(promised, &woken) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Publishes what changed of the `$SYS` tree, if it serves.
    pub(crate) fn publish_sys(&self, facts: &SysFacts<'_>) {
        self.act(|inner, now| inner.broker.publish_sys(facts, now));
    }

    /// Takes the `$SYS` tree away, if it serves.
    pub(crate) fn clear_sys(&self) {
        self.act(|inner, now| inner.broker.clear_sys(now));
    }
}
