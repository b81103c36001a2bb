//! What a service keeps from one instance to the next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::accounts::Entrance;
use crate::handover::Way;
use crate::limits::Counts;

/// One service's.
#[derive(Debug, Clone)]
pub struct Lasting {
    /// Its clients.
    pub counts: Arc<Counts>,
    /// How its accounts see it.
    pub entrance: Arc<Entrance>,
    /// Where the connections of its earlier instances go.
    pub way: Arc<Way>,
}

/// What lasts of all services, by name. A service that comes back finds its own again.
#[derive(Debug, Default)]
pub struct Registry {
    services: Mutex<HashMap<String, Lasting>>,
}

impl Registry {
    /// What lasts of a service.
    pub fn service(&self, name: &str) -> Lasting {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let lasting = services.entry(name.to_owned()).or_insert_with(|| Lasting {
            counts: Arc::default(),
            entrance: Entrance::new(name),
            way: Arc::default(),
        });
        lasting.clone()
    }
}
