//! The lines a running program writes, kept while it runs, and waiting for one of them.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// Lines of a program's standard output and error in the order they arrived. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Log {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    /// Output streams that are still open.
    open: usize,
}

impl Log {
    /// Reads `from` to its end in a thread of its own.
    pub(crate) fn follow(&self, from: impl Read + Send + 'static) {
        self.with(|state| state.open += 1);
        let log = self.clone();
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while matches!(from.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end().to_string();
                line.clear();
                log.with(|state| state.lines.push(text));
            }
            log.with(|state| state.open -= 1);
        });
    }

    /// How many lines there are now: where to start looking for what comes next.
    pub(crate) fn len(&self) -> usize {
        self.with(|state| state.lines.len())
    }

    /// The lines from `from` on.
    pub(crate) fn lines(&self, from: usize) -> Vec<String> {
        self.with(|state| state.lines.get(from..).unwrap_or_default().to_vec())
    }

    /// The first line from `from` on that `wanted` accepts; `None` when the output ended or
    /// `limit` passed without one.
    pub(crate) fn wait(
        &self,
        from: usize,
        limit: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Option<String> {
        let deadline = Instant::now() + limit;
        let (state, changed) = &*self.shared;
        let mut state = state.lock().unwrap_or_else(|poison| poison.into_inner());
        let mut next = from;
        loop {
            if let Some(line) = state
                .lines
                .get(next..)
                .unwrap_or_default()
                .iter()
                .find(|line| wanted(line))
            {
                return Some(line.clone());
            }
            next = next.max(state.lines.len());
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || state.open == 0 {
                return None;
            }
            state = match changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poison) => poison.into_inner().0,
            };
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let (state, changed) = &*self.shared;
        let result = work(&mut state.lock().unwrap_or_else(|poison| poison.into_inner()));
        changed.notify_all();
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_with_the_line_or_with_the_output() {
        let log = Log::default();
        log.follow(&b"one\ntwo\nready\n"[..]);
        assert_eq!(
            log.wait(0, crate::PATIENCE, |line| line == "ready")
                .as_deref(),
            Some("ready")
        );
        assert_eq!(log.wait(0, crate::PATIENCE, |line| line == "absent"), None);
        assert_eq!(log.lines(1), ["two", "ready"]);
        assert_eq!(
            log.wait(3, crate::PATIENCE, |line| line == "ready"),
            None,
            "only what came after"
        );
    }
}
