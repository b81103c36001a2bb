//! Foreign clients against the real host: T27 to T33.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::time::Duration;

use polyport_testkit::{Client, Host};
use support::{files, script, sha256, write_noise};

#[test]
fn t27_to_t33_a_client_written_by_hand() {
    let host = support::builder().start();
    script(&host, "handwritten.py", &[]);
    let folder = files(&host).join("xzztest");
    polyport_testkit::eventually(
        "the upload whose control connection was closed first",
        || {
            fs::read(folder.join("upload.txt"))
                .ok()
                .filter(|content| content == b"12345678910\n")
        },
    );
}

#[test]
fn t27_to_t33_python_ftplib() {
    let host = support::builder().start();
    script(&host, "with_ftplib.py", &[]);
    let left: Vec<_> = fs::read_dir(files(&host))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    let hidden = left
        .iter()
        .filter(|name| name.to_string_lossy().starts_with('.'));
    assert_eq!(
        hidden.count(),
        0,
        "an upload left something behind: {left:?}"
    );
}

fn curl(host: &Host, arguments: &[&str]) -> polyport_testkit::Finished {
    let arguments = arguments.iter().map(|argument| host.expand(argument));
    Client::new("curl")
        .args(["--silent", "--show-error", "--max-time", "60"])
        .args(arguments)
        .run()
}

#[test]
fn t32_curl_lists_fetches_resumes_and_uploads() {
    let host = support::builder().start();
    let folder = files(&host);
    let sum = write_noise(&folder.join("noise.bin"), 5_000_000);
    let away = tempfile::tempdir().unwrap();
    let there = away.path().join("noise.bin");
    let there = there.to_str().unwrap();
    let url = "ftp://xzz:123456@127.0.0.1:{port:ftp}";
    let at = |path: &str| format!("{url}/{path}");

    let listing = curl(&host, &[&at("")]).expect_success().stdout();
    assert!(
        listing.contains(" 5000000 ") && listing.contains(" noise.bin"),
        "{listing}"
    );
    curl(&host, &["-o", there, &at("noise.bin")]).expect_success();
    assert_eq!(sha256(there.as_ref()), sum);

    // T31: half of it is there already
    fs::File::options()
        .write(true)
        .open(there)
        .unwrap()
        .set_len(2_500_001)
        .unwrap();
    curl(&host, &["-C", "-", "-o", there, &at("noise.bin")]).expect_success();
    assert_eq!(sha256(there.as_ref()), sum);
    curl(&host, &["-r", "100-199", "-o", there, &at("noise.bin")]).expect_success();
    assert_eq!(
        fs::read(there).unwrap(),
        fs::read(folder.join("noise.bin")).unwrap()[100..200]
    );

    // up, with folders made on the way, then the rest of one that broke off
    fs::copy(folder.join("noise.bin"), there).unwrap();
    curl(
        &host,
        &["--ftp-create-dirs", "-T", there, &at("new/folder/up.bin")],
    )
    .expect_success();
    let up = folder.join("new/folder/up.bin");
    assert_eq!(sha256(&up), sum);
    fs::File::options()
        .write(true)
        .open(&up)
        .unwrap()
        .set_len(1_234_567)
        .unwrap();
    curl(&host, &["-C", "-", "-T", there, &at("new/folder/up.bin")]).expect_success();
    assert_eq!(sha256(&up), sum);

    // active mode, renaming by quoted commands, and the times
    curl(
        &host,
        &["--ftp-port", "127.0.0.1", "-o", there, &at("noise.bin")],
    )
    .expect_success();
    assert_eq!(sha256(there.as_ref()), sum);
    curl(
        &host,
        &["-Q", "RNFR noise.bin", "-Q", "RNTO renamed.bin", &at("")],
    )
    .expect_success();
    assert!(folder.join("renamed.bin").exists());
    let head = curl(&host, &["-I", &at("renamed.bin")])
        .expect_success()
        .stdout();
    assert!(
        head.contains("Content-Length: 5000000") && head.contains("Last-Modified: "),
        "{head}"
    );

    // 67 is curl's code for a login that was refused
    curl(&host, &["ftp://xzz:wrong@127.0.0.1:{port:ftp}/"]).expect_code(67);
}

