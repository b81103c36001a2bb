//! `cargo xtask clients`: the foreign programs that tests and benchmarks run.

use std::path::Path;
use std::process::Command;

use crate::{Outcome, workspace};

/// Programs that tests and benchmarks run, with the Debian package each is in.
const PROGRAMS: [(&str, &str); 16] = [
    ("mosquitto_sub", "mosquitto-clients"),
    ("curl", "curl"),
    ("lftp", "lftp"),
    ("tshark", "tshark"),
    ("python3", "python3-venv"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("mosquitto", "mosquitto"),
    ("htpasswd", "apache2-utils"),
    ("openssl", "openssl"),
    ("minisign", "minisign"),
    ("nano", "nano"),
    ("vim.tiny", "vim-tiny"),
    ("nginx", "nginx-light"),
    ("vsftpd", "vsftpd"),
    ("wrk", "wrk"),
];

/// Installs what is missing; the error names what could not be.
pub fn clients() -> Outcome {
    if rustix::process::getuid().is_root() && find("apt-get").is_some() {
        workspace::run(&mut Command::new(workspace::root().join(".ci/install")))?;
    }
    let missing = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        return Err(format!(
            "missing programs: install the packages {}",
            missing.join(" ")
        ));
    }
    venv()?;
    node_modules()
}

/// What runs beneath Node.js.
const NODE_PACKAGES: [&str; 1] = ["mqtt@5.16.0"];

/// Fills `target/clients/node_modules` unless it holds what is asked for.
fn node_modules() -> Outcome {
    let dir = workspace::target()?.join("clients");
    let done = dir.join("node-installed.txt");
    let wanted = NODE_PACKAGES.join(" ");
    if std::fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--no-save",
        "--ignore-scripts",
        "--prefix",
    ]);
    workspace::run(npm.arg(&dir).args(NODE_PACKAGES))?;
    std::fs::write(&done, wanted).map_err(|e| format!("{}: {e}", done.display()))
}

/// Makes `target/clients/venv` unless it holds what requirements.txt asks for.
fn venv() -> Outcome {
    let dir = workspace::target()?.join("clients");
    let venv = dir.join("venv");
    let wanted = workspace::root().join("xtask/requirements.txt");
    let done = dir.join("installed.txt");
    let (wanted_text, done_text) = (std::fs::read(&wanted), std::fs::read(&done));
    let wanted_text = wanted_text.map_err(|e| format!("{}: {e}", wanted.display()))?;
    if done_text.is_ok_and(|text| text == wanted_text) && works(&venv) {
        return Ok(());
    }
    std::fs::create_dir_all(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    workspace::run(
        Command::new("python3")
            .args(["-m", "venv", "--clear"])
            .arg(&venv),
    )?;
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "-r",
    ])
    .arg(&wanted);
    workspace::run(&mut pip)?;
    std::fs::write(&done, wanted_text).map_err(|e| format!("{}: {e}", done.display()))
}

/// A Python environment stops working when the Python it was made with is replaced.
fn works(venv: &Path) -> bool {
    let mut python = Command::new(venv.join("bin/python"));
    python.args(["-c", "import paho.mqtt, requests, urllib3"]);
    python.status().is_ok_and(|status| status.success())
}

/// The path of a program, looked for as a shell does, and where Debian keeps servers.
pub fn find(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<_> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin".into(), "/sbin".into()]);
    dirs.into_iter()
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}
