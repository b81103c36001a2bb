//! Numeric equality of two spellings, exact at any size (RFC 6902 section 4.6).

/// Whether two validated JSON numbers have the same value: `1e2`, `100` and `100.0` do.
pub fn equal(a: &str, b: &str) -> bool {
    a == b || matches!((Decimal::read(a), Decimal::read(b)), (Some(a), Some(b)) if a == b)
}

/// `0.DIGITS x 10^exponent`, without leading or trailing zeros; zero has no digits.
#[derive(PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    /// `None` if the exponent is beyond 64 bits; such numbers are equal only as text.
    fn read(spelling: &str) -> Option<Self> {
        let (negative, magnitude) = match spelling.strip_prefix('-') {
            Some(magnitude) => (true, magnitude),
            None => (false, spelling),
        };
        let (mantissa, exponent) = magnitude.split_once(['e', 'E']).unwrap_or((magnitude, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole.as_bytes(), fraction.as_bytes()].concat();
        let Some(first) = all.iter().position(|&digit| digit != b'0') else {
            return Some(Self {
                negative: false,
                digits: Vec::new(),
                exponent: 0,
            });
        };
        let last = all
            .iter()
            .rposition(|&digit| digit != b'0')
            .unwrap_or(first);
        let point = i64::try_from(whole.len())
            .ok()?
            .checked_sub(i64::try_from(first).ok()?)?;
        let exponent = exponent.parse::<i64>().ok()?.checked_add(point)?;
        Some(Self {
            negative,
            digits: all[first..=last].to_vec(),
            exponent,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn spellings_of_one_value_are_equal() {
        for (a, b) in [
            ("100", "1e2"),
            ("100.0", "1.0E+2"),
            ("-0", "0.00e9"),
            ("5.7865", "57865e-4"),
            ("0.001", "1e-3"),
            ("1e400", "10e399"),
            ("9007199254740993", "9007199254740993.0"),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            assert!(equal(a, b), "{a} {b}");
        }
    }

    #[test]
    fn neighbours_are_not_equal() {
        for (a, b) in [
            ("1", "-1"),
            ("9007199254740993", "9007199254740992"),
            ("0.1", "0.10000000000000001"),
            ("1e400", "1e401"),
            ("1e99999999999999999999", "1e99999999999999999998"),
            ("10", "1"),
        ] {
            assert!(!equal(a, b), "{a} {b}");
        }
    }
}
