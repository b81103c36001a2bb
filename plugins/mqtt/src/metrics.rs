//! The engine's numbers, shown once a second for as long as the instance is there.

use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::broker::DropCause;
use polyport_sdk::Context;
use polyport_sdk::metrics::Number;

use crate::condition::{Condition, Trouble};
use crate::engine::Engine;

pub(crate) async fn publish(engine: Arc<Engine>, context: Context, condition: Condition) {
    let metrics = context.metrics();
    let received = metrics.counter("messages_received");
    let sent = metrics.counter("messages_sent");
    let dropped = metrics.counter("messages_dropped");
    let dropped_for = DropCause::ALL.map(|cause| {
        metrics.counter(match cause {
            DropCause::QueueFull => "dropped_queue_full",
            DropCause::SocketFull => "dropped_socket_full",
            DropCause::TooLarge => "dropped_too_large",
            DropCause::Overload => "dropped_overload",
            DropCause::RetainedFull => "dropped_retained_full",
            DropCause::DelayedFull => "dropped_delayed_full",
        })
    });
    let mut dropped_before = [0; DropCause::ALL.len()];
    let sessions = metrics.gauge("sessions");
    let subscriptions = metrics.gauge("subscriptions");
    let retained = metrics.gauge("retained_messages");
    let delayed = metrics.gauge("delayed_messages");
    let held_bytes = metrics.gauge("held_bytes");
    let overloaded = metrics.gauge("overloaded");
    let raise = |number: Number, before: &mut u64, now: u64| {
        number.add(now - *before);
        *before = now;
    };
    let mut before = [0; 3];
    let mut every = tokio::time::interval(Duration::from_secs(1));
    context.activated().await;
    while !context.is_draining() {
        every.tick().await;
        let counters = engine.counters();
        raise(received, &mut before[0], counters.messages_received);
        raise(sent, &mut before[1], counters.messages_sent);
        raise(dropped, &mut before[2], counters.messages_dropped);
        for cause in DropCause::ALL {
            let at = cause as usize;
            let before = &mut dropped_before[at];
            raise(dropped_for[at], before, counters.dropped_for(cause));
        }
        let sizes = engine.sizes();
        sessions.set(sizes.sessions as u64);
        subscriptions.set(sizes.subscriptions as u64);
        retained.set(sizes.retained as u64);
        delayed.set(sizes.delayed as u64);
        let (held, is_overloaded) = engine.load();
        held_bytes.set(held as u64);
        overloaded.set(is_overloaded.into());
        let reason = is_overloaded
            .then(|| format!("overloaded: {held} bytes are held for clients, beyond max_memory"));
        condition.set(Trouble::Overload, reason);
    }
}