#[test]
fn t32_lftp_mirrors_both_ways_and_resumes() {
    let host = support::builder().start();
    let folder = files(&host);
    fs::create_dir_all(folder.join("tree/sub folder/深い")).unwrap();
    let big = write_noise(&folder.join("tree/big.bin"), 3_000_000);
    let small = write_noise(&folder.join("tree/sub folder/深い/small.bin"), 12_345);
    fs::write(folder.join("tree/empty"), "").unwrap();
    let away = tempfile::tempdir().unwrap();
    let lftp = |commands: &str| {
        let settings = "set cmd:fail-exit true; set net:max-retries 2; set net:timeout 20";
        let login = host.expand("open -u xzz,123456 ftp://127.0.0.1:{port:ftp}");
        Client::new("lftp")
            .args(["--norc", "-c"])
            .arg(format!("{settings}; {login}; {commands}; bye"))
            .current_dir(away.path())
            .env("LFTP_HOME", away.path())
            .env("LC_ALL", "C.UTF-8")
            .limit(Duration::from_secs(60))
            .run()
    };
    lftp("mirror --parallel=4 tree copy").expect_success();
    assert_eq!(sha256(&away.path().join("copy/big.bin")), big);
    assert_eq!(
        sha256(&away.path().join("copy/sub folder/深い/small.bin")),
        small
    );
    assert_eq!(fs::read(away.path().join("copy/empty")).unwrap(), b"");

    lftp("mirror -R copy back").expect_success();
    assert_eq!(sha256(&folder.join("back/big.bin")), big);
    assert_eq!(
        sha256(&folder.join("back/sub folder/深い/small.bin")),
        small
    );
    let modified = |path: &str| fs::metadata(folder.join(path)).unwrap().modified().unwrap();
    let apart = modified("back/big.bin").duration_since(modified("tree/big.bin"));
    let apart = apart.unwrap_or_else(|error| error.duration());
    assert!(
        apart <= Duration::from_secs(1),
        "the time of the file did not come along: {apart:?}"
    );

    // T31: what broke off is gone on with, both ways
    fs::File::options()
        .write(true)
        .open(away.path().join("copy/big.bin"))
        .unwrap()
        .set_len(1_000_000)
        .unwrap();
    lftp("get -c tree/big.bin -o copy/big.bin").expect_success();
    assert_eq!(sha256(&away.path().join("copy/big.bin")), big);
    fs::File::options()
        .write(true)
        .open(folder.join("back/big.bin"))
        .unwrap()
        .set_len(999_999)
        .unwrap();
    lftp("put -c copy/big.bin -o back/big.bin").expect_success();
    assert_eq!(sha256(&folder.join("back/big.bin")), big);

    lftp("rm -r back; cls tree").expect_success();
    assert!(!folder.join("back").exists());
}

/// T30 T31: 300 MB, whole and from the middle.
#[test]
fn t30_t31_300_mb_arrive_whole_and_are_gone_on_with() {
    let host = support::builder().start();
    let away = tempfile::tempdir().unwrap();
    let there = away.path().join("film.rmvb");
    let path = there.to_str().unwrap();
    let sum = write_noise(&files(&host).join("film.rmvb"), 300_000_000);
    let url = "ftp://xzz:123456@127.0.0.1:{port:ftp}/film.rmvb";
    curl(&host, &["-o", path, url]).expect_success();
    assert_eq!(sha256(&there), sum);
    fs::File::options()
        .write(true)
        .open(&there)
        .unwrap()
        .set_len(150_000_001)
        .unwrap();
    curl(&host, &["-C", "-", "-o", path, url]).expect_success();
    assert_eq!(sha256(&there), sum);
    fs::remove_file(files(&host).join("film.rmvb")).unwrap();
    curl(&host, &["-T", path, url]).expect_success();
    assert_eq!(sha256(&files(&host).join("film.rmvb")), sum);
}
