//! `polyport user`: edits accounts.ini in place.

use clap::Subcommand;

use super::{Options, Outcome};

/// Arguments of `polyport user`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the accounts
    List,
}

impl Command {
    /// Does the chosen edit.
    pub fn run(self, _options: &Options) -> Outcome {
        match self {
            Self::List => Err("user list is not available yet".into()),
        }
    }
}
