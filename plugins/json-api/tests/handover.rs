//! Reads and writes on kept connections while the instance behind them is replaced again and again, by one of the same
//! library and by one of another, which brings a copy of SQLite of its own.

#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};

use polyport_testkit::{in_next_version, library_of};
use support::{Http, json_host};

#[test]
fn no_change_is_lost_and_no_connection_ends() {
    let host = json_host().start();
    let (over, swaps) = (AtomicBool::new(false), 20);
    let counts: Vec<usize> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (host, over) = (&host, &over);
                scope.spawn(move || {
                    // one connection: it panics when that ends
                    let mut http = Http::alice(host);
                    let mut count = 0;
                    while !over.load(Ordering::Relaxed) {
                        let path = format!("/numbers/{client}-{count}");
                        let body = format!("{{\"number\": {count}}}");
                        let json = [("Content-Type", "application/json")];
                        let made = http.send("PUT", &path, &json, body.as_bytes()).expect(201);
                        assert_eq!(made.header("connection"), None);
                        let read = http.send("GET", &path, &[], b"").expect(200);
                        assert_eq!(read.text(), body);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let library = host
            .path()
            .join("plugins")
            .join(library_of("polyport-json-api"));
        let first = std::fs::read(&library).unwrap();
        let versions = [in_next_version(&first, "json-api"), first];
        for swap in 0..swaps {
            if swap % 2 == 0 {
                let fresh = library.with_extension("fresh");
                std::fs::write(&fresh, &versions[swap / 2 % 2]).unwrap();
                std::fs::rename(fresh, &library).unwrap();
                let _ = host.command(&["reload", "--wait"]).expect_success();
            } else {
                let _ = host.command(&["restart", "json"]).expect_success();
            }
        }
        over.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .map(|client| client.join().unwrap())
            .collect()
    });
    let mut http = Http::alice(&host);
    for (client, count) in counts.into_iter().enumerate() {
        assert!(count > 0, "client {client} did nothing");
        for number in 0..count {
            let path = format!("/numbers/{client}-{number}");
            let read = http.send("GET", &path, &[], b"").expect(200);
            assert_eq!(read.json()["number"], number);
        }
    }
}
