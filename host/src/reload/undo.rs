//! Taking a change back that failed before its commit.

use std::time::Duration;

use tracing::{error, info};

use super::Host;
use super::change::Started;
use crate::instance::Beginning;
use crate::limits;
use crate::listeners::Fresh;

impl Host {
    /// Takes back what was done for a change that failed.
    pub(super) async fn undo(&mut self, mut started: Started) {
        self.thaw_all(&mut started).await;
        for (_, instance) in started.instances {
            instance.end(Duration::ZERO, "a change that failed").await;
        }
        for name in &started.live {
            if let Some(entry) = self.entry(name) {
                self.reload_in_place(&entry.service);
            }
        }
        for name in &started.listeners {
            let mut entries = self.entries.iter_mut();
            if let Some(entry) = entries.find(|entry| entry.service.name == *name)
                && let Some(instance) = &mut entry.instance
            {
                instance.follow_listeners(&entry.service.listen, Duration::ZERO);
                let known = instance.library.limits();
                let rules = limits::rules(&entry.service, known, &instance.places);
                instance.side.set_limits(rules);
            }
        }
        for (service, library) in started.displaced {
            let tls = self
                .entry(&service.name)
                .and_then(|entry| entry.tls.as_deref());
            let fresh = Fresh::default();
            let own = Beginning::Own;
            let restarted = match self.launch(&self.config, &service, &library, tls, &fresh, own) {
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
