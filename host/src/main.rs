//! `polyport`: the host process and its command line.
//!
//! The host knows plugins, instances, listeners, accounts and generations. No protocol is named
//! here: adding a plugin never edits this crate.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
