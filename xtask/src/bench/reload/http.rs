//! Files by HTTP: wrk, and curl on connections that stay open, in ranges, slowly, by HTTPS and HTTP/2.

use std::process::Command;

use super::place::{LARGE, MEDIUM, Place};
use super::programs::{Ended, command, run};
use super::tally::{Kind, Tally};
use crate::Outcome;

/// Pauses between a connection's requests in milliseconds: with them connections are idle when they cross.
const PACED: &str = "function delay() return 10 end\n";

/// One second each with pauses on 16 connections, and as fast as it goes on 2.
pub fn wrk(tally: &Tally, place: &Place) -> Outcome {
    let script = place.scratch("paced.lua");
    std::fs::write(&script, PACED).map_err(|e| format!("{}: {e}", script.display()))?;
    let url = format!("http://127.0.0.1:{}/small.bin", place.files);
    let mut paced = false;
    while !tally.is_over() {
        paced = !paced;
        let mut wrk = command("wrk")?;
        wrk.args(["-t1", "-d1s", "--timeout", "20s"]);
        match paced {
            true => wrk.arg("-c16").arg("-s").arg(&script),
            false => wrk.arg("-c2"),
        };
        wrk.arg(&url);
        let ended = run(wrk)?;
        let (requests, failures) = read_wrk(&ended.text());
        tally.done("wrk", requests);
        for (kind, what) in failures {
            tally.fail("wrk", kind, &what);
        }
    }
    Ok(())
}

/// Requests and failures, one for each error that wrk counts.
fn read_wrk(text: &str) -> (u64, Vec<(Kind, String)>) {
    let requests = text
        .lines()
        .find_map(|line| line.split_once(" requests in "))
        .and_then(|(number, _)| number.trim().parse().ok());
    let mut failures = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(errors) = line.strip_prefix("Socket errors: ") {
            for part in errors.split(", ") {
                let (what, number) = part.split_once(' ').unwrap_or_default();
                let kind = match what {
                    "connect" => Kind::Refused,
                    "timeout" => Kind::Other,
                    _ => Kind::Reset,
                };
                let number = number.parse().unwrap_or(0);
                failures.extend((0..number).map(|_| (kind, line.to_string())));
            }
        } else if let Some(number) = line.strip_prefix("Non-2xx or 3xx responses: ") {
            let number = number.parse().unwrap_or(1);
            failures.extend((0..number).map(|_| (Kind::Bytes, line.to_string())));
        } else if line.starts_with("unable to connect") {
            failures.push((Kind::Refused, line.to_string()));
        }
    }
    if requests.is_none() && failures.is_empty() {
        failures.push((Kind::Other, text.to_string()));
    }
    (requests.unwrap_or(0), failures)
}

/// Parts of the large file, each on a connection of its own.
pub fn ranges(tally: &Tally, place: &Place) -> Outcome {
    let large = place.content("large.bin");
    let mut at = 1usize;
    while !tally.is_over() {
        // Other places each time, and of lengths from nearly nothing to nearly all.
        at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let from = (at >> 16) % (LARGE - 1);
        let to = from + (at >> 40) % (LARGE - from).min(4 * 1024 * 1024);
        let mut curl = curl()?;
        curl.arg("--range").arg(format!("{from}-{to}"));
        curl.arg(place.url("http", place.files, "large.bin"));
        let expected = large.get(from..=to).unwrap_or_default();
        judge(tally, "curl, ranges", 1, &run(curl)?, expected);
    }
    Ok(())
}

/// Downloads that take longer than the time between two changes.
pub fn slow(tally: &Tally, place: &Place) -> Outcome {
    let large = place.content("large.bin");
    while !tally.is_over() {
        let mut curl = curl()?;
        curl.args(["--limit-rate", "8M"]);
        curl.arg(place.url("http", place.files, "large.bin"));
        judge(tally, "curl, slow downloads", 1, &run(curl)?, large);
    }
    Ok(())
}

/// Requests with pauses, on one connection while the server keeps it.
pub fn kept(tally: &Tally, place: &Place) -> Outcome {
    row(
        tally,
        place,
        "curl, kept connection",
        "http",
        place.files,
        "--http1.1",
    )
}

/// The same by HTTPS.
pub fn https(tally: &Tally, place: &Place) -> Outcome {
    row(
        tally,
        place,
        "curl, HTTPS",
        "https",
        place.files_tls,
        "--http1.1",
    )
}

/// The same by HTTP/2.
pub fn http2(tally: &Tally, place: &Place) -> Outcome {
    row(
        tally,
        place,
        "curl, HTTP/2",
        "https",
        place.files_tls,
        "--http2",
    )
}

fn row(
    tally: &Tally,
    place: &Place,
    load: &'static str,
    scheme: &str,
    port: u16,
    version: &str,
) -> Outcome {
    const REQUESTS: u64 = 20;
    let expected = place.content("medium.bin").repeat(20);
    debug_assert_eq!(expected.len(), MEDIUM * 20);
    while !tally.is_over() {
        let mut curl = curl()?;
        curl.args([version, "--insecure", "--rate", "20/s"]);
        curl.arg(place.url(scheme, port, &format!("medium.bin?[1-{REQUESTS}]")));
        judge(tally, load, REQUESTS, &run(curl)?, &expected);
    }
    Ok(())
}

fn curl() -> Outcome<Command> {
    let mut curl = command("curl")?;
    curl.args(["--silent", "--show-error", "--fail-early", "--fail"]);
    curl.args(["--max-time", "40"]);
    Ok(curl)
}

/// Counts a run of curl whose output ought to be `expected`.
fn judge(tally: &Tally, load: &'static str, operations: u64, ended: &Ended, expected: &[u8]) {
    if let Some(kind) = curl_failure(ended.code) {
        let code = ended.code;
        tally.fail(
            load,
            kind,
            &format!("curl exits with {code:?}: {}", ended.stderr),
        );
    } else if ended.stdout != expected {
        let (got, expected) = (ended.stdout.len(), expected.len());
        tally.fail(
            load,
            Kind::Bytes,
            &format!("{got} bytes, expected {expected}, or others"),
        );
    } else {
        tally.done(load, operations);
    }
}

/// What curl's exit code says (curl(1), "EXIT CODES").
pub fn curl_failure(code: Option<i32>) -> Option<Kind> {
    Some(match code {
        Some(0) => return None,
        Some(7) => Kind::Refused,
        // TLS that does not come about, nothing received, failures to send and to receive.
        Some(35 | 52 | 55 | 56) => Kind::Reset,
        // Less than was told, an error's status, no such range, HTTP/2's errors, FTP's.
        Some(8 | 9 | 13 | 16 | 17 | 18 | 19 | 22 | 25 | 33 | 78 | 92) => Kind::Bytes,
        _ => Kind::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_wrk_count_each() {
        let text = "  600 requests in 1.00s, 1MB read\n  Socket errors: connect 1, read 2, write 0, timeout 0\n  \
                    Non-2xx or 3xx responses: 1\n";
        let (requests, failures) = read_wrk(text);
        let kinds: Vec<Kind> = failures.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(requests, 600);
        assert_eq!(
            kinds,
            [Kind::Refused, Kind::Reset, Kind::Reset, Kind::Bytes]
        );
        assert_eq!(read_wrk("").1.len(), 1, "wrk that says nothing failed");
    }
}
