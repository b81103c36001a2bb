//! When an account ends: `2026-12-31` (valid through that day, UTC) or an RFC 3339 time.

use std::time::SystemTime;

use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, Time};

/// The first moment at which the account is no longer valid.
pub fn parse(text: &str) -> Option<SystemTime> {
    let end = match Date::parse(text, format_description!("[year]-[month]-[day]")) {
        Ok(date) => OffsetDateTime::new_utc(date.next_day()?, Time::MIDNIGHT),
        Err(_) => OffsetDateTime::parse(text, &Rfc3339).ok()?,
    };
    // Years before 1970 are as expired as 1970 itself.
    Some(SystemTime::from(end.max(OffsetDateTime::UNIX_EPOCH)))
}

/// Whether `text` may stand after `expire =`.
pub fn is_expiry(text: &str) -> bool {
    parse(text).is_some()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn a_day_is_valid_to_its_end() {
        assert_eq!(parse("2022-01-01"), at(1_641_081_600)); // 2022-01-02T00:00:00Z
        assert_eq!(parse("1970-01-01"), at(86_400));
        assert_eq!(parse("0001-01-01"), at(0));
    }

    #[test]
    fn a_time_is_exact() {
        assert_eq!(parse("2022-01-01T00:00:00Z"), at(1_640_995_200));
        assert_eq!(parse("2022-01-01T02:00:00+02:00"), at(1_640_995_200));
    }

    #[test]
    fn other_text_is_refused() {
        for wrong in [
            "",
            "2022-13-01",
            "2022-02-30",
            "01.01.2022",
            "2022-1-1",
            "2022-01-01 00:00",
            "never",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[0-9TZ:+-]{0,30}") {
            let _ = parse(&text);
            let _ = parse(&near);
        }
    }
}
