//! `polyport plugin`: looks at plugin libraries without running their code.

use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Options, Outcome};
use crate::config::Config;
use crate::loader::{catalog, manifest, probe};

/// Arguments of `polyport plugin`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the libraries in the plugins folder
    List,
    /// Show one plugin's manifest, and the keys of its settings with their defaults
    Inspect {
        /// A plugin's name, or the path of its library
        #[arg(value_name = "NAME|FILE")]
        plugin: PathBuf,
    },
    /// Load a library and print the keys of its settings: the host runs this in a child of its own
    #[command(hide = true)]
    Probe {
        /// The library
        file: PathBuf,
    },
}

impl Command {
    /// Prints what the manifests say.
    pub fn run(self, options: &Options) -> Outcome {
        match self {
            Self::List => list(&folder(options)?),
            Self::Inspect { plugin } => inspect(options, &plugin),
            Self::Probe { file } => {
                println!("{}", probe::probe_here(&file)?);
                Ok(())
            }
        }
    }
}

/// The folder that `--plugins` names, else the configuration's.
fn folder(options: &Options) -> Result<PathBuf, Box<dyn std::error::Error>> {
    match &options.plugins {
        Some(folder) => Ok(folder.clone()),
        None => Ok(Config::load(&options.source())?.host.plugins),
    }
}

fn list(folder: &Path) -> Outcome {
    println!("{:<16} {:<10} {:<8} LIBRARY", "PLUGIN", "VERSION", "ABI");
    for entry in catalog::scan(folder)? {
        match entry.manifest {
            Ok(found) => {
                println!(
                    "{:<16} {:<10} {:<8} {}",
                    found.name,
                    found.version,
                    found.abi,
                    entry.path.display()
                );
            }
            Err(error) => println!(
                "{:<16} {:<10} {:<8} {}: {error}",
                "-",
                "-",
                "-",
                entry.path.display()
            ),
        }
    }
    Ok(())
}

fn inspect(options: &Options, plugin: &Path) -> Outcome {
    let path = if plugin.is_file() {
        plugin.to_owned()
    } else {
        catalog::find(&folder(options)?, &plugin.display().to_string(), None)?
    };
    let named = |error: String| format!("library {}: {error}", path.display());
    let found = manifest::of_file(&path).map_err(named)?;
    let described = probe::probe(&path).map_err(named)?;
    println!(
        "{}",
        serde_json::to_string_pretty(
            &serde_json::json!({ "manifest": found, "description": described })
        )?
    );
    Ok(())
}
