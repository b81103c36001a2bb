//! What integration tests need to talk to the real program on real sockets.
//!
//! - [`Host`] writes a configuration, runs `polyport run` on it and ends it again.
//! - [`transcript`] replays wire exchanges kept as text files, against a socket or a pure core.
//! - [`Relay`] breaks connections in the middle.
//! - [`Client`] runs foreign client programs (mosquitto_sub, curl, Python scripts) with a time limit.
//!
//! Everything here panics with a full explanation instead of returning errors: the caller is a test.
//! It knows the program's command line, the shape of its configuration and the names of the shipped
//! services, and must not know any wire protocol.

mod artifacts;
mod builder;
mod client;
mod host;
mod log;
mod ports;
mod process;
mod relay;
mod trace;
pub mod transcript;

pub use artifacts::{clients_venv, in_next_version, library, library_of, program, target_dir};
pub use builder::{Builder, PASSWORD, STANDARD, Standard, USER};
pub use client::{Client, Running};
pub use host::Host;
pub use ports::free_port;
pub use process::Finished;
pub use relay::Relay;
pub use rustix::process::Signal;
pub use trace::tshark;

use std::time::Duration;

/// How long anything that ought to happen at once may take before a test fails.
///
/// Generous, because a debug build on a loaded two-core machine is slow; nothing waits this long when
/// it works.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Polls `probe` until it gives a value; panics with `what` after [`PATIENCE`].
///
/// For states that raise no event a test could wait for, such as a counter in `status --json`.
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "waited {PATIENCE:?} in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How often a test repeats what takes long: the number in the environment variable, else `short`.
///
/// `cargo xtask soak` sets the variables of the tests that it runs in full length.
pub fn repeats(variable: &str, short: usize) -> usize {
    match std::env::var(variable) {
        Err(_) => short,
        Ok(text) => {
            let number = text.parse();
            number.unwrap_or_else(|_| panic!("{variable}: expected a number, got {text:?}"))
        }
    }
}

/// Reports a figure of a long test, for `cargo xtask soak` to write down.
pub fn figure(name: &str, value: impl std::fmt::Display) {
    println!("figure: {name} = {value}");
}
