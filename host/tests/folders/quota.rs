//! What accounts may store, by whichever door.

use std::fs;

use polyport_testkit::Host;

use super::doors::Doors;
use super::services;

const ACCOUNTS: &str = "\
[bob]
password = x
home = home/bob
quota = 100K
";

fn host() -> Host {
    services(ACCOUNTS)
        .file("home/bob/old", vec![b'o'; 20_000])
        .start()
}

/// Names in the home and their sizes.
fn stored(host: &Host) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = fs::read_dir(host.path().join("home/bob"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            (
                entry.file_name().into_string().unwrap(),
                entry.metadata().unwrap().len(),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_quota_holds_by_every_door() {
    let host = host();
    let mut bob = Doors::open(&host, "bob");
    let bytes = vec![b'x'; 60_000];
    assert_eq!(bob.put("/a", &bytes), 201);
    // 80,000 of 102,400 are there: neither door takes as much again, and nothing of it stays by HTTP.
    assert_eq!(bob.put("/b", &bytes), 507);
    assert_eq!(
        stored(&host),
        [("a".into(), 60_000), ("old".into(), 20_000)]
    );
    assert_eq!(bob.ftp.command("DELE /b").code, 550);
    let form = [
        b"--B\r\ncontent-disposition: form-data; name=\"path\"; filename=\"c\"\r\n\r\n".as_slice(),
        &bytes,
        b"\r\n--B--\r\n",
    ]
    .concat();
    let kind = ("content-type", "multipart/form-data; boundary=B");
    let posted = bob.http.request("POST", "/", &[kind], &form).unwrap();
    assert_eq!(posted.status, 507);
    assert_eq!(bob.stor("/d", &bytes), 552);
    // What came of it is kept for going on, and counts; what is removed does not.
    let left = stored(&host)
        .iter()
        .find(|(name, _)| name == "d")
        .map_or(0, |(_, len)| *len);
    assert!(left <= 22_400, "{left}");
    if left > 0 {
        assert_eq!(bob.ftp.command("DELE /d").code, 250);
    }
    assert_eq!(
        stored(&host),
        [("a".into(), 60_000), ("old".into(), 20_000)]
    );

    // In place of a file there is room for its size and what is left.
    assert_eq!(bob.put("/a", &[b'y'; 70_000]), 204);
    assert_eq!(bob.stor("/a", &[b'z'; 82_000]), 226);
    assert_eq!(bob.put("/a", &[b'y'; 83_000]), 507);
    assert_eq!(
        stored(&host),
        [("a".into(), 82_000), ("old".into(), 20_000)]
    );

    // APPE and REST write to the file at hand.
    assert_eq!(
        bob.ftp
            .upload("APPE /old", &[b'o'; 300])
            .unwrap()
            .last()
            .unwrap()
            .code,
        226
    );
    assert_eq!(
        bob.ftp
            .upload("APPE /old", &[b'o'; 300])
            .unwrap()
            .last()
            .unwrap()
            .code,
        552
    );
    assert_eq!(bob.ftp.command("REST 1000").code, 350);
    assert_eq!(bob.stor("/old", &[b'r'; 1000]), 226);
    assert_eq!(stored(&host), [("a".into(), 82_000), ("old".into(), 2000)]);
    assert_eq!(bob.put("/e", &[b'e'; 18_000]), 201);
    assert_eq!(bob.put("/f", &[b'f'; 1000]), 507);
    assert_eq!(bob.ftp.command("DELE /a").code, 250);
    assert_eq!(bob.put("/f", &bytes), 201);
}

#[test]
fn uploads_at_the_same_time_share_a_quota() {
    let host = host();
    let taken: u64 = std::thread::scope(|scope| {
        let uploads: Vec<_> = (0..16)
            .map(|number| {
                let mut bob = Doors::open(&host, "bob");
                scope.spawn(move || {
                    let path = format!("/f{number}");
                    let done = match number % 2 {
                        0 => bob.put(&path, &[b'x'; 10_000]) == 201,
                        _ => bob.stor(&path, &[b'x'; 10_000]) == 226,
                    };
                    u64::from(done)
                })
            })
            .collect();
        uploads
            .into_iter()
            .map(|upload| upload.join().unwrap())
            .sum()
    });
    let total: u64 = stored(&host).iter().map(|(_, len)| len).sum();
    assert!(total <= 102_400, "{total}");
    assert!(
        (1..=8).contains(&taken),
        "{taken} uploads of 10,000 into 82,400"
    );
}
