//! Fuzz targets: each reads any bytes as one decoder of the broker does, and holds what comes out to what must be true
//! of it.
//!
//! `cargo xtask fuzz` runs them with libFuzzer, which learns from the coverage. The test `corpus` replays what is in
//! `corpus/TARGET`: seeds, inputs that reach far, and every input that once failed.

mod clients;
mod codec;
mod plugin;
mod scram;
mod stored;
mod stream;
mod topics;

use std::path::PathBuf;

/// A name and what it does with bytes; it panics when something is wrong.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 20] = [
    ("frame", codec::frame),
    ("connect", codec::connect),
    ("publish", codec::publish),
    ("subscribe", codec::subscribe),
    ("unsubscribe", codec::unsubscribe),
    ("acknowledgement", codec::acknowledgement),
    ("disconnect", codec::disconnect),
    ("auth", codec::auth),
    ("properties", codec::properties),
    ("stream", stream::stream),
    ("topics", topics::topics),
    ("records", stored::records),
    ("handover", stored::handover),
    ("estate", plugin::estate),
    ("luggage", plugin::luggage),
    ("websocket", plugin::websocket),
    ("proxy", plugin::proxy),
    ("scram", scram::scram),
    ("answer", plugin::answer),
    ("summary", plugin::summary),
];

/// The target with this name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, run)| *run)
}

/// Where the inputs of a target are kept.
#[must_use]
pub fn corpus(target: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("corpus").join(target)
}
