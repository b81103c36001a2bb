//! Finds the built program and plugin libraries, and builds them when nobody did.
//!
//! Cargo has no stable way to make a test depend on another package's program, so the first test
//! that needs one runs `cargo build` in the profile it was built with itself. `cargo xtask check`
//! builds everything beforehand and says so with `POLYPORT_BIN_DIR`.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// Set to the folder that holds up-to-date artifacts, it keeps this crate from building any.
const BIN_DIR: &str = "POLYPORT_BIN_DIR";

/// The path of the `polyport` program.
pub fn program() -> PathBuf {
    built(&["polyport"]).join("polyport")
}

/// The path of the library of a plugin package, such as `polyport-mqtt`.
pub fn library(package: &str) -> PathBuf {
    built(&[package]).join(library_of(package))
}

/// The file name of a plugin package's library: `polyport-mqtt` is in `libpolyport_mqtt.so`.
pub fn library_of(package: &str) -> String {
    format!("lib{}.so", package.replace('-', "_"))
}

/// Cargo's target folder, the one this test was built in.
pub fn target_dir() -> PathBuf {
    let profile = profile_dir();
    let parent = profile
        .parent()
        .expect("a profile folder lies in the target folder");
    parent.to_path_buf()
}

/// The Python environment with the client libraries that tests use.
///
/// Panics with the command that makes it when it is missing.
pub fn clients_venv() -> PathBuf {
    let venv = match std::env::var_os("POLYPORT_CLIENTS_VENV") {
        Some(venv) => PathBuf::from(venv),
        None => target_dir().join("clients/venv"),
    };
    assert!(
        venv.join("bin/python").exists(),
        "no Python clients in {}: run `cargo xtask clients` once",
        venv.display()
    );
    venv
}

/// Makes sure the packages are built and gives the folder they are in.
fn built(packages: &[&str]) -> PathBuf {
    with_built(packages, Path::to_path_buf)
}

/// Makes sure the packages are built and calls `work` with the folder they are in, while no other
/// test builds there: cargo replaces a library by removing it first.
pub(crate) fn with_built<T>(packages: &[&str], work: impl FnOnce(&Path) -> T) -> T {
    if let Some(dir) = std::env::var_os(BIN_DIR) {
        return work(Path::new(&dir));
    }
    static DONE: OnceLock<Mutex<BTreeSet<String>>> = OnceLock::new();
    let done = DONE.get_or_init(|| Mutex::new(BTreeSet::new()));
    // A poisoned lock only means that another test's build failed; this one reports its own.
    let mut done = done.lock().unwrap_or_else(|poison| poison.into_inner());
    let dir = profile_dir();
    let lock = File::create(dir.join("testkit.lock")).and_then(|file| file.lock().map(|()| file));
    let _lock = lock.unwrap_or_else(|e| panic!("{}: cannot lock: {e}", dir.display()));
    let missing: Vec<&str> = packages
        .iter()
        .copied()
        .filter(|package| !done.contains(*package) && !run_built(package))
        .collect();
    if !missing.is_empty() {
        build(&missing);
    }
    done.extend(packages.iter().map(|package| package.to_string()));
    work(&dir)
}

/// `target/debug` for a test at `target/debug/deps/name-hash`.
fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().expect("a running test has a path");
    let deps = exe
        .ancestors()
        .find(|dir| dir.ends_with("deps") || dir.ends_with("examples"));
    let profile = match deps {
        Some(deps) => deps.parent(),
        None => exe.parent(),
    };
    profile
        .expect("cargo builds tests below a profile folder")
        .to_path_buf()
}

/// nextest runs each test in a process of its own: one stamp per run and package spares the rest
/// of them the call of cargo.
fn stamp(package: &str) -> Option<(PathBuf, String)> {
    let run = std::env::var("NEXTEST_RUN_ID").ok()?;
    let dir = profile_dir().join("testkit");
    std::fs::create_dir_all(&dir).ok()?;
    Some((dir.join(format!("{package}.built")), run))
}

fn run_built(package: &str) -> bool {
    stamp(package)
        .is_some_and(|(file, run)| std::fs::read_to_string(file).is_ok_and(|text| text == run))
}

fn build(packages: &[&str]) {
    let profile = profile_dir();
    let profile = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace())
        .args(["build", "--quiet", "--profile", profile]);
    for package in packages {
        command.args(["--package", package]);
    }
    command.arg("--target-dir").arg(target_dir());
    // What cargo and nextest set for this test would make build scripts run again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let of_test = [
            "CARGO_PKG_",
            "CARGO_BIN_EXE_",
            "CARGO_MANIFEST_",
            "CARGO_CRATE_",
            "NEXTEST",
        ];
        if of_test.iter().any(|prefix| text.starts_with(prefix))
            || text == "OUT_DIR"
            || text == "LD_LIBRARY_PATH"
        {
            command.env_remove(&name);
        }
    }
    let output = command
        .output()
        .unwrap_or_else(|e| panic!("cannot run cargo build: {e}"));
    assert!(
        output.status.success(),
        "cargo build of {packages:?} failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for package in packages {
        if let Some((file, run)) = stamp(package) {
            // Without the stamp the next test merely asks cargo again.
            let _ = std::fs::write(file, run);
        }
    }
}

/// Where cargo runs this test from, else where the kit was built: two checkouts may share a target
/// folder.
fn workspace() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let root = here.ancestors().find(|dir| dir.join("Cargo.lock").exists());
    root.unwrap_or(&here).to_path_buf()
}

/// A plugin's library as if it had been built in another version: the manifest says so, and the bytes differ.
///
/// # Panics
/// If it is not the library of the plugin with this name.
#[must_use]
pub fn in_next_version(library: &[u8], plugin: &str) -> Vec<u8> {
    let manifest = format!("{{\"name\":\"{plugin}\",\"version\":\"");
    let begin = library
        .windows(manifest.len())
        .position(|window| window == manifest.as_bytes());
    let version = begin.expect("a manifest with this name") + manifest.len();
    let length = library[version..].iter().position(|byte| *byte == b'"');
    let last = version + length.expect("a version") - 1;
    let mut next = library.to_vec();
    next[last] = if next[last] == b'9' {
        b'0'
    } else {
        next[last] + 1
    };
    next
}
