//! `polyport diff`: what a reload would change.

use clap::Args;
use serde_json::Value;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport diff`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Prints a line for each service.
    pub fn run(self, options: &Options) -> Outcome {
        let answer = options.ask(&Ask::Diff)?;
        for line in answer["changes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            println!("{line}");
        }
        Ok(())
    }
}
