//! Connections: each is handed to the SDK's HTTP front, which calls the [`Api`] for every request.

use polyport_sdk::http::Front;
use polyport_sdk::live::Live;
use polyport_sdk::{Connection, Error};

use crate::api::Api;
use crate::config::Config;

/// Serves the connections of one instance.
pub struct Server {
    front: Front,
    /// The API with the settings of the moment.
    api: Live<Api>,
}

impl Server {
    /// A server of this API.
    pub fn new(api: Api) -> Self {
        Self {
            front: Front::new(api.config().front()),
            api: Live::new(api),
        }
    }

    /// Takes new settings over from the next request on.
    pub fn reload(&self, config: &Config) {
        self.front.set_options(config.front());
        self.api.set(self.api.get().with(config.clone()));
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: Connection) -> Result<(), Error> {
        self.front.serve(connection, &self.api).await
    }
}
