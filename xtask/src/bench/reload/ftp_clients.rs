//! Files by FTP: lftp and curl, up and down, a session each.

use super::http::curl_failure;
use super::place::Place;
use super::programs::{Ended, command, run};
use super::tally::{Kind, Tally};
use crate::Outcome;

/// Down and up in one session, without repeating anything.
pub fn lftp(tally: &Tally, place: &Place) -> Outcome {
    let (down, up) = (place.scratch("lftp.down"), place.folder("up/lftp.bin"));
    while !tally.is_over() {
        let script = format!(
            "set net:max-retries 1; set net:timeout 20; set cmd:fail-exit yes; set xfer:clobber yes; \
             open -u bench,bench ftp://127.0.0.1:{}; get large.bin -o {}; put {} -o /up/lftp.bin; ls /up",
            place.ftp,
            down.display(),
            place.folder("medium.bin").display(),
        );
        let mut lftp = command("lftp")?;
        lftp.args(["--norc", "-c", &script])
            .env("HOME", place.scratch("home"));
        let ended = run(lftp)?;
        if ended.code != Some(0) {
            tally.fail("lftp", lftp_failure(&ended), &ended.text());
            continue;
        }
        tally.done("lftp", 3);
        same(tally, "lftp", place, &down, "large.bin");
        same(tally, "lftp", place, &up, "medium.bin");
    }
    Ok(())
}

fn lftp_failure(ended: &Ended) -> Kind {
    let text = ended.text();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["refused"]) {
        Kind::Refused
    } else if has(&[
        "reset",
        "closed",
        "max-retries",
        "421",
        "426",
        "Broken pipe",
    ]) {
        Kind::Reset
    } else {
        Kind::Other
    }
}

/// Down and up in turns.
pub fn curl(tally: &Tally, place: &Place) -> Outcome {
    let (down, up) = (place.scratch("curl.down"), place.folder("up/curl.bin"));
    let url = |path: &str| format!("ftp://127.0.0.1:{}/{path}", place.ftp);
    while !tally.is_over() {
        let transfer = |args: &[&std::ffi::OsStr]| -> Outcome<bool> {
            let mut curl = command("curl")?;
            curl.args(["--silent", "--show-error", "--max-time", "40"]);
            curl.args(["--user", "bench:bench"]).args(args);
            let ended = run(curl)?;
            let failure = curl_failure(ended.code);
            match failure {
                None => tally.done("curl, FTP", 1),
                Some(kind) => {
                    let what = format!("curl exits with {:?}: {}", ended.code, ended.stderr);
                    tally.fail("curl, FTP", kind, &what);
                }
            }
            Ok(failure.is_none())
        };
        let (large, upload) = (url("large.bin"), url("up/curl.bin"));
        if transfer(&[
            "--limit-rate".as_ref(),
            "16M".as_ref(),
            "-o".as_ref(),
            down.as_ref(),
            large.as_ref(),
        ])? {
            same(tally, "curl, FTP", place, &down, "large.bin");
        }
        let medium = place.folder("medium.bin");
        if transfer(&["-T".as_ref(), medium.as_ref(), upload.as_ref()])? {
            same(tally, "curl, FTP", place, &up, "medium.bin");
        }
    }
    Ok(())
}

/// Whether a file is what `name` is among the files.
fn same(tally: &Tally, load: &'static str, place: &Place, file: &std::path::Path, name: &str) {
    let got = std::fs::read(file).unwrap_or_default();
    if got != place.content(name) {
        let what = format!(
            "{} of {name}: {} bytes, or others",
            file.display(),
            got.len()
        );
        tally.fail(load, Kind::Bytes, &what);
    }
    // So that the next one is not mistaken for it.
    let _ = std::fs::remove_file(file);
}
