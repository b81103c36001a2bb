//! Typed reading of a table: each key is asked for once, what is wrong with it is noted with its
//! place, and what nobody asked for is refused.

use std::time::Duration;

use super::diagnostics::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::tree::{Entry, Kind, Node, Table, join};
use crate::accounts::Network;

/// Reads one table whose keys are `known`.
pub struct Reader<'a, 'd> {
    table: &'a Table,
    path: &'d str,
    known: &'static [&'static str],
    diagnostics: &'d mut Diagnostics,
}

impl<'a, 'd> Reader<'a, 'd> {
    /// Starts on `table`, found under the dotted `path`; refuses keys other than `known`.
    pub fn new(
        table: &'a Table,
        path: &'d str,
        known: &'static [&'static str],
        diagnostics: &'d mut Diagnostics,
    ) -> Self {
        for entry in &table.entries {
            if !known.contains(&entry.key.as_str()) {
                let hint = match did_you_mean(&entry.key, known.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("expected one of {}", known.join(", ")),
                };
                diagnostics.push(Diagnostic::error(
                    entry.place.clone(),
                    join(path, &entry.key),
                    format!("unknown key, {hint}"),
                ));
            }
        }
        Self {
            table,
            path,
            known,
            diagnostics,
        }
    }

    /// The dotted name of `key`.
    pub fn name(&self, key: &str) -> String {
        join(self.path, key)
    }

    /// Where problems go.
    pub fn diagnostics(&mut self) -> &mut Diagnostics {
        self.diagnostics
    }

    /// The entry of `key`, if it is there.
    pub fn entry(&self, key: &str) -> Option<&'a Entry> {
        debug_assert!(
            self.known.contains(&key),
            "{key} is read, so it must be known"
        );
        self.table.get(key)
    }

    /// Notes that `key` holds `node` where `expected` was expected.
    pub fn expected(&mut self, key: &str, expected: &str, node: &Node) {
        let name = self.name(key);
        self.diagnostics
            .expected(&node.place, &name, expected, node.describe());
    }

    /// A string.
    pub fn text(&mut self, key: &str) -> Option<(&'a str, &'a Place)> {
        let node = &self.entry(key)?.node;
        match &node.kind {
            Kind::Text(text) => Some((text, &node.place)),
            _ => {
                self.expected(key, "a string", node);
                None
            }
        }
    }

    /// A string that is not empty: paths and names.
    pub fn filled_text(&mut self, key: &str) -> Option<&'a str> {
        let (text, place) = self.text(key)?;
        if text.is_empty() {
            let name = self.name(key);
            self.diagnostics
                .expected(place, &name, "a string that is not empty", "\"\"");
            return None;
        }
        Some(text)
    }

    /// A boolean.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        let node = &self.entry(key)?.node;
        match node.kind {
            Kind::Boolean(truth) => Some(truth),
            _ => {
                self.expected(key, "true or false", node);
                None
            }
        }
    }

    /// A table.
    pub fn table(&mut self, key: &str) -> Option<&'a Table> {
        let node = &self.entry(key)?.node;
        match &node.kind {
            Kind::Table(table) => Some(table),
            _ => {
                self.expected(key, "a table", node);
                None
            }
        }
    }

    /// An array of strings with the place of each.
    pub fn texts(&mut self, key: &str) -> Vec<(&'a str, &'a Place)> {
        let Some(entry) = self.entry(key) else {
            return Vec::new();
        };
        let Kind::Array(items) = &entry.node.kind else {
            self.expected(key, "an array of strings", &entry.node);
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match &item.kind {
                Kind::Text(text) => texts.push((text.as_str(), &item.place)),
                _ => self.expected(&format!("{key}[{index}]"), "a string", item),
            }
        }
        texts
    }

    /// An array of networks, empty if it is not there.
    pub fn networks(&mut self, key: &str) -> Vec<Network> {
        let mut networks = Vec::new();
        for (index, (text, place)) in self.texts(key).into_iter().enumerate() {
            match Network::parse(text) {
                Some(parsed) => networks.extend(parsed),
                None => {
                    let name = self.name(&format!("{key}[{index}]"));
                    let expected = "a network such as \"192.168.1.0/24\", \"loopback\" or \"any\"";
                    self.diagnostics
                        .expected(place, &name, expected, format!("{text:?}"));
                }
            }
        }
        networks
    }

    /// A whole number from 1 to 65535.
    pub fn count(&mut self, key: &str) -> Option<u16> {
        let node = &self.entry(key)?.node;
        let count = match node.kind {
            Kind::Integer(count) => u16::try_from(count).ok().filter(|count| *count > 0),
            _ => None,
        };
        if count.is_none() {
            self.expected(key, "a number from 1 to 65535", node);
        }
        count
    }

    /// A duration such as "300ms", at most `max`.
    pub fn duration(&mut self, key: &str, max: Duration) -> Option<Duration> {
        let expected = format!(
            "a duration from \"0s\" to {:?}, such as \"300ms\", \"10s\" or \"2m\"",
            spell(max)
        );
        let node = &self.entry(key)?.node;
        let parsed = match &node.kind {
            Kind::Text(text) => parse_duration(text).filter(|duration| *duration <= max),
            _ => None,
        };
        if parsed.is_none() {
            self.expected(key, &expected, node);
        }
        parsed
    }
}

/// A whole number and its unit: ms, s, m or h.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        _ => None,
    }
}

/// A whole number of bytes, alone or with its unit: K, M, G or T, each 1024 of the one before.
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let shift = match unit {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

/// The largest whole unit that spells `duration` exactly.
pub fn spell(duration: Duration) -> String {
    match (duration.as_secs(), duration.subsec_millis()) {
        (seconds, 0) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (seconds, 0) if seconds > 0 && seconds % 60 == 0 => format!("{}m", seconds / 60),
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(parse_duration("300ms"), Some(Duration::from_millis(300)));
        assert_eq!(parse_duration("0s"), Some(Duration::ZERO));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        for wrong in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "10d",
            "99999999999999999999s",
            "9999999999999999999h",
        ] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(parse_size("0"), Some(0));
        assert_eq!(parse_size("64K"), Some(65_536));
        assert_eq!(parse_size("2G"), Some(2 << 30));
        for wrong in ["", "K", "1k", "1KB", "1.5M", "-1", "1 M", "99999999999T"] {
            assert_eq!(parse_size(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_spelt_duration_reads_back(millis in 0u64..100_000_000) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&spell(duration)), Some(duration));
        }

        #[test]
        fn no_text_makes_a_duration_panic(text in any::<String>(), near in "[0-9]{0,25}(ms|s|m|h|d)?") {
            let _ = parse_duration(&text);
            let _ = parse_duration(&near);
        }
    }
}
