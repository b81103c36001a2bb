//! Attempts to get out of the folders that are served, through every door.
//!
//! Outside of the root lies what nobody may read, change or learn of. Each attempt is made twice,
//! for a target that exists and for one that does not: the answers must be the same to the byte.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod doors;
mod field;
mod links;
mod races;
mod rules;
mod spellings;
#[path = "../wire/mod.rs"]
mod wire;

use doors::Doors;
use field::Field;

/// Tries one path, in which `{x}` tells the target that is there from the one that is not, at
/// every door.
fn attempt(field: &mut Field, doors: &mut Doors, path: &[u8]) -> Vec<String> {
    let shown = String::from_utf8_lossy(path).into_owned();
    let mut wrong = Vec::new();
    let there = doors.try_all(field, &fill(path, b'a'));
    let missing = doors.try_all(field, &fill(path, b'b'));
    assert_eq!(there.len(), missing.len(), "{shown}");
    for ((door, there), (_, missing)) in there.into_iter().zip(missing) {
        if let Some(told) = field::told(&there).or_else(|| field::told(&missing)) {
            wrong.push(format!("{door} {shown}: told {told}"));
        }
        // Apart from the name that was asked for.
        let [there, missing] = [there, missing].map(|answer| replace(&answer, b"-b", b"-a"));
        if there != missing {
            let [there, missing] =
                [there, missing].map(|it| String::from_utf8_lossy(&it).into_owned());
            wrong.push(format!(
                "{door} {shown}: {there:?} where there is something, else {missing:?}"
            ));
        }
    }
    if let Some(change) = field.changed_outside() {
        wrong.push(format!("{shown}: outside, {change}"));
    }
    wrong
}

fn fill(path: &[u8], x: u8) -> Vec<u8> {
    replace(path, b"{x}", &[x])
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(to);
        rest = &rest[at + from.len()..];
    }
    out.extend_from_slice(rest);
    out
}
