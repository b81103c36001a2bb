//! `polyport status`: the running host's services.

use clap::Args;
use serde_json::Value;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport status`.
#[derive(Debug, Args)]
pub struct Command {
    /// Print the whole state as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Prints the running host's state.
    pub fn run(self, options: &Options) -> Outcome {
        let state = options.ask(&Ask::Status)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&state)?);
        } else {
            print(&state);
        }
        Ok(())
    }
}

fn print(state: &Value) {
    let number = |key: &str| state[key].as_u64().unwrap_or_default();
    println!(
        "polyport {} pid {}, up {} s, generation {}",
        text(&state["version"]),
        number("pid"),
        number("uptime"),
        number("generation")
    );
    if let Some(told) = state["files_overridden"].as_str() {
        println!("{told}");
    }
    if let Some(error) = state["last_error"].as_str() {
        println!("last error: {error}");
    }
    println!(
        "{:<16} {:<14} {:<10} {:<9} {:>11}  LISTENS ON",
        "SERVICE", "PLUGIN", "VERSION", "STATE", "CONNECTIONS"
    );
    for service in state["services"].as_array().into_iter().flatten() {
        let listen: Vec<&str> = service["listen"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        println!(
            "{:<16} {:<14} {:<10} {:<9} {:>11}  {}",
            text(&service["name"]),
            text(&service["plugin"]),
            text(&service["version"]),
            text(&service["state"]),
            service["connections"].as_u64().unwrap_or_default(),
            listen.join(" ")
        );
        if let Some(reason) = service["reason"].as_str() {
            println!("    {reason}");
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}
