//! MQTT 3.1, 3.1.1 and 5.0 broker plugin.
//!
//! The protocol lives in `polyport-mqtt-core`; here are its settings, its store on disk and its sockets.

mod busy;
mod client;
mod config;
mod engine;
mod estate;
#[doc(hidden)]
pub mod fuzzing;
mod login;
mod luggage;
mod outbound;
mod serve;
pub mod store;
mod summary;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::broker::DropCause;
use polyport_sdk::client::Failure;
use polyport_sdk::config::Problem;
use polyport_sdk::handover::{Estate, Handover};
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::live::Live;
use polyport_sdk::metrics::Number;
use polyport_sdk::summary::Summary;
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};
use tracing::{info, warn};

pub use config::{Config, Durability, SlowConsumer};
use engine::Engine;
use store::DiskStore;

/// One running broker.
pub struct Mqtt {
    engine: Arc<Engine>,
    context: Context,
    websocket_paths: Live<Vec<String>>,
}

impl Plugin for Mqtt {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("mqtts", "tcp"), ("wss", "ws")];

    const LIMITS: Known = config::LIMITS;
    const LIVE: &'static [&'static str] = config::LIVE;
    const HANDOVER: Handover = estate::HANDOVER;

    fn busy(scheme: &str, why: Refusal, received: &[u8]) -> Busy {
        busy::answer(scheme, why, received)
    }

    const CLIENT_HELP: &'static str = client::HELP;

    fn client(arguments: Vec<String>) -> Result<(), Failure> {
        client::run(arguments)
    }

    fn check(config: &Config) -> Vec<Problem> {
        config.problems()
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        let engine = match context.inheritance().await {
            Some(estate) => {
                let engine = Arc::new(succeed(&config, &context, estate).await?);
                tokio::spawn(await_arrivals(Arc::clone(&engine), context.clone()));
                engine
            }
            None if config.persistence => {
                let store = open_store(&config, &context).await?;
                Arc::new(Engine::new(config.engine(), Some(store)))
            }
            None => Arc::new(Engine::new(config.engine(), None)),
        };
        let sizes = engine.sizes();
        info!(
            sessions = sizes.sessions,
            subscriptions = sizes.subscriptions,
            retained = sizes.retained,
            "broker is open"
        );
        for (scheme, address) in context.listeners() {
            info!("opening {scheme} listen socket on {address}");
        }
        tokio::spawn(run_timers(Arc::clone(&engine), context.clone()));
        tokio::spawn(publish_metrics(Arc::clone(&engine), context.clone()));
        Ok(Mqtt {
            engine,
            context,
            websocket_paths: Live::new(config.websocket_paths),
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        serve::serve(
            &self.engine,
            &self.context,
            &self.websocket_paths.get(),
            connection,
        )
        .await
    }

    fn reload(&self, config: &Config) -> bool {
        let done = self.engine.set_settings(config.engine(), config.store());
        if done {
            self.websocket_paths.set(config.websocket_paths.clone());
        }
        done
    }

    fn summary(scheme: &str) -> Box<dyn Summary> {
        summary::reader(scheme)
    }

    async fn freeze(&self) -> Result<Estate, Error> {
        self.engine.freeze().await
    }

    fn thaw(&self) {
        self.engine.thaw();
    }

    fn activate(&self) {
        self.engine.begin();
    }

    fn listener_gone(&self, listener: u32) {
        self.engine.listener_gone(listener);
    }

    fn drain(&self) {
        self.engine.drain();
    }

    async fn stop(&self) {
        if let Err(error) = self.engine.close().await {
            warn!("store was not closed in order: {error}");
        }
    }
}

async fn open_store(
    config: &Config,
    context: &Context,
) -> Result<(DiskStore, store::Loaded), Error> {
    let folder = context.state_dir().join("store");
    let settings = config.store();
    let opened = tokio::task::spawn_blocking(move || {
        let described = folder.display().to_string();
        DiskStore::open(&folder, settings).map_err(Error::io(format!("store {described}")))
    });
    let (store, loaded) = opened
        .await
        .map_err(|error| Error::Operator(format!("store: {error}")))??;
    tell_damage(&loaded.damage, context);
    Ok((store, loaded))
}

fn tell_damage(damage: &[String], context: &Context) {
    for damage in damage {
        warn!("store: {damage}");
    }
    if !damage.is_empty() {
        context.degraded(&format!("store was damaged: {}", damage.join("; ")));
    }
}

/// The engine that goes on where the instance before stopped.
async fn succeed(config: &Config, context: &Context, estate: Estate) -> Result<Engine, Error> {
    let folder = context.state_dir().join("store");
    let (settings, store) = (config.engine(), config.store());
    let succeeded =
        tokio::task::spawn_blocking(move || Engine::succeed(settings, store, &folder, estate));
    let (engine, damage) = succeeded
        .await
        .map_err(|error| Error::Operator(format!("hand-over: {error}")))??;
    tell_damage(&damage, context);
    Ok(engine)
}

async fn run_timers(engine: Arc<Engine>, context: Context) {
    context.activated().await;
    engine.run_timers().await;
}

async fn await_arrivals(engine: Arc<Engine>, context: Context) {
    context.activated().await;
    engine.await_arrivals().await;
}

/// Shows the engine's numbers once a second, as long as the instance is there.
async fn publish_metrics(engine: Arc<Engine>, context: Context) {
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
        })
    });
    let mut dropped_before = [0; DropCause::ALL.len()];
    let sessions = metrics.gauge("sessions");
    let subscriptions = metrics.gauge("subscriptions");
    let retained = metrics.gauge("retained_messages");
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
            raise(
                dropped_for[at],
                &mut dropped_before[at],
                counters.dropped[at],
            );
        }
        let sizes = engine.sizes();
        sessions.set(sizes.sessions as u64);
        subscriptions.set(sizes.subscriptions as u64);
        retained.set(sizes.retained as u64);
    }
}

export_plugin!(Mqtt {
    name: "mqtt",
    exclusive: true
});
