//! Taking a change back that failed before its commit.

use std::time::Duration;

use tracing::{error, info};

use super::Host;
use super::change::Started;
use crate::listeners::Fresh;

impl Host {
    /// Takes back what was done for a change that failed.
    pub(super) async fn undo(&mut self, started: Started) {
        for (_, instance) in started.instances {
            instance.end(Duration::ZERO, "a change that failed").await;
        }
        for name in &started.live {
            if let Some(entry) = self
                .entries
                .iter()
                .find(|entry| entry.service.name == *name)
            {
                self.reload_in_place(&entry.service);
            }
        }
        for (service, library) in started.displaced {
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == service.name);
            let tls = entry.and_then(|entry| entry.tls.as_deref());
            let fresh = Fresh::default();
            let restarted = match self.launch(&self.config, &service, &library, tls, &fresh) {
                Ok(instance) => instance
                    .ready(self.config.host.ready_timeout)
                    .await
                    .map(|()| instance),
                Err(error) => Err(error),
            };
            let Some(entry) = self
                .entries
                .iter_mut()
                .find(|entry| entry.service.name == service.name)
            else {
                continue;
            };
            match restarted {
                Ok(instance) => {
                    info!("service {}: runs again as it was before", service.name);
                    entry.instance = Some(instance);
                }
                Err(reason) => {
                    error!(
                        "service {}: could not be started again: {reason}",
                        service.name
                    );
                    entry.error = Some(reason);
                }
            }
        }
        self.show();
    }
}
