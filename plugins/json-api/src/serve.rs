//! Connections: each is handed to the SDK's HTTP front, which calls the [`Api`] for every request.

use std::sync::{Arc, PoisonError, RwLock};

use polyport_sdk::http::{Front, Handler, Problem, Request, Response};
use polyport_sdk::{Connection, Error};

use crate::api::{Api, METHODS};
use crate::config::Config;

/// Serves the connections of one instance.
pub struct Server {
    front: Front,
    current: Arc<Current>,
}

/// The API with the settings of the moment.
struct Current(RwLock<Arc<Api>>);

impl Current {
    fn get(&self) -> Arc<Api> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Handler for Current {
    fn methods(&self) -> &str {
        METHODS
    }

    async fn handle(&self, request: Request) -> Result<Response, Problem> {
        self.get().handle(request).await
    }
}

impl Server {
    /// A server of this API.
    pub fn new(api: Api) -> Self {
        Self {
            front: Front::new(api.config().front()),
            current: Arc::new(Current(RwLock::new(Arc::new(api)))),
        }
    }

    /// Takes new settings over from the next request on, but for the front's, which hold for new connections.
    /// False if they need another instance.
    pub fn reload(&self, config: &Config) -> bool {
        let api = self.current.get();
        if !config.fits(api.config()) {
            return false;
        }
        self.front.set_options(config.front());
        let mut current = self
            .current
            .0
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(api.with(config.clone()));
        true
    }

    /// Serves one connection to its end.
    pub async fn serve(&self, connection: Connection) -> Result<(), Error> {
        self.front
            .serve(connection, Arc::clone(&self.current))
            .await
    }

    /// Closes what the API has open.
    pub async fn close(&self) {
        self.current.get().close().await;
    }
}
