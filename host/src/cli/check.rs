//! `polyport check`: everything a start or reload would refuse, without starting anything.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport check`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Prints every problem, one line each.
    pub fn run(self, _options: &Options) -> Outcome {
        Err("check is not available yet".into())
    }
}
