//! What a library says of itself before any of its code runs: JSON in an ELF section of its own.

use serde::{Deserialize, Serialize};

/// The section's name.
pub const SECTION: &str = ".polyport";

/// The section's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// What `plugin = "…"` in the configuration names.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// Version of the SDK it was made with.
    pub sdk: String,
    /// Version of this contract it was made with.
    pub abi: String,
    /// [`crate::ABI_GENERATION`] it was made with.
    pub abi_generation: u32,
    /// `unwind` or `abort`; the host refuses `abort`.
    pub panic: String,
    /// Symbol of the root's header.
    pub entry: String,
    /// Whether it owns a store that only one instance at a time may have open.
    pub exclusive: bool,
    /// Interfaces of the host it cannot do without.
    pub needs: Vec<String>,
}

/// Length of the parts put together.
#[must_use]
pub const fn joined_len(parts: &[&str]) -> usize {
    let (mut total, mut part) = (0, 0);
    while part < parts.len() {
        total += parts[part].len();
        part += 1;
    }
    total
}

/// The parts put together, for a static in the section.
///
/// # Panics
/// At compile time when `N` is not [`joined_len`] of the parts.
#[must_use]
pub const fn joined<const N: usize>(parts: &[&str]) -> [u8; N] {
    let mut out = [0; N];
    let (mut at, mut part) = (0, 0);
    while part < parts.len() {
        let bytes = parts[part].as_bytes();
        let mut byte = 0;
        while byte < bytes.len() {
            out[at] = bytes[byte];
            at += 1;
            byte += 1;
        }
        part += 1;
    }
    assert!(at == N, "joined: expected N to be joined_len of the parts");
    out
}
