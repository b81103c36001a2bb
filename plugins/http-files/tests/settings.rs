//! What each setting changes, seen by a client.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::BufReader;

use polyport_testkit::{Builder, Host};
use support::{ask, files_host};

fn host(settings: &str) -> Builder {
    files_host()
        .settings("files", settings)
        .file("files/a.txt", "a")
        .file("files/.hidden", "h")
        .file("files/start.html", "start")
}

fn status(host: &Host, method: &str, path: &str, fields: &str) -> u16 {
    let mut stream = BufReader::new(host.connect("files"));
    ask(&mut stream, method, path, fields).status
}

#[test]
fn everything_can_be_switched_off() {
    let host =
        host("listing = false\nupload = false\narchive = false\nsymlinks = \"never\"").start();
    std::os::unix::fs::symlink("a.txt", host.path().join("files/link")).unwrap();
    assert_eq!(status(&host, "GET", "/", ""), 403);
    assert_eq!(status(&host, "GET", "/a.txt", ""), 200);
    assert_eq!(status(&host, "GET", "/link", ""), 404);
    assert_eq!(status(&host, "GET", "/?archive=zip", ""), 403);
    let mut stream = BufReader::new(host.connect("files"));
    let alice = format!(
        "Authorization: Basic {}\r\n",
        support::base64("alice:wonderland")
    );
    let put = ask(
        &mut stream,
        "PUT",
        "/b.txt",
        &format!("{alice}Content-Length: 0\r\n"),
    );
    assert_eq!(
        (put.status, put.field("allow")),
        (405, Some("GET, HEAD, OPTIONS"))
    );
}

#[test]
fn hidden_names_links_another_index_and_a_small_header() {
    let host = host("hidden = true\nindex = [\"start.html\"]")
        .keys("files", "limits = { max_header = 1024 }")
        .start();
    std::os::unix::fs::symlink("a.txt", host.path().join("files/link")).unwrap();
    let mut stream = BufReader::new(host.connect("files"));
    assert_eq!(ask(&mut stream, "GET", "/", "").body, b"start");
    assert_eq!(ask(&mut stream, "GET", "/.hidden", "").body, b"h");
    assert_eq!(ask(&mut stream, "GET", "/link", "").body, b"a");
    let listing = ask(&mut stream, "GET", "/?format=json", "");
    let listing = String::from_utf8(listing.body).unwrap();
    assert!(
        listing.contains("\".hidden\"") && listing.contains("\"link\""),
        "{listing}"
    );
    assert_eq!(
        status(&host, "GET", "/", &format!("X: {}\r\n", "x".repeat(2000))),
        431
    );
}

#[test]
fn settings_that_cannot_be_are_told_by_their_line() {
    let host = host(
        "index = [\"a/b\"]\nbody_timeout = 0\nwrite_timeout = \"1\"\nidle_timeout = 5\ncolour = 1",
    )
    .prepare();
    let check = host.command(&["check"]);
    let told = format!("{}{}", check.stdout(), check.stderr());
    for part in [
        "index[0]: expected a file name, got \"a/b\"",
        "body_timeout: expected 1 to 86400, got 0",
        "write_timeout: expected u64, got \"1\"",
        "idle_timeout: expected idle_timeout in the limits of the service, got a setting",
        "colour: expected a known key: root, index,",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
}

#[test]
fn a_root_that_is_not_there_is_told() {
    let host = host("root = \"nowhere\"").start();
    let line = host.wait_log(0, "nowhere");
    assert!(
        line.contains("root: ") && line.contains("nowhere: not found"),
        "{line}"
    );
    host.wait_status("the service failed", |status| {
        status["services"][0]["state"] == "failed"
    });
}

#[test]
fn settings_change_under_an_open_connection() {
    let host = host("").start();
    std::os::unix::fs::symlink("a.txt", host.path().join("files/link")).unwrap();
    let mut stream = BufReader::new(host.connect("files"));
    let alice = format!(
        "Authorization: Basic {}\r\n",
        support::base64("alice:wonderland")
    );
    let mut ask = |method, path, fields: &str| ask(&mut stream, method, path, fields);
    assert_eq!(ask("GET", "/", "").status, 200);
    assert_eq!(ask("GET", "/link", "").status, 200);
    assert_eq!(ask("GET", "/.hidden", "").status, 404);
    assert_eq!(
        ask("PUT", "/put.txt", &format!("{alice}Content-Length: 0\r\n")).status,
        201
    );
    let before = host.started("files");
    let changes = host.change(|text| {
        let keys = "listing = false\nindex = [\"start.html\"]\nhidden = true\nsymlinks = \"never\"\narchive = false\nmax_upload_size = 3\nrealm = \"other\"";
        text.replace("[services.files.settings]", &format!("[services.files.settings]\n{keys}"))
    });
    assert_eq!(changes[0], "files: live (settings)", "{changes:#?}");
    assert!(
        changes[1..].iter().all(|line| line.ends_with("  (live)")) && changes.len() == 8,
        "{changes:#?}"
    );
    assert_eq!(ask("GET", "/", "").body, b"start");
    assert_eq!(ask("GET", "/.hidden", "").body, b"h");
    assert_eq!(ask("GET", "/link", "").status, 404);
    assert_eq!(ask("GET", "/?archive=zip", "").status, 403);
    let refused = ask("PUT", "/put.txt", "Content-Length: 0\r\n");
    let challenge = refused.field("www-authenticate").unwrap_or_default();
    assert!(challenge.contains("realm=\"other\""), "{challenge}");
    // It is the last: its body is left unread.
    let large = ask("PUT", "/put.txt", &format!("{alice}Content-Length: 4\r\n"));
    assert_eq!(large.status, 413);
    assert_eq!(host.started("files"), before);
}

#[test]
fn another_root_takes_another_instance() {
    let host = host("").file("other/b.txt", "b").start();
    let changes =
        host.change(|text| text.replace("root = \"files\"", "root = \"other\"\nlisting = false"));
    assert_eq!(changes[0], "files: swap", "{changes:#?}");
    assert!(
        changes[1].ends_with("root: \"files\" -> \"other\"  (swap)"),
        "{changes:#?}"
    );
    assert!(
        changes[2].ends_with("listing: default -> false  (live)"),
        "{changes:#?}"
    );
    assert_eq!(status(&host, "GET", "/b.txt", ""), 200);
    assert_eq!(status(&host, "GET", "/", ""), 403);
}
