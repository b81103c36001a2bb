//! The line that shows how far a transfer is.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_millis(200);

/// `name  45 %  12.3 of 27.1 MB  8.2 MB/s` on standard error, five times a second.
#[derive(Debug)]
pub struct Progress {
    name: String,
    total: Option<u64>,
    shown: bool,
    began_with: u64,
    done: AtomicU64,
    began: Instant,
    last: Mutex<Option<Instant>>,
}

impl Progress {
    /// A transfer of `total` bytes, if that is known, of which `done` were there before. It is shown on a
    /// terminal, and when `wanted`.
    #[must_use]
    pub fn new(name: &str, total: Option<u64>, done: u64, wanted: bool) -> Self {
        Self {
            name: name.into(),
            total,
            shown: wanted || std::io::stderr().is_terminal(),
            began_with: done,
            done: AtomicU64::new(done),
            began: Instant::now(),
            last: Mutex::new(None),
        }
    }

    /// Counts bytes that came or went.
    pub fn add(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        // Another thread that holds the lock is writing the line.
        if self.shown
            && let Ok(mut last) = self.last.try_lock()
            && last.is_none_or(|last| last.elapsed() >= EVERY)
        {
            *last = Some(Instant::now());
            self.write("\r");
        }
    }

    /// Goes back to `done` bytes, after a break.
    pub fn set(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Bytes so far.
    #[must_use]
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Writes the last line.
    pub fn end(&self) {
        if self.shown {
            self.write("\n");
        }
    }

    fn write(&self, end: &str) {
        let done = self.done();
        let line = line(
            &self.name,
            done,
            self.total,
            done.saturating_sub(self.began_with),
            self.began.elapsed(),
        );
        // A terminal that is gone shows nothing.
        let _ = write!(std::io::stderr(), "\r{line}{end}");
    }
}

fn line(name: &str, done: u64, total: Option<u64>, moved: u64, elapsed: Duration) -> String {
    let (unit, size) = match total.unwrap_or(done) {
        0..=9_999 => ("B", 1.0),
        10_000..=9_999_999 => ("kB", 1e3),
        10_000_000..=9_999_999_999 => ("MB", 1e6),
        _ => ("GB", 1e9),
    };
    let digits = usize::from(unit != "B");
    let in_unit = |bytes: u64| format!("{:.digits$}", bytes as f64 / size);
    let rate = moved as f64 / elapsed.as_secs_f64().max(0.001) / 1e6;
    let amount = match total {
        Some(0) => "100 %  0 B".to_owned(),
        Some(total) => format!(
            "{:3} %  {} of {} {unit}",
            u128::from(done) * 100 / u128::from(total),
            in_unit(done),
            in_unit(total)
        ),
        None => format!("{} {unit}", in_unit(done)),
    };
    format!("{name}  {amount}  {rate:.1} MB/s ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_fits_the_whole() {
        let second = Duration::from_secs(1);
        assert_eq!(
            line("a", 1_000_000, Some(4_000_000), 500_000, second),
            "a   25 %  1000.0 of 4000.0 kB  0.5 MB/s "
        );
        assert_eq!(line("a", 0, Some(0), 0, second), "a  100 %  0 B  0.0 MB/s ");
        assert_eq!(line("a", 12, None, 12, second), "a  12 B  0.0 MB/s ");
    }
}
