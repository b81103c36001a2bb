//! MQTT 3.1, 3.1.1 and 5.0 broker plugin.
//!
//! The protocol lives in `polyport-mqtt-core`; here are its settings, its store on disk and its sockets.

mod bridge;
mod busy;
mod client;
mod condition;
mod config;
mod engine;
mod estate;
#[doc(hidden)]
pub mod fuzzing;
mod login;
mod luggage;
mod metrics;
mod operate;
mod outbound;
mod serve;
pub mod store;
mod summary;
mod sys;
mod websocket;

use std::sync::Arc;

use polyport_sdk::client::{Arguments, Failure};
use polyport_sdk::config::Problem;
use polyport_sdk::handover::{Estate, Handover};
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::live::Live;
use polyport_sdk::operate::{self as operating, Answer, Command};
use polyport_sdk::summary::Summary;
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};
use tokio::sync::watch;
use tracing::{info, warn};

use bridge::Bridges;
use condition::{Condition, Trouble};
pub use config::{
    Action, AutoSubscription, Config, Durability, Memory, Overlapping, Override, Redirect, Rewrite,
    SlowConsumer,
};
use engine::Engine;
use store::DiskStore;

/// One running broker.
pub struct Mqtt {
    engine: Arc<Engine>,
    context: Context,
    door: Live<websocket::Door>,
    bridges: Arc<Bridges>,
    sys_interval: watch::Sender<u64>,
}

impl Plugin for Mqtt {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("mqtts", "tcp"), ("wss", "ws")];

    const LIMITS: Known = config::LIMITS;
    const LIVE: &'static [&'static str] = config::LIVE;
    const PINNED: bool = true;
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
        let condition = Condition::new(&context);
        let changes = context.accounts().changes();
        let engine = match context.inheritance().await {
            Some(estate) => {
                let engine = Arc::new(succeed(&config, &context, &condition, estate).await?);
                tokio::spawn(await_arrivals(Arc::clone(&engine), context.clone()));
                engine
            }
            None if config.persistence => {
                let store = open_store(&config, &context, &condition).await?;
                Arc::new(Engine::new(config.engine(), Some(store)))
            }
            None => Arc::new(Engine::new(config.engine(), None)),
        };
        engine.set_absent(login::absent(&context));
        engine.spread(context.cores());
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
        tokio::spawn(Arc::clone(&engine).watch_accounts(changes));
        tokio::spawn(run_timers(Arc::clone(&engine), context.clone()));
        tokio::spawn(write_images(Arc::clone(&engine), context.clone()));
        let metrics = metrics::publish(Arc::clone(&engine), context.clone(), condition);
        tokio::spawn(metrics);
        let door = Live::new(config.door());
        let bridges = Arc::new(Bridges::new(&engine, &context, config.bridges));
        tokio::spawn(run_bridges(Arc::clone(&bridges), context.clone()));
        let sys_interval = watch::Sender::new(config.sys_interval);
        let sys = sys::publish(
            Arc::clone(&engine),
            context.clone(),
            sys_interval.subscribe(),
        );
        tokio::spawn(sys);
        Ok(Mqtt {
            engine,
            context,
            door,
            bridges,
            sys_interval,
        })
    }

    fn connection(
        self: Arc<Self>,
        connection: Connection,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        let (engine, context) = (Arc::clone(&self.engine), self.context.clone());
        serve::serve(engine, context, self.door.get(), connection)
    }

    fn reload(&self, config: &Config) -> bool {
        let done = self.engine.set_settings(config.engine(), config.store());
        if done {
            self.door.set(config.door());
            self.bridges.apply(&config.bridges);
            self.sys_interval.send_if_modified(|interval| {
                let before = std::mem::replace(interval, config.sys_interval);
                before != *interval
            });
        }
        done
    }

    const COMMANDS: &'static [Command] = operate::COMMANDS;

    async fn operate(
        self: Arc<Self>,
        command: &'static Command,
        arguments: Arguments,
        answer: Answer,
    ) -> Result<(), operating::Failure> {
        operate::operate(self, command, arguments, answer).await
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
    condition: &Condition,
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
    tell_damage(&loaded.damage, condition);
    Ok((store, loaded))
}

fn tell_damage(damage: &[String], condition: &Condition) {
    for damage in damage {
        warn!("store: {damage}");
    }
    if !damage.is_empty() {
        let reason = format!("store was damaged: {}", damage.join("; "));
        condition.set(Trouble::Store, Some(reason));
    }
}

/// The engine that goes on where the instance before stopped.
async fn succeed(
    config: &Config,
    context: &Context,
    condition: &Condition,
    estate: Estate,
) -> Result<Engine, Error> {
    let folder = context.state_dir().join("store");
    let (settings, store) = (config.engine(), config.store());
    let succeeded =
        tokio::task::spawn_blocking(move || Engine::succeed(settings, store, &folder, estate));
    let (engine, damage) = succeeded
        .await
        .map_err(|error| Error::Operator(format!("hand-over: {error}")))??;
    tell_damage(&damage, condition);
    Ok(engine)
}

async fn run_bridges(bridges: Arc<Bridges>, context: Context) {
    context.activated().await;
    bridges.begin();
    bridges.look().await;
}

async fn run_timers(engine: Arc<Engine>, context: Context) {
    context.activated().await;
    engine.run_timers().await;
}

async fn write_images(engine: Arc<Engine>, context: Context) {
    context.activated().await;
    engine.write_images().await;
}

async fn await_arrivals(engine: Arc<Engine>, context: Context) {
    context.activated().await;
    engine.await_arrivals().await;
}

export_plugin!(Mqtt {
    name: "mqtt",
    exclusive: true
});
