//! What an account may use up: bytes stored, bytes a second, sessions at a time.

use std::num::{NonZeroU32, NonZeroU64};

use crate::config::parse_size;

/// The limits of one account, or those that a group gives. None: no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Bytes beneath its home.
    pub quota: Option<u64>,
    /// Bytes a second from its clients, of all its sessions together.
    pub rate_up: Option<NonZeroU64>,
    /// Bytes a second to its clients, of all its sessions together.
    pub rate_down: Option<NonZeroU64>,
    /// Sessions at a time, in all services together.
    pub max_sessions: Option<NonZeroU32>,
}

impl Allowance {
    /// Reads `quota`, `rate_up`, `rate_down` or `max_sessions`; none for another key. `Err` says what was expected.
    pub fn read_item(&mut self, key: &str, value: &str) -> Option<Result<(), String>> {
        let wrong = |what: &str| format!("expected {what}, got {value:?}");
        let rate = || {
            let rate = parse_size(value).and_then(NonZeroU64::new);
            rate.map(Some)
                .ok_or_else(|| wrong("bytes a second such as 512K or 10M"))
        };
        let read = match key {
            "quota" => parse_size(value)
                .filter(|bytes| i64::try_from(*bytes).is_ok())
                .map(|bytes| self.quota = Some(bytes))
                .ok_or_else(|| wrong("bytes such as 500M or 10G")),
            "rate_up" => rate().map(|rate| self.rate_up = rate),
            "rate_down" => rate().map(|rate| self.rate_down = rate),
            "max_sessions" => value
                .parse()
                .map(|count| self.max_sessions = Some(count))
                .map_err(|_| wrong("a number of sessions, 1 or more")),
            _ => return None,
        };
        Some(read)
    }

    /// Takes over from `groups` what is not given here: of each limit the most generous one.
    pub fn fill<'a>(&mut self, groups: impl Iterator<Item = &'a Self>) {
        let mut most = Self::default();
        for group in groups {
            most.quota = most.quota.max(group.quota);
            most.rate_up = most.rate_up.max(group.rate_up);
            most.rate_down = most.rate_down.max(group.rate_down);
            most.max_sessions = most.max_sessions.max(group.max_sessions);
        }
        self.quota = self.quota.or(most.quota);
        self.rate_up = self.rate_up.or(most.rate_up);
        self.rate_down = self.rate_down.or(most.rate_down);
        self.max_sessions = self.max_sessions.or(most.max_sessions);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_numbers_are_read_and_bounded() {
        let mut allowance = Allowance::default();
        for (key, value) in [
            ("quota", "10G"),
            ("rate_up", "512K"),
            ("rate_down", "1"),
            ("max_sessions", "3"),
        ] {
            assert_eq!(allowance.read_item(key, value), Some(Ok(())), "{key}");
        }
        let all = Allowance {
            quota: Some(10 << 30),
            rate_up: NonZeroU64::new(512 << 10),
            rate_down: NonZeroU64::new(1),
            max_sessions: NonZeroU32::new(3),
        };
        assert_eq!(allowance, all);
        for (key, value) in [
            ("quota", "-1"),
            ("quota", "9999999T"),
            ("rate_up", "0"),
            ("rate_down", "fast"),
            ("max_sessions", "0"),
            ("max_sessions", "99999999999"),
        ] {
            let message = allowance.read_item(key, value).unwrap().unwrap_err();
            assert!(message.contains(&format!("got {value:?}")), "{message}");
        }
        assert_eq!(allowance, all);
        assert_eq!(allowance.read_item("home", "1"), None);
    }

    #[test]
    fn the_most_generous_group_counts_and_the_account_more() {
        let group = |quota, sessions| Allowance {
            quota,
            max_sessions: NonZeroU32::new(sessions),
            ..Allowance::default()
        };
        let mut own = group(Some(1), 0);
        own.fill([group(Some(5), 2), group(None, 7)].iter());
        assert_eq!(own, group(Some(1), 7));
    }

    proptest! {
        #[test]
        fn no_value_makes_the_reader_panic(key in "quota|rate_up|rate_down|max_sessions", text in any::<String>(),
                                           near in "[0-9]{1,20}[KMGT]?") {
            let mut allowance = Allowance::default();
            for value in [text, near] {
                let _ = allowance.read_item(&key, &value);
            }
            prop_assert!(allowance.quota.is_none_or(|quota| i64::try_from(quota).is_ok()));
        }
    }
}
