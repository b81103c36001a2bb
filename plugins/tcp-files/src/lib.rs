//! A small file protocol over TCP: requests and answers are JSON, files follow as raw bytes.
//!
//! Written against the public SDK alone, as an example of a plugin that reads files for accounts:
//! `protocol` finds requests in the stream, `reply` writes answers, `serve` talks to a client; `client` is one.

mod client;
mod config;
mod handover;
mod protocol;
mod reply;
mod serve;

use std::sync::Arc;

use polyport_sdk::client::Failure;
use polyport_sdk::config::Problem;
use polyport_sdk::files::Tree;
use polyport_sdk::handover::Handover;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::live::Live;
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};

pub use config::Config;

/// One instance.
pub struct TcpFiles {
    context: Context,
    current: Live<Current>,
}

/// What an operator may change while clients are connected.
struct Current {
    config: Config,
    tree: Tree,
}

impl Plugin for TcpFiles {
    type Config = Config;

    const LIMITS: Known = config::LIMITS;
    const HANDOVER: Handover = handover::HANDOVER;
    const LIVE: &'static [&'static str] = config::LIVE;

    fn busy(_: &str, _: Refusal, received: &[u8]) -> Busy {
        reply::busy(received)
    }

    const CLIENT_HELP: &'static str = client::HELP;

    fn client(arguments: Vec<String>) -> Result<(), Failure> {
        client::run(arguments)
    }

    fn check(config: &Config) -> Vec<Problem> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        let tree = Tree::open(&context, &config.root, config.policy()).await?;
        Ok(Self {
            context,
            current: Live::new(Current { config, tree }),
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        serve::client(self, connection).await
    }

    fn reload(&self, config: &Config) -> bool {
        self.current.set(Current {
            tree: self.current.get().tree.with_policy(config.policy()),
            config: config.clone(),
        });
        true
    }
}

export_plugin!(TcpFiles { name: "tcp-files" });
