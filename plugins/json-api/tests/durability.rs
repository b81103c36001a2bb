//! What was acknowledged stays, whatever happens to the process, the file and the configuration.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use polyport_testkit::{Host, eventually, figure, repeats};
use support::{Http, json_host};

/// What a client knows of one document.
#[derive(Default)]
struct Known {
    /// The last body that was acknowledged.
    acknowledged: String,
    /// The body that was under way when the connection ended.
    under_way: Option<String>,
}

const WRITERS: usize = 4;
const DOCUMENTS: usize = 7;

/// Replaces the same few documents over and over, until the connection ends.
fn write(mut http: Http, collection: &str, writer: usize) -> BTreeMap<String, Known> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for number in 0.. {
        let path = format!("{collection}/{writer}-{}", number % DOCUMENTS);
        let body = format!("{{\"number\":{number}}}");
        let known_of_it = known.entry(path.clone()).or_default();
        known_of_it.under_way = Some(body.clone());
        let fields = [("Content-Type", "application/json")];
        match http.try_send("PUT", &path, &fields, body.as_bytes()) {
            Ok(answer) => drop(answer.expect(if number < DOCUMENTS { 201 } else { 200 })),
            Err(_) => break,
        }
        *known_of_it = Known {
            acknowledged: body,
            under_way: None,
        };
    }
    known
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut host = json_host().start();
    let mut checked = 0;
    for round in 0..repeats("POLYPORT_KILLS", 3) {
        let collection = format!("/round-{round}");
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (http, collection) = (Http::alice(&host), collection.clone());
                thread::spawn(move || write(http, &collection, writer))
            })
            .collect();
        let all = (WRITERS * DOCUMENTS).to_string();
        let mut reader = Http::anonymous(&host);
        eventually("every document", || {
            let list = reader.get(&collection);
            (list.header("x-total-count") == Some(all.as_str())).then_some(())
        });
        host.kill9();
        host.start();
        let mut reader = Http::anonymous(&host);
        for writer in writers {
            for (path, known) in writer.join().unwrap() {
                let stored = reader.get(&path).expect(200).text();
                let Known {
                    acknowledged,
                    under_way,
                } = known;
                assert!(
                    stored == acknowledged || Some(&stored) == under_way.as_ref(),
                    "{path}: got {stored:?}, acknowledged {acknowledged:?}"
                );
                checked += 1;
            }
        }
    }
    figure("documents", format!("{checked} checked, none lost"));
}

#[test]
fn a_swap_loses_and_refuses_nothing() {
    let host = json_host().start();
    let stop = Arc::new(AtomicBool::new(false));
    let busy = {
        let stop = Arc::clone(&stop);
        let address = host.addr("json");
        let authorization = format!("Basic {}", support::base64(b"alice:wonderland"));
        thread::spawn(move || {
            // A new connection for each request: every one must be accepted and answered.
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                let mut client = std::net::TcpStream::connect(address).unwrap();
                let body = format!("{answered}");
                let request = format!(
                    "PUT /c/{answered} HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\nConnection: close\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                std::io::Write::write_all(&mut client, request.as_bytes()).unwrap();
                let mut response = String::new();
                std::io::Read::read_to_string(&mut client, &mut response).unwrap();
                assert!(response.starts_with("HTTP/1.1 201 "), "{response}");
                answered += 1;
            }
            answered
        })
    };
    for depth in [50, 60, 70] {
        host.edit_config(|text| {
            let kept: String = text
                .lines()
                .filter(|line| !line.starts_with("max_depth"))
                .flat_map(|line| [line, "\n"])
                .collect();
            format!("{kept}max_depth = {depth}\n")
        });
        host.command(&["reload", "--wait"]).expect_success();
        let deep = format!("{}{}", "[".repeat(depth + 1), "]".repeat(depth + 1));
        let told = format!("expected at most {depth} levels");
        eventually("the new settings", || {
            let answer = Http::alice(&host).put("/d/deep", &deep);
            String::from_utf8_lossy(&answer.body)
                .contains(&told)
                .then_some(())
        });
    }
    stop.store(true, Ordering::Relaxed);
    let answered: usize = busy.join().unwrap();
    let total = Http::anonymous(&host).get("/c?limit=1").expect(200);
    assert_eq!(
        total.header("x-total-count"),
        Some(answered.to_string().as_str())
    );
}

#[test]
fn a_full_database_is_told_as_507_and_goes_on_reading() {
    let host = json_host()
        .settings("json", "max_database_size = 200000")
        .start();
    let mut http = Http::alice(&host);
    http.put("/c/a", "1").expect(201);
    let large = format!("\"{}\"", "x".repeat(500_000));
    http.put("/c/b", &large)
        .expect_problem(507, "the disk or the database is full");
    assert_eq!(http.get("/c/a").expect(200).text(), "1");
    http.put("/c/c", "2").expect(201);
    http.delete("/c/a").expect(204);
}

#[test]
fn foreign_and_damaged_files_are_one_clear_line() {
    let mut host = json_host()
        .settings("json", "database = \"{dir}/documents.sqlite\"")
        .prepare();
    let file = host.path().join("documents.sqlite");
    let refused = |host: &mut Host, wanted: &str| {
        let mark = host.log_mark();
        // Whether the host goes on without the service is the host's; what it says is ours.
        let started = host.try_start();
        host.wait_log(mark, wanted);
        drop(started);
        host.kill9();
    };
    std::fs::write(&file, "[section]\nkey = value\n").unwrap();
    refused(
        &mut host,
        "expected an SQLite database, got a file that begins with \"[section]\\nkey =",
    );

    std::fs::remove_file(&file).unwrap();
    host.start();
    let mut http = Http::alice(&host);
    for number in 0..100 {
        http.put(
            &format!("/c/{number}"),
            &format!("\"{}\"", "x".repeat(2000)),
        )
        .expect(201);
    }
    assert_eq!(host.sigterm(), Some(0));
    let sound = std::fs::read(&file).unwrap();
    let mut bytes = sound.clone();
    for page in bytes.chunks_mut(4096).skip(3).step_by(3) {
        page.fill(0xaa);
    }
    std::fs::write(&file, &bytes).unwrap();
    refused(&mut host, "expected a sound database, got a damaged one");
    std::fs::write(&file, &sound).unwrap();
    host.start();
    Http::anonymous(&host).get("/c/99").expect(200);
}

#[test]
fn patches_from_many_clients_are_all_applied() {
    let host = json_host()
        .settings("json", "durability = \"never\"")
        .start();
    Http::alice(&host).put("/c/counter", "[]").expect(201);
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let mut http = Http::alice(&host);
            thread::spawn(move || {
                for number in 0..20 {
                    let patch = format!(
                        r#"[{{"op":"add","path":"/-","value":{}}}]"#,
                        client * 100 + number
                    );
                    http.patch("/c/counter", &patch).expect(200);
                }
            })
        })
        .collect();
    clients
        .into_iter()
        .for_each(|client| client.join().unwrap());
    let mut numbers: Vec<u64> =
        serde_json::from_value(Http::alice(&host).get("/c/counter").json()).unwrap();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 160);
}
