//! An amount of memory: bytes, or a part of what the process may use.

use serde::{Deserialize, Serialize};

/// `536870912`, `"512M"` or `"50%"`; 0 is no limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Memory {
    /// Bytes.
    Bytes(u64),
    /// Bytes with a unit, or per cent.
    Text(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Amount {
    Bytes(u64),
    Percent(u64),
}

impl Memory {
    /// What may stand there.
    pub(crate) const EXPECTED: &str =
        "bytes, as a number, \"512M\" or \"2G\", or \"1%\" to \"100%\"";

    pub(crate) fn is_valid(&self) -> bool {
        self.amount().is_some()
    }

    /// In bytes; 0 is no limit.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = match self.amount() {
            Some(Amount::Bytes(bytes)) => bytes,
            Some(Amount::Percent(part)) => available() / 100 * part,
            None => 0,
        };
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    fn amount(&self) -> Option<Amount> {
        let text = match self {
            Memory::Bytes(bytes) => return Some(Amount::Bytes(*bytes)),
            Memory::Text(text) => text,
        };
        if let Some(part) = text.strip_suffix('%') {
            let part = part.parse().ok().filter(|part| (1..=100).contains(part));
            return part.map(Amount::Percent);
        }
        let (number, unit) = match text.as_bytes().last()? {
            b'K' => (&text[..text.len() - 1], 10),
            b'M' => (&text[..text.len() - 1], 20),
            b'G' => (&text[..text.len() - 1], 30),
            _ => (&text[..], 0),
        };
        let number: u64 = number.parse().ok()?;
        number.checked_mul(1 << unit).map(Amount::Bytes)
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Memory::Bytes(bytes) => write!(f, "{bytes}"),
            Memory::Text(text) => write!(f, "{text:?}"),
        }
    }
}

/// What the process may use: the machine's memory, or less where its control groups say so.
fn available() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let total = total(&read("/proc/meminfo")).unwrap_or(u64::MAX);
    let groups = read("/proc/self/cgroup");
    let mut group = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let mut least = total;
    while let Some(path) = group {
        let limit = read(&format!(
            "/sys/fs/cgroup{}/memory.max",
            path.trim_end_matches('/')
        ));
        least = least.min(limit.trim().parse().unwrap_or(u64::MAX));
        group = path.rfind('/').map(|at| &path[..at]);
    }
    least
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_units_and_parts_are_read_and_nothing_else_is() {
        let text = |text: &str| Memory::Text(text.into());
        assert_eq!(Memory::Bytes(5).bytes(), 5);
        assert_eq!(text("7").bytes(), 7);
        assert_eq!(text("64K").bytes(), 64 << 10);
        assert_eq!(text("3M").bytes(), 3 << 20);
        assert_eq!(text("2G").bytes(), 2 << 30);
        let all = text("100%").bytes();
        assert!(
            all > 64 << 20 && text("50%").bytes() <= all / 2 + 1,
            "{all}"
        );
        for wrong in [
            "",
            "%",
            "0%",
            "101%",
            "-1",
            "1.5G",
            "1T",
            "G",
            "99999999999G",
        ] {
            assert!(!text(wrong).is_valid(), "{wrong}");
        }
    }

    #[test]
    fn the_machines_memory_is_found_among_other_lines() {
        let meminfo = "MemFree:  1 kB\nMemTotal:       24576 kB\n";
        assert_eq!(total(meminfo), Some(24 << 20));
        assert_eq!(total("MemTotal: many"), None);
    }
}
