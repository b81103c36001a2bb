//! What the process that ends (the old one) and the process that begins (the new one) say to each other.
//!
//! ```text
//! new                          old
//! Hello                    ->
//!                          <-  Welcome (sockets, accounts), or Refused
//! Freeze SERVICE           ->                                for each service that has an estate
//!                          <-  Estate, or Refused
//! End SERVICE              ->                                for each that only one may run, without an estate
//!                          <-  Ended
//! Ready                    ->
//!                          <-  Go (a channel for connections)    no way back from here
//! Serving                  ->
//! Accounts                 ->                                each time that they change
//! ```
//! Up to `Go` either may leave, and the old one goes on. [`Hello`] stays as it is for ever; all else may change with
//! [`PROTOCOL`].

use std::path::PathBuf;

use polyport_abi::handover::Described;
use serde::{Deserialize, Serialize};

use crate::accounts::SessionTold;
use crate::listeners::Told;

/// The version of all of this.
pub const PROTOCOL: u32 = 1;

/// The new process's first word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its [`PROTOCOL`].
    pub protocol: u32,
    /// The version of its program.
    pub version: String,
}

/// What else the new process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromNew {
    /// It goes on: a service has started.
    Started {
        /// Its name.
        service: String,
    },
    /// Freeze this service, whose estate it takes.
    Freeze {
        /// Its name.
        service: String,
    },
    /// End this service, so that the new process can start it.
    End {
        /// Its name.
        service: String,
    },
    /// All is there; it waits for the word.
    Ready {
        /// The services whose connections it takes.
        takes: Vec<String>,
        /// Whether it takes the control socket.
        control: bool,
    },
    /// It gives up.
    Failed {
        /// Why.
        reason: String,
    },
    /// It serves.
    Serving,
    /// Other accounts are in force: the bytes are the file. Only after `Serving`.
    Accounts,
}

/// What the old process says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromOld {
    /// What there is to take over. The files are those of `sockets`, then that of `control`; the bytes are the accounts
    /// file in force, if there is one.
    Welcome(Box<Welcome>),
    /// It does not hand over.
    Refused {
        /// Why.
        reason: String,
    },
    /// A service is frozen; the bytes are its state, the files go with it.
    Estate {
        /// The version of the state.
        version: u32,
    },
    /// A service has ended.
    Ended,
    /// The new process serves from now on; the file is the channel on which connections pass.
    Go,
}

/// What there is to take over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version of the old process's program.
    pub version: String,
    /// The services that run there.
    pub running: Vec<Running>,
    /// The listening sockets.
    pub sockets: Vec<Told>,
    /// The path of the control socket.
    pub control: PathBuf,
    /// Whether there is an accounts file.
    pub accounts: bool,
}

/// A service that runs in the old process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its name.
    pub service: String,
    /// Its plugin's name.
    pub plugin: String,
    /// What its plugin hands over; nothing, where it is not in a state to.
    pub gives: Described,
}

/// A connection that passes. The file is its socket; the bytes are what is told of it, those not used, those not sent,
/// and the plugin's own, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The service.
    pub service: String,
    /// The plugin that passes it.
    pub plugin: String,
    /// The version of what the plugin says of it.
    pub version: u32,
    /// The name of its listener, if it still has one.
    pub listener: Option<String>,
    /// How many bytes each part has, but for the last.
    pub parts: [usize; 3],
    /// The login of its account.
    pub account: Option<SessionTold>,
    /// Whether it counts among the connections.
    pub counted: bool,
}

/// The answer: the number of `handover/1`.
pub type Answer = u32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_what_it_was_in_the_first_release() {
        let hello: Hello = serde_json::from_str(r#"{"protocol":1,"version":"0.1.0"}"#).unwrap();
        let text = serde_json::to_string(&hello).unwrap();
        assert_eq!(text, r#"{"protocol":1,"version":"0.1.0"}"#);
        let later = r#"{"protocol":9,"version":"3.0.0","more":[]}"#;
        assert_eq!(serde_json::from_str::<Hello>(later).unwrap().protocol, 9);
    }
}
