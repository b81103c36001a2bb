//! An instance between two owners of its service: frozen to make way for the next, or taking over from the one
//! before.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, MutexGuard, PoisonError};

use futures_util::FutureExt;
use polyport_abi::accounts::AccountHandle;
use polyport_abi::handover::About;
use polyport_abi::limits::AdmissionHandle;
use tokio_util::sync::CancellationToken;

use super::doors::Ending;
use super::{Instance, Shared, guarded, panic_text};
use crate::accounts::Account;
use crate::handover::{Arrival, Crossing, Estate, Inherited};
use crate::limits::Admission;
use crate::net::{Origin, Pacer, Peer, Plain, Stream};
use crate::{Connection, Plugin};

/// A freeze that was asked for.
pub(super) struct Freeze {
    given_up: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl<P: Plugin> Instance<P> {
    /// Gives a successor what it waits for.
    pub(crate) fn inherit(&self, estate: Estate) {
        self.shared.succession.inherit(estate);
    }

    /// The successor serves from now on.
    pub(crate) fn activate(&self) {
        let _runtime = self.runtimes.first().enter();
        if let Some(plugin) = self.shared.plugin.get() {
            guarded("activate", || plugin.activate());
        }
        self.shared.succession.active.cancel();
    }

    /// Stops, and calls `done` once with what is to be handed over.
    pub(crate) fn freeze(&self, done: impl FnOnce(Result<Estate, String>) + Send + 'static) {
        self.shared.frozen.send_replace(true);
        let given_up = CancellationToken::new();
        let stop = given_up.clone();
        let shared = Arc::clone(&self.shared);
        let task = self.runtimes.first().spawn(async move {
            let frozen = async {
                shared.thawed().await;
                shared.frozen.send_replace(true);
                shared.freeze().await
            };
            let answer = tokio::select! {
                biased;
                () = stop.cancelled() => Err("given up by the host".into()),
                answer = frozen => answer,
            };
            done(answer);
        });
        *self.under_way() = Some(Freeze { given_up, task });
    }

    /// Goes on.
    pub(crate) fn thaw(&self) {
        let freeze = self.under_way().take();
        let shared = Arc::clone(&self.shared);
        shared.thawing.send_modify(|thawing| *thawing += 1);
        self.runtimes.first().spawn(async move {
            if let Some(Freeze { given_up, task }) = freeze {
                given_up.cancel();
                // One that panicked is over as well.
                let _ = task.await;
            }
            if let Some(plugin) = shared.plugin.get() {
                guarded("thaw", || plugin.thaw());
            }
            shared.frozen.send_replace(false);
            shared.thawing.send_modify(|thawing| *thawing -= 1);
        });
    }

    fn under_way(&self) -> MutexGuard<'_, Option<Freeze>> {
        self.freeze.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it can [`Instance::claim`] an account, an admission.
    pub(crate) fn claims(&self, account: bool, admission: bool) -> bool {
        (!account || self.shared.context.accounts().claims())
            && (!admission || self.shared.gate.claims())
    }

    /// The account and the admission of a connection that is taken over.
    pub(crate) fn claim(
        &self,
        account: Option<AccountHandle>,
        admission: Option<AdmissionHandle>,
    ) -> (Option<Account>, Admission) {
        let accounts = self.shared.context.accounts();
        (
            account.and_then(|account| accounts.claim(account)),
            self.shared.gate.claim(admission),
        )
    }

    /// Serves a connection of the instance before.
    pub(crate) fn adopt(&self, arrival: Arrival) {
        let shared = Arc::clone(&self.shared);
        let serving = async move {
            shared.succession.active.cancelled().await;
            let ending = shared.ending(arrival.listener);
            match shared.arrived(arrival, &ending) {
                Ok((connection, admission)) => {
                    if let Some(serving) = shared.serve(connection, admission, &ending.closing) {
                        serving.await;
                    }
                }
                Err(error) => tracing::warn!("a connection could not be taken over: {error}"),
            }
        };
        let core = self.shared.context.cores().least();
        self.shared.tasks.spawn_on(serving, core);
    }
}

impl<P: Plugin> Shared<P> {
    /// Waits until nothing that was frozen is still on its way back: what comes next must not overtake that.
    pub(super) async fn thawed(&self) {
        let mut thawing = self.thawing.subscribe();
        // The sender lives as long as `self`.
        let _ = thawing.wait_for(|thawing| *thawing == 0).await;
    }

    async fn freeze(&self) -> Result<Estate, String> {
        let Some(plugin) = self.plugin.get() else {
            return Err("it has not started".into());
        };
        match AssertUnwindSafe(plugin.freeze()).catch_unwind().await {
            Ok(frozen) => frozen.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("panicked: {}", panic_text(&*panic))),
        }
    }

    fn arrived(
        &self,
        arrival: Arrival,
        ending: &Ending,
    ) -> std::io::Result<(Connection, Arc<Admission>)> {
        let Arrival {
            version,
            listener,
            socket,
            about,
            unread,
            unsent,
            state,
            account,
            admission,
        } = arrival;
        let About {
            scheme,
            peer,
            local,
            secure,
            proxied,
            relayed,
        } = about;
        let end = |address: Option<_>| address.map_or(Peer::Unix, Peer::Ip);
        let (peer, local) = (end(peer), end(local));
        let line = self.context.line(&scheme);
        let scheme = Arc::clone(line.scheme());
        let limits = self.gate.limits(listener);
        let ends = proxied.then_some((peer, local));
        let stream = Stream::accepted(Plain::from_fd(socket)?, ends, line)
            .with_pacer(Pacer::of(limits.clone()))
            .with_relay(relayed);
        if let Some(account) = &account {
            stream.pace_for(account);
        }
        let admission = Arc::new(admission);
        let crossing = Crossing::new(
            self.passage,
            P::HANDOVER.version,
            listener,
            Arc::clone(&admission),
        );
        let connection = Connection {
            stream,
            origin: Origin::told(peer, secure),
            local,
            scheme,
            inherited: Some(Box::new(Inherited {
                version,
                unread,
                unsent,
                state,
                account,
            })),
            crossing,
            limits,
            drain: ending.drain.clone(),
        };
        Ok((connection, admission))
    }
}
