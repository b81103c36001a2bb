//! `polyport generations`: what the host was changed to, when and why.

use clap::Args;
use serde_json::Value;

use super::{Options, Outcome};
use crate::control::Command as Ask;

/// Arguments of `polyport generations`.
#[derive(Debug, Args)]
pub struct Command {
    /// Print all that is known of them as JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Prints the kept generations, oldest first.
    pub fn run(self, options: &Options) -> Outcome {
        let kept = options.ask(&Ask::Generations)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&kept)?);
        } else {
            print(&kept);
        }
        Ok(())
    }
}

fn print(kept: &Value) {
    println!("  {:>6}  {:<20}  {:<12}  CAUSE", "NUMBER", "TIME", "HASH");
    for one in kept["generations"].as_array().into_iter().flatten() {
        let text = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
        let mark = if one["number"] == kept["current"] {
            "*"
        } else {
            " "
        };
        let hash = text("hash");
        println!(
            "{mark} {:>6}  {:<20}  {:<12}  {}",
            one["number"].to_string(),
            text("time"),
            hash.get(..12).unwrap_or(&hash),
            text("cause")
        );
        for line in text("result").lines().filter(|line| *line != "good") {
            println!("          {line}");
        }
        for line in one["changes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            if !line.ends_with(": untouched") {
                println!("          {line}");
            }
        }
    }
}
