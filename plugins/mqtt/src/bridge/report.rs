//! What is told of a bridge: numbers, its topic under `$SYS`, and whether anything is new.

use std::sync::{Mutex, MutexGuard, PoisonError};

use polyport_sdk::Context;
use polyport_sdk::metrics::Number;

use super::relay::Counts;
use crate::engine::Engine;

/// How a bridge is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The address it is connected to.
    pub(crate) address: Option<String>,
    /// Why it is, or was last, not connected.
    pub(crate) error: Option<String>,
    was_up: bool,
    told: bool,
    counted: Counts,
}

/// The state of one bridge, and where it is told.
pub(crate) struct Report {
    state: Mutex<State>,
    topic: Option<String>,
    connected: Number,
    queued: Number,
    sent: Number,
    received: Number,
    dropped: Number,
}

impl Report {
    pub(super) fn new(context: &Context, name: &str, notifications: bool) -> Self {
        let metrics = context.metrics();
        let metric = |what: &str| format!("bridge_{}_{what}", name.replace('-', "_"));
        Self {
            state: Mutex::default(),
            topic: notifications.then(|| state_topic(name)),
            connected: metrics.gauge(&metric("connected")),
            queued: metrics.gauge(&metric("queued")),
            sent: metrics.counter(&metric("sent")),
            received: metrics.counter(&metric("received")),
            dropped: metrics.counter(&metric("dropped")),
        }
    }

    /// How it is.
    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// It is connected.
    pub(super) fn up(&self, engine: &Engine, address: &str) {
        let mut state = self.lock();
        state.address = Some(address.into());
        state.was_up = true;
        state.told = false;
        state.counted = Counts::default();
        drop(state);
        self.connected.set(1);
        self.notify(engine, b"1");
    }

    /// It is not. True if the reason is new, or the bridge was connected.
    pub(super) fn down(&self, engine: &Engine, why: Option<&str>) -> bool {
        let mut state = self.lock();
        state.address = None;
        let same = state.error.as_deref() == why;
        let is_news = !(state.told && same);
        if why.is_some() {
            state.error = why.map(str::to_owned);
            state.told = true;
        }
        drop(state);
        self.connected.set(0);
        self.notify(engine, b"0");
        is_news
    }

    /// Whether it was connected since it was last asked.
    pub(super) fn was_up(&self) -> bool {
        std::mem::take(&mut self.lock().was_up)
    }

    /// Messages of the present connection.
    pub(super) fn count(&self, counts: Counts) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.counted, counts);
        drop(state);
        self.sent.add(counts.sent - before.sent);
        self.received.add(counts.received - before.received);
        self.dropped.add(counts.dropped - before.dropped);
    }

    /// Messages that wait to go there.
    pub(super) fn set_queued(&self, queued: usize) {
        self.queued.set(queued as u64);
    }

    /// Messages of it that wait.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.get()
    }

    /// The bridge is there no more.
    pub(super) fn forget(&self, engine: &Engine) {
        self.queued.set(0);
        self.notify(engine, b"");
    }

    fn notify(&self, engine: &Engine, state: &[u8]) {
        if let Some(topic) = &self.topic {
            engine.publish_own(topic, state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the state of a bridge is published, as mosquitto does.
pub(super) fn state_topic(name: &str) -> String {
    format!("$SYS/broker/connection/{name}/state")
}
