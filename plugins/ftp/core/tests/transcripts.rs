//! Every transcript against the pure core, with a folder that is a map in memory.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod memory;
mod transcript;

use std::path::Path;

#[test]
fn every_transcript_holds_for_the_pure_core() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transcripts");
    let cases = transcript::replay_all(&folder, memory::Memory::connect);
    assert!(cases > 40, "only {cases} cases were found");
}

#[test]
fn every_transcript_over_tls_holds_for_the_pure_core() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../transcripts/tls");
    let cases = transcript::replay_all(&folder, memory::Memory::connect_to_ftps);
    assert!(cases > 20, "only {cases} cases were found");
}
