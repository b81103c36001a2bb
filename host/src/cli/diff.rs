//! `polyport diff`: what a reload would change.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport diff`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Prints one line for each service.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("diff is not available yet".into())
    }
}
