//! `[services.NAME.limits]`, and the same keys in a listen entry: what clients are held to, one vocabulary for all
//! services. Which of the keys a plugin knows, and their defaults, it says itself.

use std::collections::BTreeMap;
use std::time::Duration;

use polyport_abi::limits::{KEYS as VOCABULARY, KnownLimit, LimitValues, Unit};

use super::diagnostics::Diagnostics;
use super::read::{Reader, parse_duration, parse_size, spell};
use super::tree::{Kind, Table};

/// The keys: those of the vocabulary.
pub const KEYS: [&str; VOCABULARY.len()] = {
    let mut keys = [""; VOCABULARY.len()];
    let mut index = 0;
    while index < keys.len() {
        keys[index] = VOCABULARY[index].0;
        index += 1;
    }
    keys
};

/// The longest time.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What an operator wrote: counts, milliseconds, bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    written: BTreeMap<&'static str, u64>,
}

impl Limits {
    /// Reads a table that holds nothing else.
    pub fn read_table(table: &Table, path: &str, diagnostics: &mut Diagnostics) -> Self {
        Self::read(&mut Reader::new(table, path, &KEYS, diagnostics))
    }

    /// Reads the keys that are in a table, among others.
    pub fn read(reader: &mut Reader<'_, '_>) -> Self {
        let mut written = BTreeMap::new();
        for (key, unit) in VOCABULARY {
            let Some(entry) = reader.entry(key) else {
                continue;
            };
            let number = match (&entry.node.kind, unit) {
                (Kind::Integer(number), Unit::Count) => u32::try_from(*number).ok().map(u64::from),
                (Kind::Integer(number), Unit::Size) => u64::try_from(*number).ok(),
                (Kind::Text(text), Unit::Size) => parse_size(text),
                (Kind::Text(text), Unit::Time) => parse_duration(text)
                    .filter(|time| *time <= DAY)
                    .and_then(|time| u64::try_from(time.as_millis()).ok()),
                _ => None,
            };
            match number {
                Some(number) => _ = written.insert(key, number),
                None => reader.expected(key, expected(unit), &entry.node),
            }
        }
        Self { written }
    }

    /// One key, for tests of what uses them.
    #[cfg(test)]
    pub fn of(key: &'static str, number: u64) -> Self {
        Self {
            written: BTreeMap::from([(key, number)]),
        }
    }

    /// What was written, key by key.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.written.iter().map(|(key, number)| (*key, *number))
    }

    /// Whether this key was written.
    pub fn has(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }

    /// `values` with what was written in place of what was there.
    pub fn over(&self, mut values: LimitValues) -> LimitValues {
        for (key, number) in self.iter() {
            if let Some(value) = values.get_mut(key) {
                *value = number;
            }
        }
        values
    }
}

fn expected(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "a number from 0, for no limit, to 4294967295",
        Unit::Time => {
            "a duration from \"0s\", for no limit, to \"24h\", such as \"300ms\" or \"10s\""
        }
        Unit::Size => "a number of bytes, or one with its unit, such as \"64K\", \"10M\" or \"1G\"",
    }
}

/// What a plugin finds wrong with a number; none if it is within its bounds.
pub fn out_of_bounds(key: &str, number: u64, known: KnownLimit) -> Option<String> {
    let unit = VOCABULARY
        .iter()
        .find_map(|(name, unit)| (*name == key).then_some(*unit))?;
    if (known.min..=known.max).contains(&number) {
        return None;
    }
    let KnownLimit { min, max, .. } = known;
    let spelt = |number| format!("{:?}", spell(Duration::from_millis(number)));
    Some(match unit {
        Unit::Count => format!("expected {min} to {max}, got {number}"),
        Unit::Time => format!(
            "expected {} to {}, got {}",
            spelt(min),
            spelt(max),
            spelt(number)
        ),
        Unit::Size => format!("expected {min} to {max} bytes, got {number}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_are_those_of_the_interface() {
        assert_eq!(KEYS, VOCABULARY.map(|(key, _)| key));
    }

    #[test]
    fn bounds_are_told_in_the_keys_unit() {
        let known = KnownLimit {
            default: 0,
            min: 1000,
            max: 60_000,
        };
        assert_eq!(out_of_bounds("max_line", 1000, known), None);
        assert_eq!(
            out_of_bounds("max_line", 1, known).unwrap(),
            "expected 1000 to 60000 bytes, got 1"
        );
        assert_eq!(
            out_of_bounds("idle_timeout", 0, known).unwrap(),
            "expected \"1s\" to \"1m\", got \"0s\""
        );
    }
}
