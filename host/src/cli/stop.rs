//! `polyport stop`: ends the running host.

use clap::Args;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport stop`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Returns when the running host has drained.
    pub fn run(self, options: &Options) -> Outcome {
        options.ask(&Ask::Stop)?;
        println!("stopped");
        Ok(())
    }
}
