//! What an operator may ask of the running instances: whether one can be asked, and for how long. What the commands
//! mean is the plugin's.

use std::sync::{Arc, PoisonError, RwLock};

use polyport_abi::operate::{Command, OperateV1, Request};
use polyport_abi::plugin::InstanceHandle;

use crate::loader::Library;
use crate::loader::operation::{self, Operation};

/// Where an instance takes commands, until it is closed.
pub struct Operator {
    functions: &'static OperateV1,
    commands: Vec<Command>,
    /// None once it is closed; held while a command begins, so that whoever closes waits for that.
    instance: RwLock<Option<InstanceHandle>>,
}

impl std::fmt::Debug for Operator {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Operator")
    }
}

impl Operator {
    /// Of an instance, if its plugin takes commands.
    pub fn new(library: &Library, instance: InstanceHandle) -> Option<Arc<Self>> {
        let commands = library.commands();
        let functions = library.operate().filter(|_| !commands.is_empty())?;
        Some(Arc::new(Self {
            functions,
            commands,
            instance: RwLock::new(Some(instance)),
        }))
    }

    /// The command of this name.
    ///
    /// # Errors
    /// What there is instead.
    pub fn command(&self, name: &str) -> Result<&Command, String> {
        let found = self.commands.iter().find(|command| command.name == name);
        found.ok_or_else(|| {
            let names: Vec<&str> = self.commands.iter().map(|known| &*known.name).collect();
            format!("expected one of {}, got {name:?}", names.join(", "))
        })
    }

    /// Begins a command; none once it is closed.
    pub fn begin(&self, request: &Request) -> Option<Operation> {
        let instance = self.instance.read().unwrap_or_else(PoisonError::into_inner);
        instance.map(|instance| operation::begin(self.functions, instance, request))
    }

    /// Begins no more. No call is under way when this returns.
    pub fn close(&self) {
        *self
            .instance
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }
}
