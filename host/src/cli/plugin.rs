//! `polyport plugin`: looks at plugin libraries without running their code.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Options, Outcome};

/// Arguments of `polyport plugin`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the libraries in the plugins folder
    List,
    /// Show one plugin's manifest
    Inspect {
        /// A plugin's name, or the path of its library
        #[arg(value_name = "NAME|FILE")]
        plugin: PathBuf,
    },
}

impl Command {
    /// Prints what the manifests say.
    pub fn run(self, _options: &Options) -> Outcome {
        match self {
            Self::List => Err("plugin list is not available yet".into()),
            Self::Inspect { plugin } => {
                Err(format!("plugin inspect {} is not available yet", plugin.display()).into())
            }
        }
    }
}
