//! `polyport reload`: the running host reads its files again.

use clap::Args;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport reload`.
#[derive(Debug, Args)]
pub struct Command {
    /// Wait until it is done and print the generation, or why it was refused
    #[arg(long)]
    wait: bool,
}

impl Command {
    /// Asks for a reload.
    pub fn run(self, options: &Options) -> Outcome {
        let answer = options.ask(&Ask::Reload { wait: self.wait })?;
        if self.wait {
            println!("generation {}", answer["generation"]);
        }
        Ok(())
    }
}
