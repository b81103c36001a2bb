//! `[host.ban]`: how many failed logins are too many.

use std::time::Duration;

use super::diagnostics::Diagnostics;
use super::read::Reader;
use super::tree::Table;
use crate::accounts::{Bans, Network};

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
        Some(_) => exempt(&mut reader),
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

fn exempt(reader: &mut Reader<'_, '_>) -> Vec<Network> {
    let mut networks = Vec::new();
    for (index, (text, place)) in reader.texts("exempt").into_iter().enumerate() {
        match Network::parse(text) {
            Some(parsed) => networks.extend(parsed),
            None => {
                let name = reader.name(&format!("exempt[{index}]"));
                let expected = "a network such as \"192.168.1.0/24\", \"loopback\" or \"any\"";
                reader
                    .diagnostics()
                    .expected(place, &name, expected, format!("{text:?}"));
            }
        }
    }
    networks
}
