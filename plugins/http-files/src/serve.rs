//! The instance: its folder, and the connections that the HTTP front serves for it.

use std::sync::Arc;

use polyport_sdk::client::Failure;
use polyport_sdk::config::Problem;
use polyport_sdk::files::Jail;
use polyport_sdk::http::Front;
use polyport_sdk::summary::{Http, Summary};
use polyport_sdk::{Connection, Context, Error, Plugin};
use tracing::{info, warn};

use crate::client;
use crate::config::Config;
use crate::pipeline::Site;

/// One running instance.
#[derive(Debug)]
pub struct HttpFiles {
    front: Front,
    site: Arc<Site>,
}

impl Plugin for HttpFiles {
    type Config = Config;

    const CLIENT_HELP: &'static str = client::HELP;

    fn client(arguments: Vec<String>) -> Result<(), Failure> {
        client::run(arguments)
    }

    fn check(config: &Config) -> Vec<Problem> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        let root = context.resolve(&config.root);
        let symlinks = config.symlinks;
        let folder = root.clone();
        let opened = tokio::task::spawn_blocking(move || Jail::open(&folder, symlinks)).await;
        let jail = opened
            .map_err(|panic| Error::Operator(panic.to_string()))?
            .map_err(|error| Error::Operator(format!("root: {}: {error}", root.display())))?;
        sweep(jail.clone());
        let front = Front::new(config.front());
        Ok(Self {
            front,
            site: Arc::new(Site::new(config, context, jail)),
        })
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        self.front.serve(connection, Arc::clone(&self.site)).await
    }

    fn summary(_: &str) -> Box<dyn Summary> {
        Box::<Http>::default()
    }
}

/// Removes what uploads left behind that a crash ended, while the instance already serves.
fn sweep(jail: Jail) {
    tokio::task::spawn_blocking(move || match jail.sweep() {
        Ok(0) => {}
        Ok(removed) => info!("removed {removed} uploads that were broken off"),
        Err(error) => warn!("uploads that were broken off could not be looked for: {error}"),
    });
}
