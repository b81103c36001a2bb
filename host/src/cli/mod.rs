//! The command line: what may be typed, which command it means, how an outcome becomes an exit
//! code. One file per command holds its arguments and what it does.
//!
//! Exit codes: 0 done, 1 failed, 2 wrong usage.

mod ban;
mod check;
mod client;
mod diff;
mod generations;
mod import;
mod operate;
mod plugin;
mod reload;
mod restart;
mod rollback;
mod run;
mod status;
mod stop;
mod tls;
mod trace;
mod upgrade;
mod user;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::config::{Config, Source};
use crate::control;

/// What a command comes to; the error's chain is printed once, by [`main`].
pub type Outcome = Result<(), Box<dyn Error>>;

/// The configuration read when `-c` is not given: the first that exists, else the second.
const DEFAULT_CONFIG: [&str; 2] = ["config/polyport.toml", "/etc/polyport/polyport.toml"];

/// One server process for MQTT, HTTP, FTP and whatever else its plugins speak.
#[derive(Debug, Parser)]
#[command(
    name = "polyport",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "polyport NAME COMMAND gives a command to the running service of the plugin NAME; polyport NAME --help lists them."
)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command understands, before or after its name.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Configuration file [default: config/polyport.toml, else /etc/polyport/polyport.toml]
    #[arg(short, long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override one configuration key with a TOML value, e.g. --set 'services.mqtt.listen=["127.0.0.1:1884"]'
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Folder of the plugin libraries, instead of the configuration's `host.plugins`
    #[arg(long, global = true, value_name = "DIR")]
    pub plugins: Option<PathBuf>,
    /// Control socket of the running host, instead of the configuration's `host.control`
    #[arg(long, global = true, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the host in the foreground
    Run(run::Command),
    /// Check the configuration, the accounts and the plugins' settings; change nothing
    Check(check::Command),
    /// Show what a reload would change in the running host
    Diff(diff::Command),
    /// Make the running host read its configuration, accounts and libraries again
    Reload(reload::Command),
    /// List the kept generations of the running host
    Generations(generations::Command),
    /// Make the running host go back to a kept generation; the files stay as they are
    Rollback(rollback::Command),
    /// Show the running host's services
    Status(status::Command),
    /// Stop the running host: drain, then exit
    Stop(stop::Command),
    /// Start one service of the running host anew, or all of them
    Restart(restart::Command),
    /// Replace the running process by one of the program file as it is now; clients notice nothing
    Upgrade(upgrade::Command),
    /// Show what passes over a service's connections, live; write a capture file
    Trace(trace::Command),
    /// Edit accounts.ini, keeping its comments and order
    #[command(subcommand)]
    User(user::Command),
    /// Print what another server's files come to in polyport.toml and accounts.ini, or write it there
    Import(import::Command),
    /// List who failed to log in too often, or let somebody log in again
    #[command(subcommand)]
    Ban(ban::Command),
    /// Make certificates for trying out
    #[command(subcommand)]
    Tls(tls::Command),
    /// Look at plugin libraries without running their code
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Talk to a server with a plugin's client commands; without a plugin: list them
    Client(client::Command),
    /// A plugin's name, and a command to its running service
    #[command(external_subcommand)]
    Operate(Vec<String>),
}

impl Options {
    /// The configuration that is meant, with the overrides.
    pub fn source(&self) -> Source {
        Source {
            file: self.config_file(),
            set: self.set.clone(),
            plugins: self.plugins.clone(),
            control: self.control.clone(),
        }
    }

    /// Sends a command to the running host: by `--control`, or by the configuration's socket.
    pub fn ask(&self, command: &control::Command) -> Result<Value, Box<dyn Error>> {
        Ok(control::client::ask(&self.control_socket()?, command)?)
    }

    /// The running host's control socket: `--control`, or the configuration's.
    pub fn control_socket(&self) -> Result<PathBuf, Box<dyn Error>> {
        Ok(match &self.control {
            Some(socket) => socket.clone(),
            None => {
                let source = self.source();
                match Config::load(&source) {
                    Ok(config) => config.host.control,
                    // A host may be running its last good generation.
                    Err(error) => {
                        crate::reload::last_config(&source)
                            .ok_or(error)?
                            .host
                            .control
                    }
                }
            }
        })
    }

    /// The configuration file that is meant, whether it exists or not.
    pub fn config_file(&self) -> PathBuf {
        if let Some(file) = &self.config {
            return file.clone();
        }
        let [near, system] = DEFAULT_CONFIG.map(PathBuf::from);
        if near.exists() { near } else { system }
    }
}

/// Parses the command line, does the command and prints the chain of causes if it fails.
pub fn main() -> ExitCode {
    let CommandLine { options, command } = CommandLine::parse(); // exits with 2 on wrong usage
    let outcome = match command {
        Command::Run(command) => command.run(&options),
        Command::Check(command) => command.run(&options),
        Command::Diff(command) => command.run(&options),
        Command::Reload(command) => command.run(&options),
        Command::Generations(command) => command.run(&options),
        Command::Rollback(command) => command.run(&options),
        Command::Status(command) => command.run(&options),
        Command::Stop(command) => command.run(&options),
        Command::Restart(command) => command.run(&options),
        Command::Upgrade(command) => command.run(&options),
        Command::Trace(command) => command.run(&options),
        Command::User(command) => command.run(&options),
        Command::Ban(command) => command.run(&options),
        Command::Import(command) => command.run(&options),
        Command::Tls(command) => command.run(),
        Command::Plugin(command) => command.run(&options),
        Command::Client(command) => match command.run(&options) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Operate(words) => match operate::run(words, &options) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_chain(&*error);
            ExitCode::FAILURE
        }
    }
}

/// `polyport: outer: inner: innermost`, on standard error.
fn print_chain(error: &dyn Error) {
    eprintln!("polyport: {}", crate::reload::chain(error));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn definitions_are_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn options_are_taken_before_and_after_the_command() {
        let before = CommandLine::try_parse_from(["polyport", "-c", "a.toml", "run"]).unwrap();
        let after = CommandLine::try_parse_from(["polyport", "run", "-c", "a.toml"]).unwrap();
        assert_eq!(before.options.config, after.options.config);
        assert_eq!(before.options.config_file(), PathBuf::from("a.toml"));
    }

    #[test]
    fn overrides_add_up() {
        let line =
            CommandLine::try_parse_from(["polyport", "check", "--set", "a=1", "--set", "b=2"])
                .unwrap();
        assert_eq!(line.options.set, ["a=1", "b=2"]);
    }
}
