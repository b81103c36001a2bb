//! What holds whatever happens to uploads, settings, accounts and the process meanwhile.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufReader, Read, Write};
use std::time::Duration;

use polyport_testkit::Host;
use sha2::{Digest, Sha256};
use support::{HELLO, ask, curl, digest, files_host, fill, hex};

#[test]
fn a_broken_upload_replaces_nothing_and_leaves_nothing() {
    let mut host = files_host().file("files/kept.txt", HELLO).start();
    let files = host.path().join("files");
    let count = || std::fs::read_dir(&files).unwrap().count();
    let authorization = support::base64("alice:wonderland");
    let head = format!(
        "PUT /kept.txt HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {authorization}\r\nContent-Length: 1000000\r\n\r\n"
    );
    let begin = |host: &Host| {
        let mut stream = host.connect("files");
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b'x'; 600_000]).unwrap();
        polyport_testkit::eventually("the upload's temporary file", || {
            (count() == 2).then_some(())
        });
        stream
    };
    drop(begin(&host));
    polyport_testkit::eventually("an upload that is broken off is removed", || {
        (count() == 1).then_some(())
    });
    // A killed process can remove nothing: the next one does.
    let stream = begin(&host);
    host.kill9();
    drop(stream);
    assert_eq!(count(), 2);
    host.start();
    polyport_testkit::eventually("what a crash left is removed", || {
        (count() == 1).then_some(())
    });
    assert_eq!(
        std::fs::read_to_string(files.join("kept.txt")).unwrap(),
        HELLO
    );
}

#[test]
fn a_reload_refuses_nobody_and_breaks_no_download() {
    let host = files_host().file("files/hello.txt", HELLO).start();
    let big = host.path().join("files/big.bin");
    let expected = fill(&big, 48 << 20);
    let mut download = host.connect("files");
    download
        .write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut kept = BufReader::new(host.connect("files"));
    assert_eq!(
        ask(&mut kept, "GET", "/hello.txt", "").field("connection"),
        None
    );

    host.edit_config(|text| format!("{text}listing = false\n"));
    let _ = host.command(&["reload", "--wait"]).expect_success();
    // Connections that are kept and new ones meet the new settings at once.
    for stream in [&mut kept, &mut BufReader::new(host.connect("files"))] {
        assert_eq!(ask(stream, "GET", "/", "").status, 403);
        let page = ask(stream, "GET", "/hello.txt", "");
        assert_eq!((page.status, page.field("connection")), (200, None));
    }

    let mut whole = Vec::new();
    download.read_to_end(&mut whole).unwrap();
    let body = &whole[whole.len() - (48 << 20)..];
    assert_eq!(hex(&Sha256::digest(body)), expected);
}

#[test]
fn an_account_that_is_removed_is_gone_from_its_kept_connection_too() {
    let host = files_host().file("files/hello.txt", HELLO).start();
    let mut stream = BufReader::new(host.connect("files"));
    let authorization = format!(
        "Authorization: Basic {}\r\n",
        support::base64("alice:wonderland")
    );
    let page = ask(&mut stream, "GET", "/", &authorization);
    assert!(
        String::from_utf8_lossy(&page.body).contains("multipart/form-data"),
        "{page:?}"
    );
    assert_eq!(
        ask(&mut stream, "GET", "/hello.txt", &authorization).status,
        200
    );
    host.edit_accounts(|text| text.replace("name = alice", "name = alina"));
    let _ = host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(
        ask(&mut stream, "GET", "/hello.txt", &authorization).status,
        401
    );
    assert_eq!(ask(&mut stream, "GET", "/hello.txt", "").status, 200);
    // Two fields are none, also after one of them was good.
    let alina = format!(
        "Authorization: Basic {}\r\n",
        support::base64("alina:wonderland")
    );
    assert_eq!(ask(&mut stream, "GET", "/hello.txt", &alina).status, 200);
    assert_eq!(
        ask(&mut stream, "GET", "/hello.txt", &alina.repeat(2)).status,
        401
    );
}

/// Time to pack 200 MB on a busy machine.
const LIMIT: Duration = Duration::from_secs(240);

#[test]
fn uploads_and_archives_of_any_size_take_constant_memory() {
    let host = files_host().start();
    let place = tempfile::tempdir().unwrap();
    let (sent, out) = (place.path().join("sent"), place.path().join("out.tar.gz"));
    let expected = fill(&sent, 200 << 20);
    let put = curl(&host, "/large.bin").args(["--user", "alice:wonderland", "--upload-file"]);
    let _ = put.arg(&sent).limit(LIMIT).run().expect_success();
    assert_eq!(digest(&host.path().join("files/large.bin")), expected);
    for format in ["tar.gz", "zip"] {
        let path = format!("/?archive={format}");
        let _ = curl(&host, &path)
            .arg("--output")
            .arg(&out)
            .limit(LIMIT)
            .run()
            .expect_success();
        assert!(out.metadata().unwrap().len() > 200 << 20);
    }
    let peak = host.peak_memory();
    assert!(peak < 100 << 20, "{peak} bytes at the peak");
}
