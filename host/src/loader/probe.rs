//! Loading a library in a child process first, which a broken one may kill.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use polyport_abi::plugin::PluginV1;

use super::library::ask;
use super::manifest;

/// How long the child may take to load and describe a library.
const LIMIT: Duration = Duration::from_secs(10);

/// Loads a library in a child process, which a broken one may kill, and gives its description.
///
/// # Errors
/// One line that says what is wrong with it.
pub fn probe(path: &Path) -> Result<serde_json::Value, String> {
    let failed = |error: std::io::Error| format!("the probe cannot be run: {error}");
    // This very program, also after its file was replaced by a newer one.
    let mut child = Command::new("/proc/self/exe")
        .args(["plugin", "probe"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                // It may have ended since; either way it is waited for.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!(
                    "expected it to load within {LIMIT:?}, got no answer"
                ));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let (said, complaint) = (text(child.stdout.take()), text(child.stderr.take()));
    if status.success() {
        let last = said.lines().last().unwrap_or_default();
        return serde_json::from_str(last)
            .map_err(|error| format!("expected its description as JSON, got {last:?}: {error}"));
    }
    let complaint = complaint
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("polyport: ");
    Err(if complaint.is_empty() {
        format!("loading it ended the probe: {status}")
    } else {
        complaint.to_owned()
    })
}

/// What a child wrote to a pipe; its end has been waited for.
fn text(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        // What cannot be read is missing from a message, nothing else.
        let _ = pipe.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What the probe's child does: everything that loading does, and one call.
///
/// # Errors
/// One line for the parent.
pub fn probe_here(path: &Path) -> Result<serde_json::Value, String> {
    let path = path
        .canonicalize()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let manifest = manifest::of_file(&path)?;
    let lifecycle = ask::<PluginV1>(&path, &manifest)?;
    serde_json::from_slice((lifecycle.describe)().as_slice())
        .map_err(|error| format!("expected its description as JSON, got {error}"))
}
