//! Ids that the server gives: UUID version 7 (RFC 9562 section 5.7).

use std::time::{Duration, SystemTime};

/// A new id. In the order of ids new documents come behind older ones.
pub fn new() -> String {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let mut random = [0; 8];
    // Without the system's randomness the time, to 250 ns, still tells ids apart, as does the
    // condition under which they are stored.
    if let Err(error) = getrandom::fill(&mut random) {
        tracing::warn!("no randomness for an id: {error}");
    }
    version_7(since_epoch, random)
}

/// Milliseconds, then (method 3 of section 6.2) their fraction in 12 bits, then 62 random bits.
fn version_7(since_epoch: Duration, random: [u8; 8]) -> String {
    let milliseconds = since_epoch.as_millis() & 0xffff_ffff_ffff;
    let fraction = u128::from(since_epoch.subsec_nanos() % 1_000_000) * 4096 / 1_000_000;
    let random = u128::from(u64::from_be_bytes(random)) >> 2;
    let bits = milliseconds << 80 | 7 << 76 | fraction << 64 | 0b10 << 62 | random;
    let digits = format!("{bits:032x}");
    [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_9562_appendix_a_6() {
        // 2022-02-22 19:22:22.000 UTC; rand_a 0xcc3 is 0.7976 of a millisecond here.
        let time = Duration::from_nanos(1_645_557_742_000_797_608);
        let random = (0x18c4_dc0c_0c07_398f_u64 << 2).to_be_bytes();
        assert_eq!(
            version_7(time, random),
            "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
        );
    }

    #[test]
    fn ids_are_distinct_and_in_order_of_time() {
        let first = new();
        let later = (0..1000)
            .map(|_| new())
            .collect::<std::collections::HashSet<_>>();
        assert_eq!(later.len(), 1000);
        assert_eq!(first.len(), 36);
        let soon = version_7(Duration::from_micros(1_000_001), [255; 8]);
        let later = version_7(Duration::from_micros(1_000_002), [0; 8]);
        assert!(soon < later);
    }
}
