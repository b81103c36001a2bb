//! `polyport run`: the host in the foreground.

use clap::Args;

use super::{Options, Outcome};

/// Arguments of `polyport run`.
#[derive(Debug, Args)]
pub struct Command {
    /// Take the place of the process at standard input
    #[arg(long, hide = true)]
    take_over: bool,
}

impl Command {
    /// Runs until SIGTERM, SIGINT or `polyport stop`.
    pub fn run(self, options: &Options) -> Outcome {
        crate::run::run(options.source(), self.take_over)
    }
}
