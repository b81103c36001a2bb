//! `cargo serve`: from a fresh checkout to a running server.

use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::{Outcome, workspace};

/// Builds, then becomes `polyport run`, so that Ctrl-C, signals and the exit code are its own.
pub fn serve(args: &[String]) -> Outcome {
    let release = workspace::build_release()?;
    let mut polyport = Command::new(release.join("polyport"));
    polyport.current_dir(workspace::root());
    polyport
        .args(["run", "-c", "config/polyport.toml"])
        .args(args);
    let error = polyport.exec();
    Err(format!(
        "cannot run {}: {error}",
        release.join("polyport").display()
    ))
}
