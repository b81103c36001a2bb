//! Civil dates in UTC for LIST, MDTM and MLSx, without a clock or time zone.

/// A moment split into its UTC fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Utc {
    pub year: i64,
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
}

const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const DAY: i64 = 86_400;

impl Utc {
    /// The fields of a Unix time in seconds; times before the year 1 or after 9999 are clamped,
    /// as the formats have room for four digits.
    pub fn from_unix(seconds: i64) -> Self {
        let seconds = seconds.clamp(-62_135_596_800, 253_402_300_799);
        let (days, in_day) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        // each value lies within its field by the remainders above
        Self {
            year,
            month,
            day,
            hour: (in_day / 3600) as u8,
            minute: (in_day / 60 % 60) as u8,
            second: (in_day % 60) as u8,
        }
    }

    /// Three letters, English, as `ls` writes them.
    pub fn month_name(&self) -> &'static str {
        MONTHS[usize::from(self.month - 1)]
    }

    /// `YYYYMMDDHHMMSS`, the time-val of RFC 3659 section 2.3.
    pub fn time_val(&self) -> String {
        let Self {
            year,
            month,
            day,
            hour,
            minute,
            second,
        } = self;
        format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}")
    }
}

/// Parses a time-val, fraction ignored, into Unix seconds.
pub fn parse_time_val(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() != 14 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let field = |range: std::ops::Range<usize>| whole[range].parse::<i64>().ok();
    let (year, month, day) = (field(0..4)?, field(4..6)?, field(6..8)?);
    let (hour, minute, second) = (field(8..10)?, field(10..12)?, field(12..14)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // refuses 31 April, which the arithmetic would take for 1 May
    let (_, found_month, found_day) = civil(days);
    if (i64::from(found_month), i64::from(found_day)) != (month, day) {
        return None;
    }
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

/// Days since 1970-01-01 to (year, month, day), proleptic Gregorian.
///
/// The year is counted from March, so that the leap day is its last.
fn civil(days: i64) -> (i64, u8, u8) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * march_month + 2) / 5 + 1) as u8;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    } as u8;
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (unix, text) in [
            (0, "19700101000000"),
            (951_782_400, "20000229000000"),
            (1_421_347_380, "20150115184300"),
            (4_107_542_399, "21000228235959"),
            (-1, "19691231235959"),
        ] {
            assert_eq!(Utc::from_unix(unix).time_val(), text);
            assert_eq!(parse_time_val(text), Some(unix));
        }
        assert_eq!(parse_time_val("20150115184300.123"), Some(1_421_347_380));
        assert_eq!(Utc::from_unix(i64::MAX).year, 9999);
        assert_eq!(Utc::from_unix(i64::MIN).year, 1);
    }

    #[test]
    fn impossible_dates_are_refused() {
        for bad in [
            "",
            "2015",
            "20150431000000",
            "20150229000000",
            "20151301000000",
            "20150101240000",
            "2015010100000x",
            "20150101000000.",
            "+0150101000000",
        ] {
            assert_eq!(parse_time_val(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_survives_the_round_trip() {
        for day in -80_000..80_000 {
            let (year, month, day_of_month) = civil(day);
            assert_eq!(
                days_from_civil(year, i64::from(month), i64::from(day_of_month)),
                day
            );
        }
    }
}
