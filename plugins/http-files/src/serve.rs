//! The instance: its folder, and the connections that the HTTP front serves for it.

use std::sync::Arc;

use polyport_sdk::client::Failure;
use polyport_sdk::config::Problem;
use polyport_sdk::files::Tree;
use polyport_sdk::handover::Handover;
use polyport_sdk::http::{self, Front};
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::live::Live;
use polyport_sdk::summary::{Http, Summary};
use polyport_sdk::{Connection, Context, Error, Plugin};

use crate::client;
use crate::config::{self, Config};
use crate::pipeline::Site;

/// One running instance.
#[derive(Debug)]
pub struct HttpFiles {
    front: Front,
    site: Live<Site>,
}

impl Plugin for HttpFiles {
    type Config = Config;

    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[("https", "tcp")];
    const ALPN: &'static [&'static str] = http::ALPN;
    const LIMITS: Known = http::LIMITS;
    const HANDOVER: Handover = http::HANDOVER;
    const LIVE: &'static [&'static str] = config::LIVE;

    fn busy(_: &str, why: Refusal, received: &[u8]) -> Busy {
        http::busy(why, received)
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
        let front = Front::new(config.front());
        Ok(Self {
            front,
            site: Live::new(Site::new(config, context, tree)),
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        self.front.serve(connection, &self.site).await
    }

    fn reload(&self, config: &Config) -> bool {
        self.front.set_options(config.front());
        self.site.set(self.site.get().with(config.clone()));
        true
    }

    fn summary(_: &str) -> Box<dyn Summary> {
        Box::<Http>::default()
    }
}
