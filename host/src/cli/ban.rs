//! `polyport ban`: who failed to log in too often, and forgiving it.

use std::time::Duration;

use clap::Subcommand;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport ban`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the addresses and users that the running host refuses to log in
    List,
    /// Let an address or a user log in again
    Lift {
        /// As `ban list` shows it
        subject: String,
    },
}

impl Command {
    /// Asks the running host.
    pub fn run(self, options: &Options) -> Outcome {
        match self {
            Self::List => {
                let answer = options.ask(&Ask::Bans)?;
                let bans = answer["bans"].as_array().cloned().unwrap_or_default();
                for ban in &bans {
                    let rest = Duration::from_secs(ban["seconds"].as_u64().unwrap_or(0));
                    let text = |key: &str| ban[key].as_str().unwrap_or_default().to_owned();
                    println!("{:<8} {:<40} for {rest:?}", text("kind"), text("subject"));
                }
                if bans.is_empty() {
                    println!("nobody is banned");
                }
            }
            Self::Lift { subject } => {
                options.ask(&Ask::Lift {
                    subject: subject.clone(),
                })?;
                println!("{subject} may log in again");
            }
        }
        Ok(())
    }
}
