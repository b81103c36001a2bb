//! `[host.ban]`: how many failed logins are too many.

use std::time::Duration;

use super::diagnostics::Diagnostics;
use super::read::Reader;
use super::tree::Table;
use crate::accounts::Bans;

/// The keys of `[host.ban]`.
pub const KEYS: &[&str] = &[
    "enabled",
    "address_failures",
    "user_failures",
    "window",
    "duration",
    "exempt",
];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads the table, which may be empty.
pub fn read(table: &Table, diagnostics: &mut Diagnostics) -> Bans {
    let defaults = Bans::default();
    let mut reader = Reader::new(table, "host.ban", KEYS, diagnostics);
    let enabled = reader.boolean("enabled").unwrap_or(defaults.enabled);
    let address_failures = reader.count("address_failures");
    let user_failures = reader.count("user_failures");
    let window = reader.duration("window", DAY).unwrap_or(defaults.window);
    let duration = reader
        .duration("duration", DAY)
        .unwrap_or(defaults.duration);
    let exempt = match reader.entry("exempt") {
        None => defaults.exempt,
        Some(_) => reader.networks("exempt"),
    };
    Bans {
        enabled,
        address_failures: address_failures.unwrap_or(defaults.address_failures),
        user_failures: user_failures.unwrap_or(defaults.user_failures),
        window,
        duration,
        exempt,
    }
}
