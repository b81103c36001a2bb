//! `polyport NAME COMMAND`: a command of a plugin to its running service. What there is to say is the plugin's; here
//! are the options that all of them have, and how rows look.

mod help;
mod show;

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use polyport_abi::operate::{Command, END_DONE, END_USAGE, End, Request, Said};
use serde::Deserialize;

use super::{CommandLine, Options};
use crate::config::Config;
use crate::control::{Command as Ask, client};
use crate::loader::{catalog, library, manifest, probe};
use show::Shown;

/// Exit code of wrong usage.
const WRONG_USAGE: u8 = 2;
/// How near a command has to come to a word that is none to be named.
const NEAR: f64 = 0.7;

/// What was typed: a plugin's name and all that follows it.
struct Typed {
    plugin: String,
    json: bool,
    help: bool,
    service: Option<String>,
    words: Vec<String>,
}

/// The first line of an answer.
#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum First {
    /// Rows follow.
    Show(Command),
    /// It is over.
    End(End),
}

/// Runs the command that these words are, and gives its exit code.
pub(super) fn run(words: Vec<String>, options: &Options) -> Result<ExitCode, Box<dyn Error>> {
    let mut typed = match Typed::read(words) {
        Ok(typed) => typed,
        Err(text) => return Ok(wrong(&text)),
    };
    if typed.help || typed.words.is_empty() {
        let Some(commands) = described(options, &typed.plugin)? else {
            unknown(&typed.plugin);
        };
        let text = help::of(&typed.plugin, &commands);
        return Ok(if typed.help {
            print!("{text}");
            ExitCode::SUCCESS
        } else {
            eprint!("{text}");
            ExitCode::from(WRONG_USAGE)
        });
    }
    let arguments = typed.words.split_off(1);
    let ask = Ask::Operate {
        plugin: typed.plugin.clone(),
        service: typed.service,
        request: Request {
            command: typed.words.remove(0),
            arguments,
        },
    };
    let begun = options
        .control_socket()
        .and_then(|socket| Ok(client::begin(&socket, &ask)?));
    let (answer, lines) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            if !is_plugin(options, &typed.plugin) {
                unknown(&typed.plugin);
            }
            return Err(error);
        }
    };
    match first(answer)? {
        First::End(end) => Ok(ended(&end)),
        First::Show(command) => follow(&command, typed.json, lines),
    }
}

fn first(answer: serde_json::Value) -> Result<First, Box<dyn Error>> {
    let mut answer = answer;
    let mut part = |key: &str| answer.get_mut(key).map(serde_json::Value::take);
    if let Some(end) = part("end") {
        return Ok(First::End(serde_json::from_value(end)?));
    }
    let show = part("show").ok_or("expected how the answer is shown, got none")?;
    Ok(First::Show(serde_json::from_value(show)?))
}

/// Prints what comes until it ends.
fn follow(command: &Command, json: bool, lines: impl BufRead) -> Result<ExitCode, Box<dyn Error>> {
    let mut out = io::stdout().lock();
    let mut shown = Shown::new(command, json);
    let mut end = None;
    for line in lines.lines() {
        let said = serde_json::from_str(&line?)?;
        let written = match said {
            Said::Row(row) => shown.row(&mut out, row),
            Said::Note(text) => shown.flush(&mut out).map(|()| eprintln!("({text})")),
            Said::End(last) => {
                end = Some(last);
                break;
            }
        };
        if let Err(error) = written {
            return broken(error);
        }
    }
    if let Err(error) = shown.flush(&mut out).and_then(|()| out.flush()) {
        return broken(error);
    }
    Ok(ended(&end.ok_or("the host ended")?))
}

/// Nobody reads any more, as behind `| head`: that is no failure.
fn broken(error: io::Error) -> Result<ExitCode, Box<dyn Error>> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        _ => Err(error.into()),
    }
}

fn ended(end: &End) -> ExitCode {
    match end.code {
        END_DONE => ExitCode::SUCCESS,
        END_USAGE => wrong(&end.text),
        _ => {
            eprintln!("polyport: {}", show::escaped(&end.text));
            ExitCode::FAILURE
        }
    }
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("polyport: {}", show::escaped(text));
    ExitCode::from(WRONG_USAGE)
}

