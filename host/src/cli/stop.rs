//! `polyport stop`: ends the running host.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport stop`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Asks the running host to drain and exit, and waits for it.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("stop is not available yet".into())
    }
}
