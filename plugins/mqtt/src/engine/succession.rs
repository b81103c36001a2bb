//! An engine between two instances: frozen to make way for the next, retired when that serves, or going on where the
//! one before was frozen.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use polyport_mqtt_core::{Authorizer, Broker, ConnectionId, Settings};
use polyport_sdk::Error;
use polyport_sdk::handover::Estate;

use super::{Client, Clock, Engine, Later, Woken, entropy};
use crate::estate::{self, Left};
use crate::outbound::Outbound;
use crate::store::{self, DiskStore};

/// How long the disk may take for what an engine that freezes had promised to nobody yet.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a connection of the engine before may be on its way here.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Where an engine stands between those before and after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// It works.
    Serving,
    /// Nothing changes: all that it has was given to the next one, which does not serve yet.
    Frozen,
    /// The next one serves: connections go there. What happens here is stored nowhere.
    Retired,
}

impl Engine {
    /// Where it stands.
    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Acquire) {
            standing if standing == Standing::Serving as u8 => Standing::Serving,
            standing if standing == Standing::Frozen as u8 => Standing::Frozen,
            _ => Standing::Retired,
        }
    }

    /// Waits until it stands elsewhere.
    pub(crate) async fn moved(&self, from: Standing) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.standing() != from {
                return;
            }
            moved.await;
        }
    }

    /// Stops between two batches with everything on the disk, and gives what it has.
    pub(crate) async fn freeze(self: &Arc<Self>) -> Result<Estate, Error> {
        let engine = Arc::clone(self);
        let freeze = engine.freezes.fetch_add(1, Ordering::AcqRel) + 1;
        let frozen = tokio::task::spawn_blocking(move || engine.freeze_now(freeze));
        let frozen = frozen.await.map_err(std::io::Error::other);
        frozen.flatten().map_err(Error::io("store"))
    }

    fn freeze_now(&self, freeze: u64) -> std::io::Result<Estate> {
        let settle = |store: &DiskStore| store.settle(SETTLE);
        // Most is on the disk before anybody has to wait.
        self.store.as_ref().map(settle).transpose()?;
        {
            let mut inner = self.lock();
            if self.freezes.load(Ordering::Acquire) != freeze {
                return Err(std::io::ErrorKind::Interrupted.into());
            }
            inner.frozen_at = self.clock.now();
            self.stand(Standing::Frozen);
        }
        let bequest = self.store.as_ref().map(settle).transpose()?;
        let inner = self.lock();
        let crosses = |id: ConnectionId| {
            let attached = inner.connections.get(id.index as usize);
            attached
                .and_then(Option::as_ref)
                .is_some_and(|attached| attached.client.crosses)
        };
        let exported = inner.broker.export(inner.frozen_at, crosses);
        let now = inner.frozen_at;
        drop(inner);
        Ok(estate::leave(now, bequest, exported))
    }

    /// Goes on as if it had not been frozen.
    pub(crate) fn thaw(&self) {
        let mut inner = self.lock();
        self.freezes.fetch_add(1, Ordering::AcqRel);
        if self.standing() != Standing::Frozen {
            return;
        }
        let later = std::mem::take(&mut inner.later);
        self.stand(Standing::Serving);
        self.run(inner, |inner, now| {
            let paused = now.0.saturating_sub(inner.frozen_at.0);
            inner.broker.resume(paused, now);
            for work in later {
                inner.apply(work, Standing::Serving, now);
            }
        });
        self.wake_all();
    }

    /// Another engine took this one's place.
    pub(super) fn retire(&self) {
        let mut inner = self.lock();
        let later = std::mem::take(&mut inner.later);
        self.stand(Standing::Retired);
        self.run(inner, |inner, now| {
            let connections = &inner.connections;
            inner.broker.retire(now, |id| {
                let attached = connections.get(id.index as usize);
                attached
                    .and_then(Option::as_ref)
                    .is_some_and(|attached| attached.client.crosses)
            });
            for work in later {
                if let Later::Lost(_) = work {
                    inner.apply(work, Standing::Retired, now);
                }
            }
        });
        self.wake_all();
    }

    /// A connection that could not go to the next engine ends here.
    pub(crate) fn dismiss(&self, id: ConnectionId) {
        self.batch(|inner, now| inner.broker.dismiss(id, now));
    }

    /// What a connection is called in the next engine; none if it ends here.
    pub(crate) fn connection_number(&self, id: ConnectionId) -> Option<u64> {
        self.lock().broker.connection_number(id)
    }

    /// An engine that goes on from an estate. `folder` is where its store is, or is to be.
    pub(crate) fn succeed(
        settings: Settings,
        of_store: store::Settings,
        folder: &Path,
        estate: Estate,
    ) -> Result<(Engine, Vec<String>), Error> {
        let Left {
            now,
            bequest,
            broker,
        } = estate::take(&estate.state, estate.files)
            .map_err(|error| Error::Operator(format!("hand-over: {error}")))?;
        let clock = Clock::new(now);
        let persistence = settings.persistence;
        let imported = Broker::import(settings, entropy, broker, clock.now());
        let mut broker =
            imported.map_err(|error| Error::Operator(format!("hand-over: {error}")))?;
        let described = || format!("store {}", folder.display());
        let mut damage = Vec::new();
        let store = match (persistence, bequest) {
            (false, _) => None,
            (true, Some(bequest)) => Some(
                DiskStore::inherit(folder, of_store, bequest).map_err(Error::io(described()))?,
            ),
            (true, None) => {
                let opened = DiskStore::open(folder, of_store);
                let (store, loaded) = opened.map_err(Error::io(described()))?;
                broker.begin_store(loaded.state);
                damage = loaded.damage;
                Some(store)
            }
        };
        Ok((Engine::of(broker, clock, store), damage))
    }

    /// It serves from now on: what became of connections that stayed behind is stored.
    pub(crate) fn begin(&self) {
        self.batch(|_, _| ());
        self.timers.notify_one();
    }

    /// After a while connections that have not come are lost.
    pub(crate) async fn await_arrivals(self: Arc<Self>) {
        tokio::time::sleep(ARRIVAL).await;
        self.batch(|inner, now| inner.broker.abandon(now));
    }

    /// A connection of the engine before has come. None unless serving; then none if it is not awaited any more.
    pub(crate) fn attach(
        &self,
        number: u64,
        authorizer: Option<Arc<dyn Authorizer>>,
        outbound: &Arc<Outbound>,
        client: Client,
        listener: &str,
        unsent: usize,
    ) -> Option<Option<ConnectionId>> {
        let inner = self.lock();
        (self.standing() == Standing::Serving).then(|| {
            self.run(inner, |inner, now| {
                let meter = Arc::clone(&outbound.meter);
                let broker = &mut inner.broker;
                let id = broker.attach(number, authorizer, meter, unsent, now)?;
                broker.came_by(id, listener);
                inner.keep(id, outbound, client);
                Some(id)
            })
        })
    }

    /// Under the lock of `inner`.
    fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
        self.moved.notify_waiters();
    }

    /// All connections, each with its core.
    pub(super) fn attached(&self) -> Vec<Woken> {
        let inner = self.lock();
        let attached = inner.connections.iter().flatten();
        attached
            .map(|attached| (attached.client.core, Arc::clone(&attached.outbound)))
            .collect()
    }

    fn wake_all(&self) {
        self.wake(self.attached());
    }
}

#[cfg(test)]
mod tests {
    use polyport_mqtt_core::Limits;
    use polyport_sdk::net::Peer;

    use super::*;

    #[test]
    fn only_who_cannot_go_on_is_opened_where_the_next_one_serves() {
        let engine = Arc::new(Engine::new(Settings::default(), None));
        let open = |crosses| {
            let client = Client {
                peer: Peer::Unix.into(),
                listener: 0,
                crosses,
                core: polyport_sdk::cores::current(),
            };
            let outbound = Arc::new(Outbound::default());
            let opened = engine.open(&outbound, client, "", Limits::default());
            opened.is_some()
        };
        assert!(open(true) && open(false));
        engine.freeze_now(0).unwrap();
        assert!(!open(true) && !open(false), "nobody while frozen");
        engine.retire();
        // A number that it was given here would be unknown there.
        assert!(!open(true));
        assert!(open(false), "it is told to go");
    }
}
