//! Where things are in this checkout, and running cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Outcome;

/// The folder of the workspace's Cargo.toml.
///
/// Where cargo runs this program from, else where it was built: two checkouts may share a target
/// folder.
pub fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        here.parent()
            .expect("xtask lies in the workspace")
            .to_path_buf()
    })
}

/// Cargo's target folder: this program is at `target/PROFILE/xtask`.
pub fn target() -> Outcome<PathBuf> {
    let exe = std::env::current_exe().map_err(|e| format!("no path of this program: {e}"))?;
    let target = exe
        .ancestors()
        .nth(2)
        .ok_or_else(|| format!("{}: not below a target folder", exe.display()))?;
    Ok(target.to_path_buf())
}

/// A cargo command in the workspace, building into the same target folder.
pub fn cargo(args: &[&str]) -> Outcome<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target()?)
        .args(args);
    // What cargo sets for this program would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || text == "LD_LIBRARY_PATH"
        {
            command.env_remove(&name);
        }
    }
    Ok(command)
}

/// Runs a command to its end; the error says how it ended.
pub fn run(command: &mut Command) -> Outcome {
    let status = command.status();
    let name = command.get_program().to_string_lossy().into_owned();
    let status = status.map_err(|e| format!("cannot run {name}: {e}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{name} failed: {status}")),
    }
}

/// Builds the program and the shipped plugins in release and gives the folder they are in.
pub fn build_release() -> Outcome<PathBuf> {
    run(&mut cargo(&["build", "--release"])?)?;
    Ok(target()?.join("release"))
}
