//! What a server and its child processes have used so far, as Linux counts it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// CPU time of a process, of its children that live, and of those that have ended, in seconds.
pub fn cpu_seconds(pid: u32) -> f64 {
    // utime, stime, cutime and cstime are fields 14 to 17 of proc_pid_stat(5); the first after the
    // name is field 3.
    let ticks: u64 = tree(pid)
        .into_iter()
        .filter_map(stat)
        .map(|fields| {
            fields
                .iter()
                .skip(11)
                .take(4)
                .filter_map(|field| field.parse::<u64>().ok())
                .sum::<u64>()
        })
        .sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory of a process and of its children that live, in bytes.
pub fn resident(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

/// Its peak.
fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// A line of /proc/PID/status, summed.
fn memory(pid: u32, name: &str) -> u64 {
    let of = |pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    tree(pid).into_iter().filter_map(of).sum::<u64>() * 1024
}

/// Watches the memory of processes that come and go, such as an FTP server's sessions.
pub struct MemoryWatch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl MemoryWatch {
    pub fn start(pid: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut peak = 0;
            while !seen.load(Ordering::Relaxed) {
                peak = peak.max(peak_memory(pid));
                std::thread::park_timeout(Duration::from_millis(100));
            }
            peak.max(peak_memory(pid))
        });
        Self { stop, thread }
    }

    /// The highest sum that was seen, in bytes.
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        self.thread.join().unwrap_or_default()
    }
}

/// A process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(pid) = found.get(next).copied() {
        next += 1;
        // Each thread lists the children that it started.
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for thread in threads.flatten() {
            let children =
                std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    found
}

/// The fields of /proc/PID/stat after the process name, which may hold spaces.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(") ")?;
    Some(fields.split(' ').map(str::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_count_while_they_live_and_afterwards() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done & wait; read x";
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell
            .args(["-c", script])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let used = polyport_testkit::eventually("the child's time counts", || {
            Some(cpu_seconds(shell.id())).filter(|seconds| *seconds > 0.0)
        });
        assert!(peak_memory(shell.id()) > 100_000);
        drop(shell.stdin.take());
        assert!(used < 60.0);
        shell.wait().unwrap();
        assert_eq!(cpu_seconds(shell.id()), 0.0);
    }
}
