//! Connections: each is handed to the SDK's HTTP front, which calls the [`Api`] for every request.

use std::sync::Arc;

use polyport_sdk::http::Front;
use polyport_sdk::{Connection, Error};

use crate::api::Api;
use crate::config::Config;

/// Serves the connections of one instance.
pub struct Server {
    front: Front,
    api: Arc<Api>,
}

impl Server {
    /// A server of this API.
    pub fn new(config: &Config, api: Api) -> Self {
        Self {
            front: Front::new(config.front()),
            api: Arc::new(api),
        }
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: Connection) -> Result<(), Error> {
        self.front.serve(connection, Arc::clone(&self.api)).await
    }

    /// Closes what the API has open.
    pub async fn close(&self) {
        self.api.close().await;
    }
}
