//! `polyport status`: the running host's services.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport status`.
#[derive(Debug, Args)]
pub struct Command {
    /// Print the whole state as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Prints the running host's state.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("status is not available yet".into())
    }
}
