//! JSON document store plugin: collections of documents over HTTP, kept in one SQLite file.
//!
//! A document comes back byte for byte as it was stored. `json` works on the text of documents,
//! `store` keeps them, `keeper` has the store open while it is this instance's, `api` speaks HTTP about them, `serve`
//! owns the sockets.

mod api;
mod config;
mod json;
mod keeper;
mod serve;
mod store;

use std::sync::Arc;
use std::time::Duration;

use polyport_sdk::config::Problem;
use polyport_sdk::handover::{Estate, Handover};
use polyport_sdk::http;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::summary::{Http, Summary};
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};

use api::Api;
use config::Config;
use keeper::Keeper;
use serve::Server;

/// One running instance.
pub struct JsonApi {
    server: Server,
    keeper: Arc<Keeper>,
    context: Context,
}

impl Plugin for JsonApi {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("https", "tcp")];
    const ALPN: &'static [&'static str] = http::ALPN;
    const LIMITS: Known = http::LIMITS;
    /// The estate is the right to open the database: nothing is in it.
    const HANDOVER: Handover = Handover {
        estate: true,
        ..http::HANDOVER
    };
    const LIVE: &'static [&'static str] = config::LIVE;

    fn busy(_: &str, why: Refusal, received: &[u8]) -> Busy {
        http::busy(why, received)
    }

    fn check(config: &Config) -> Vec<Problem> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        let options = store::Options {
            path: context.state_dir().join(&config.database),
            durability: config.durability,
            busy_timeout: Duration::from_secs(config.busy_timeout),
            readers: config.readers,
            max_bytes: (config.max_database_size > 0).then_some(config.max_database_size),
            check_bytes: config.check_size,
        };
        let taken_over = context.inheritance().await.is_some();
        let opening = move || Keeper::open(options, taken_over);
        let opened = tokio::task::spawn_blocking(opening).await;
        let keeper = opened
            .map_err(|error| Error::Operator(error.to_string()))?
            .map_err(|error| Error::Operator(error.to_string()))?;
        let keeper = Arc::new(keeper);
        let server = Server::new(Api::new(Arc::clone(&keeper), config, context.clone()));
        Ok(Self {
            server,
            keeper,
            context,
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        self.server.serve(connection).await
    }

    fn reload(&self, config: &Config) -> bool {
        self.server.reload(config);
        true
    }

    fn summary(_: &str) -> Box<dyn Summary> {
        Box::<Http>::default()
    }

    async fn freeze(&self) -> Result<Estate, Error> {
        self.keeper.freeze().await;
        Ok(Estate {
            version: Self::HANDOVER.version,
            state: Vec::new(),
            files: Vec::new(),
        })
    }

    fn thaw(&self) {
        self.keeper.thaw(&self.context);
    }

    fn drain(&self) {
        self.keeper.yield_up();
    }

    async fn stop(&self) {
        self.keeper.close().await;
    }
}

export_plugin!(JsonApi {
    name: "json-api",
    exclusive: true
});
