//! wrk: many small HTTP requests on a few connections.

use std::process::Command;

use super::harness::{Moved, Server};
use crate::{Outcome, clients};

const CONNECTIONS: u32 = 32;
const SECONDS: u32 = 3;

/// Requests `path` again and again; anything but success is an error.
pub fn run(server: &Server, path: &str) -> Outcome<Moved> {
    run_url(&format!("http://127.0.0.1:{}{path}", server.port))
}

/// The same by HTTPS, whoever the server says it is.
pub fn run_tls(server: &Server, path: &str) -> Outcome<Moved> {
    run_url(&format!("https://127.0.0.1:{}{path}", server.port))
}

fn run_url(url: &str) -> Outcome<Moved> {
    let wrk = clients::find("wrk").ok_or("no wrk: run `cargo xtask clients` as root")?;
    let mut command = Command::new(wrk);
    command
        .arg("-t1")
        .arg(format!("-c{CONNECTIONS}"))
        .arg(format!("-d{SECONDS}s"));
    command.arg(url);
    let output = command
        .output()
        .map_err(|e| format!("cannot run wrk: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    read(&text).ok_or_else(|| format!("wrk: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn read(text: &str) -> Option<Moved> {
    let bad = ["Non-2xx or 3xx responses", "unable to connect"];
    if bad.iter().any(|bad| text.contains(bad)) {
        return None;
    }
    let total = text
        .lines()
        .find_map(|line| line.split_once(" requests in "))?;
    let amount: f64 = total.0.trim().parse().ok()?;
    let rate = text
        .lines()
        .find_map(|line| line.strip_prefix("Requests/sec:"))?;
    let rate: f64 = rate.trim().parse().ok()?;
    (rate > 0.0).then(|| Moved {
        amount,
        seconds: amount / rate,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clean_run_counts() {
        let clean = "  60000 requests in 3.00s, 70.00MB read\nRequests/sec:  20000.00\n";
        let moved = read(clean).unwrap();
        assert_eq!((moved.amount, moved.seconds), (60000.0, 3.0));
        assert!(read(&format!("{clean}  Non-2xx or 3xx responses: 5\n")).is_none());
        assert!(read("unable to connect to 127.0.0.1:1 Connection refused").is_none());
    }
}
