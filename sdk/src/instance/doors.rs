//! The listeners of an instance by their places: they come and go while it runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::accept::{Door, Open};
use super::serving::Closing;
use super::{Instance, Listener, Shared, guarded};
use crate::Plugin;

/// When that ends which came by a listener: with the instance, or with the listener alone.
#[derive(Clone)]
pub(super) struct Ending {
    /// It is to finish what is under way.
    pub(super) drain: CancellationToken,
    /// It is closed.
    pub(super) force: CancellationToken,
    /// The tasks of its connections, which are closed by that.
    pub(super) closing: Arc<Closing>,
}

impl Ending {
    /// Ends with the instance at the latest. To be called within the runtime.
    fn of<P>(shared: &Shared<P>) -> Self {
        let force = shared.force.child_token();
        Self {
            drain: shared.drain.child_token(),
            closing: Closing::by(force.clone()),
            force,
        }
    }
}

/// The listeners that are open.
#[derive(Default)]
pub(super) struct Doors(Mutex<HashMap<u32, Ending>>);

impl Doors {
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Ending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P: Plugin> Shared<P> {
    /// Prepares a listener for [`Shared::receive_by`]. To be called within the runtime.
    pub(super) fn open_door(&self, listener: Listener, place: u32) -> std::io::Result<Open> {
        let ending = Ending::of(self);
        Door::open(
            listener,
            place,
            P::TLS_SCHEMES,
            (&self.context, &self.gate),
            ending,
        )
    }

    /// Accepts clients from now on.
    pub(super) fn receive_by(self: &Arc<Self>, open: Open) {
        let (place, ending) = open.place();
        self.doors.lock().insert(place, ending);
        self.tasks.spawn(Arc::clone(self).accept(open));
    }

    /// When a connection ends that belongs to this listener.
    pub(super) fn ending(&self, place: u32) -> Ending {
        let known = self.doors.lock().get(&place).cloned();
        known.unwrap_or_else(|| Ending::of(self))
    }
}

impl<P: Plugin> Instance<P> {
    /// Adds listeners, each at its place and by its scheme and address, and removes others, whose connections are dropped at the deadline. False:
    /// it cannot, and nothing was changed.
    pub(crate) fn change_listeners(
        &self,
        add: Vec<(u32, Listener)>,
        names: Vec<(u32, String, String)>,
        remove: &[u32],
        deadline: Duration,
    ) -> bool {
        let shared = &self.shared;
        let serves = shared.plugin.get().is_some()
            && shared.succession.active.is_cancelled()
            && !shared.drain.is_cancelled()
            && !*shared.frozen.borrow();
        let taken = |(place, _): &(u32, Listener)| shared.doors.lock().contains_key(place);
        if !serves || add.iter().any(taken) {
            return false;
        }
        let _runtime = self.runtimes.first().enter();
        if let Some(last) = add.iter().map(|(place, _)| *place).max() {
            shared.gate.grow(last);
        }
        let opened = add
            .into_iter()
            .map(|(place, listener)| shared.open_door(listener, place));
        let opened: Vec<Open> = match opened.collect() {
            Ok(opened) => opened,
            Err(error) => {
                tracing::warn!("listening socket: {error}");
                return false;
            }
        };
        for (place, scheme, address) in names {
            shared.context.add_listener(place, &scheme, &address);
        }
        for open in opened {
            shared.receive_by(open);
        }
        for place in remove {
            let Some(ending) = shared.doors.lock().remove(place) else {
                continue;
            };
            ending.drain.cancel();
            if let Some(plugin) = shared.plugin.get() {
                guarded("listener_gone", || plugin.listener_gone(*place));
            }
            self.runtimes.first().spawn(async move {
                tokio::time::sleep(deadline).await;
                ending.force.cancel();
            });
        }
        true
    }
}
