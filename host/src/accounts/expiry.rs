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

/// A moment so many weeks, days, hours or minutes from `now` on, as the file has it: `30d`, `12h`.
pub fn from_now(text: &str, now: SystemTime) -> Option<String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return None,
    };
    let seconds: i64 = number.parse::<i64>().ok()?.checked_mul(seconds)?;
    let end = OffsetDateTime::from(now).checked_add(time::Duration::seconds(seconds))?;
    end.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
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

    #[test]
    fn a_time_from_now_is_a_time_that_can_be_read() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_640_995_200_500);
        for (text, end) in [
            ("30d", "2022-01-31T00:00:00Z"),
            ("2w", "2022-01-15T00:00:00Z"),
            ("1h", "2022-01-01T01:00:00Z"),
            ("90m", "2022-01-01T01:30:00Z"),
        ] {
            assert_eq!(from_now(text, now).as_deref(), Some(end), "{text}");
            assert!(is_expiry(end));
        }
        for wrong in [
            "",
            "30",
            "d",
            "-1d",
            "1y",
            "99999999999999999999d",
            "9999999999w",
        ] {
            assert_eq!(from_now(wrong, now), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "[0-9TZ:+-]{0,30}") {
            let _ = parse(&text);
            let _ = (from_now(&text, SystemTime::now()), from_now(&near, SystemTime::now()));
            let _ = parse(&near);
        }
    }
}
