//! The engine's clock: milliseconds since the Unix epoch, handed in by the host, never going
//! backwards. One clock serves deadlines and what is stored over a restart.

use std::ops::Add;

/// A point in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time this many seconds later; saturates.
    #[must_use]
    pub fn after_seconds(self, seconds: u32) -> Time {
        Time(self.0.saturating_add(u64::from(seconds) * 1000))
    }

    /// Whole seconds from `self` until `later`, rounded up; 0 when it has passed.
    #[must_use]
    pub fn seconds_until(self, later: Time) -> u32 {
        u32::try_from(later.0.saturating_sub(self.0).div_ceil(1000)).unwrap_or(u32::MAX)
    }
}

impl Add<u64> for Time {
    type Output = Time;
    fn add(self, milliseconds: u64) -> Time {
        Time(self.0.saturating_add(milliseconds))
    }
}
