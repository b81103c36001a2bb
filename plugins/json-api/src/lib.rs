//! JSON document store plugin: collections of documents over HTTP, kept in one SQLite file.
//!
//! A document comes back byte for byte as it was stored. `json` works on the text of documents,
//! `store` keeps them, `api` speaks HTTP about them, `serve` owns the sockets.

mod api;
mod config;
mod json;
mod serve;
mod store;

use std::sync::Arc;
use std::time::Duration;

use polyport_sdk::config::Problem;
use polyport_sdk::handover::Handover;
use polyport_sdk::http;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::summary::{Http, Summary};
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};

use api::Api;
use config::Config;
use serve::Server;
use store::Store;

/// One running instance.
pub struct JsonApi {
    server: Server,
}

impl Plugin for JsonApi {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("https", "tcp")];
    const ALPN: &'static [&'static str] = http::ALPN;
    const LIMITS: Known = http::LIMITS;
    const HANDOVER: Handover = http::HANDOVER;
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
        let opened = tokio::task::spawn_blocking(move || Store::open(&options)).await;
        let store = opened
            .map_err(|error| Error::Operator(error.to_string()))?
            .map_err(|error| Error::Operator(error.to_string()))?;
        let server = Server::new(Api::new(store, config, context));
        Ok(Self { server })
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

    async fn stop(&self) {
        self.server.close().await;
    }
}

// Not exclusive: SQLite lets the old and the new instance of a swap use the file at once.
export_plugin!(JsonApi { name: "json-api" });
