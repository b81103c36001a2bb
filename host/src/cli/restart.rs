//! `polyport restart`: starts services anew, on the sockets that they have.

use clap::Args;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport restart`.
#[derive(Debug, Args)]
pub struct Command {
    /// The service; all of them when left out
    service: Option<String>,
}

impl Command {
    /// Returns when the new instances serve.
    pub fn run(self, options: &Options) -> Outcome {
        let answer = options.ask(&Ask::Restart {
            service: self.service,
        })?;
        println!("generation {}", answer["generation"]);
        Ok(())
    }
}
