//! `polyport reload`: reads configuration, accounts and libraries again.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport reload`.
#[derive(Debug, Args)]
pub struct Command {
    /// Return when the reload is done, with its error if it failed
    #[arg(long)]
    wait: bool,
}

impl Command {
    /// Asks the running host to reload.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("reload is not available yet".into())
    }
}
