//! `polyport upgrade`: a new process of the program takes the running one's place.

use clap::Args;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport upgrade`.
#[derive(Debug, Args)]
pub struct Command {
    /// Wait until the new process serves and print its id and version, or why the old one goes on
    #[arg(long)]
    wait: bool,
}

impl Command {
    /// Asks for an upgrade.
    pub fn run(self, options: &Options) -> Outcome {
        let answer = options.ask(&Ask::Upgrade { wait: self.wait })?;
        if self.wait {
            let version = answer["version"].as_str().unwrap_or("-");
            println!("polyport {version} pid {}", answer["pid"]);
        }
        Ok(())
    }
}
