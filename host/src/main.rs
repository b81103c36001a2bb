//! `polyport`: the host process and its command line.
//!
//! The host knows plugins, instances, listeners, accounts and generations. No protocol is named
//! here: adding a plugin never edits this crate.

mod cli;
mod config;
mod logging;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
