//! `polyport tls`: certificates for trying out.

mod self_signed;

use clap::Subcommand;

use super::Outcome;

/// Arguments of `polyport tls`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a certificate that signs itself, and its key; for trying out
    SelfSigned(self_signed::Command),
}

impl Command {
    /// Does it.
    pub fn run(self) -> Outcome {
        match self {
            Self::SelfSigned(command) => command.run(),
        }
    }
}
