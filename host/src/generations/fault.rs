//! Where a test has the process end in the middle of a change.

/// Ends the process as kill -9 would if the file that `POLYPORT_FAULT` names holds just the name of this step.
/// In builds for use it does nothing.
#[cfg(debug_assertions)]
pub fn point(step: &str) {
    let Some(file) = std::env::var_os("POLYPORT_FAULT") else {
        return;
    };
    if std::fs::read_to_string(file).is_ok_and(|text| text.trim() == step) {
        // It cannot fail: a process may always end itself.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Does nothing.
#[cfg(not(debug_assertions))]
pub fn point(_: &str) {}
