//! `polyport trace` at work, and what tshark makes of its capture files.

use std::path::Path;

use crate::process::Finished;
use crate::{Client, Host, Running};

impl Host {
    /// Begins to look at a service; what happens once this returned is seen.
    #[track_caller]
    pub fn trace(&self, service: &str, args: &[&str]) -> Running {
        let running = Client::new(crate::program())
            .args(["trace", service])
            .args(args)
            .arg("-c")
            .arg(self.config())
            .spawn();
        running.wait_line("Ctrl-C ends it");
        running
    }
}

/// Reads a capture file with tshark, which takes connections of `port` for `protocol`.
#[track_caller]
pub fn tshark(capture: &Path, port: u16, protocol: &str, args: &[&str]) -> Finished {
    Client::new("tshark")
        .arg("-r")
        .arg(capture)
        .args(["-d", &format!("tcp.port=={port},{protocol}")])
        .args(args)
        .run()
        .expect_success()
}
