//! `polyport`: the host process and its command line.
//!
//! The host knows plugins, instances, listeners, accounts and generations. No protocol is named
//! here: adding a plugin never edits this crate.

mod accounts;
mod board;
mod cli;
mod config;
mod control;
mod generations;
mod handover;
mod instance;
mod lasting;
mod limits;
mod listeners;
mod loader;
mod logging;
mod memory;
mod operate;
mod privileges;
mod reload;
mod run;
mod systemd;
mod tls;
mod trace;
mod upgrade;
mod watch;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
