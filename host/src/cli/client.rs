//! `polyport client`: runs the client commands that plugins bring along, in this very process. What they are
//! called and what they do is the plugin's.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Options;
use crate::config::Config;
use crate::loader::{catalog, library};

/// Arguments of `polyport client`.
#[derive(Debug, Args)]
#[command(
    disable_help_subcommand = true,
    subcommand_value_name = "NAME|FILE",
    override_usage = "polyport client [OPTIONS] [NAME|FILE [ARGUMENTS]...]",
    after_help = "NAME is a plugin, FILE the path of its library; polyport client NAME --help shows its commands."
)]
pub struct Command {
    #[command(subcommand)]
    plugin: Option<Plugin>,
}

/// A plugin's name or library. All that follows it is the plugin's, options too.
#[derive(Debug, Subcommand)]
enum Plugin {
    #[command(external_subcommand)]
    Called(Vec<String>),
}

impl Command {
    /// Runs the plugin's command and gives its exit code, or lists all commands.
    pub fn run(self, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
        let Some(Plugin::Called(words)) = self.plugin else {
            return list(options);
        };
        let (name, arguments) = words
            .split_first()
            .expect("an external subcommand has a name");
        let plugin = PathBuf::from(name);
        let path = if plugin.is_file() {
            plugin
        } else {
            catalog::find(&folder(options)?, name, None)?
        };
        let Some(client) = library::client(&path)? else {
            return Err(no_commands(&path.display().to_string()));
        };
        let arguments = serde_json::to_vec(arguments)?;
        Ok(ExitCode::from((client.run)(arguments.as_slice().into())))
    }
}

fn no_commands(library: &str) -> Box<dyn Error> {
    format!("library {library}: expected client commands (interface client/1), got none").into()
}

/// The folder that `--plugins` names, else the configuration's, else the program's own.
fn folder(options: &Options) -> Result<PathBuf, Box<dyn Error>> {
    if let Some(folder) = &options.plugins {
        return Ok(folder.clone());
    }
    if options.config.is_some() || options.config_file().exists() {
        return Ok(Config::load(&options.source())?.host.plugins);
    }
    let program = std::env::current_exe()?;
    Ok(program.parent().map(PathBuf::from).unwrap_or_default())
}

/// The commands of every plugin in the folder. What cannot be loaded is told on standard error.
fn list(options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut code = ExitCode::SUCCESS;
    for entry in catalog::scan(&folder(options)?)? {
        let found = entry.manifest.and_then(|manifest| {
            let client = library::client(&entry.path)?;
            Ok((manifest.name, client))
        });
        match found {
            Ok((name, Some(client))) => {
                let help = (client.help)();
                for command in help.lines().take_while(|line| !line.is_empty()) {
                    println!("{name} {command}");
                }
            }
            Ok((_, None)) => {}
            Err(error) => {
                eprintln!("polyport: {}: {error}", entry.path.display());
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
