//! `polyport restart`: starts services anew.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport restart`.
#[derive(Debug, Args)]
pub struct Command {
    /// The service to restart; all of them when absent
    service: Option<String>,
}

impl Command {
    /// Asks the running host to start the service anew.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("restart is not available yet".into())
    }
}