impl Typed {
    fn read(words: Vec<String>) -> Result<Self, String> {
        let mut all = words.into_iter();
        let mut typed = Self {
            plugin: all.next().unwrap_or_default(),
            json: false,
            help: false,
            service: None,
            words: Vec::new(),
        };
        while let Some(word) = all.next() {
            match word.as_str() {
                "--json" => typed.json = true,
                "--help" => typed.help = true,
                "-h" | "help" if typed.words.is_empty() => typed.help = true,
                "--service" => {
                    let name = all.next();
                    typed.service =
                        Some(name.ok_or("--service: expected a name, got none".to_owned())?);
                }
                "--" => {
                    typed.words.push(word);
                    typed.words.extend(all.by_ref());
                }
                _ => match word.strip_prefix("--service=") {
                    Some(name) => typed.service = Some(name.into()),
                    None => typed.words.push(word),
                },
            }
        }
        Ok(typed)
    }
}

/// Ends the program as clap does for a word that is no command: no plugin has this name.
fn unknown(name: &str) -> ! {
    let commands = CommandLine::command();
    let mut error = clap::Error::new(ErrorKind::InvalidSubcommand).with_cmd(&commands);
    error.insert(
        ContextKind::InvalidSubcommand,
        ContextValue::String(name.to_owned()),
    );
    let known = commands.get_subcommands().map(clap::Command::get_name);
    let near = known.filter(|known| strsim::jaro(known, name) > NEAR);
    let near: Vec<String> = near.map(str::to_owned).collect();
    if !near.is_empty() {
        error.insert(
            ContextKind::SuggestedSubcommand,
            ContextValue::Strings(near),
        );
    }
    error.exit();
}

/// Whether a plugin of this name is here, or known to the host that runs.
fn is_plugin(options: &Options, name: &str) -> bool {
    library_of(options, name).is_ok_and(|found| found.is_some())
        || options.ask(&Ask::Status).is_ok_and(|state| {
            let services = state["services"].as_array();
            services.is_some_and(|all| all.iter().any(|service| service["plugin"] == name))
        })
}

/// The library of a plugin of this name; none if there is none.
fn library_of(options: &Options, name: &str) -> Result<Option<PathBuf>, Box<dyn Error>> {
    let folder = match &options.plugins {
        Some(folder) => folder.clone(),
        None if options.config.is_some() || options.config_file().exists() => {
            Config::load(&options.source())?.host.plugins
        }
        None => {
            let program = std::env::current_exe()?;
            program.parent().map(PathBuf::from).unwrap_or_default()
        }
    };
    let found = catalog::find(&folder, name, None).ok();
    // One that is named after the plugin and says nothing of itself does not count.
    Ok(found.filter(|path| manifest::of_file(path).is_ok_and(|found| found.name == name)))
}

/// The commands that a plugin describes; none if there is no such plugin.
fn described(options: &Options, name: &str) -> Result<Option<Vec<Command>>, Box<dyn Error>> {
    let Some(path) = library_of(options, name)? else {
        return Ok(None);
    };
    let described =
        probe::probe(&path).map_err(|error| format!("library {}: {error}", path.display()))?;
    Ok(Some(library::commands(&described)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> Typed {
        Typed::read(words.iter().map(|word| (*word).to_owned()).collect()).unwrap()
    }

    #[test]
    fn options_of_all_commands_stand_anywhere_before_two_dashes() {
        let typed = read(&[
            "x",
            "--json",
            "list",
            "--service",
            "a",
            "-n",
            "1",
            "--",
            "--json",
        ]);
        assert!(typed.json && !typed.help);
        assert_eq!(typed.service.as_deref(), Some("a"));
        assert_eq!(typed.words, ["list", "-n", "1", "--", "--json"]);
        let typed = read(&["x", "list", "-h", "y", "--service=b"]);
        assert!(!typed.help, "-h may be the command's own");
        assert_eq!(typed.service.as_deref(), Some("b"));
        assert!(read(&["x", "-h"]).help && read(&["x", "list", "--help"]).help);
        assert!(Typed::read(vec!["x".into(), "--service".into()]).is_err());
    }
}
