//! `polyport rollback`: back to a kept generation.

use clap::Args;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport rollback`.
#[derive(Debug, Args)]
pub struct Command {
    /// The generation, as `polyport generations` lists it; the one before the present one when left out
    generation: Option<u64>,
}

impl Command {
    /// Returns when it is in force.
    pub fn run(self, options: &Options) -> Outcome {
        let answer = options.ask(&Ask::Rollback {
            generation: self.generation,
        })?;
        println!("generation {}", answer["generation"]);
        Ok(())
    }
}
