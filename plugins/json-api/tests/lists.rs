//! Lists of collections and of documents: paging, headers, pages for browsers.

mod support;

use support::{ACCOUNTS, Http, json_host};

#[test]
fn lists_are_paged_and_carry_the_documents() {
    let host = json_host()
        .settings("json", "page_size = 2\nmax_page_size = 3")
        .start();
    let mut http = Http::alice(&host);
    for (id, body) in [("b", "{\"n\": 2.0}"), ("a", "1e2\n"), ("c", "null")] {
        http.put(&format!("/c/{id}"), body).expect(201);
    }
    let first = http.get("/c").expect(200);
    assert_eq!(first.header("x-total-count"), Some("3"));
    assert_eq!(
        first.header("link"),
        Some("</c?after=b&limit=2>; rel=\"next\"")
    );
    assert_eq!(first.header("vary"), Some("Accept"));
    let text = first.text();
    assert!(
        text.contains("\"document\":1e2\n}") && text.contains("\"document\":{\"n\": 2.0}}"),
        "{text}"
    );
    let list = first.json();
    assert_eq!(
        (&list["collection"], &list["total"], &list["next"]),
        (&"c".into(), &3.into(), &"/c?after=b&limit=2".into())
    );
    let etag = format!("\"{}\"", list["documents"][0]["revision"]);
    assert_eq!(
        etag,
        http.get("/c/a").etag(),
        "an ETag is a revision in quotes"
    );
    let second = http.get("/c?after=b&limit=2").expect(200);
    assert_eq!(second.header("link"), None);
    assert_eq!(second.json()["documents"][0]["id"], "c");
    assert_eq!(
        second.json()["documents"][0]["document"],
        serde_json::Value::Null
    );
    let names = http.get("/c?content=false&limit=3").expect(200);
    assert!(!names.text().contains("\"document\":"), "{}", names.text());
    assert!(
        http.get("/c?pretty")
            .text()
            .contains("\n        \"n\": 2.0\n")
    );
    for query in ["limit=0", "limit=4", "limit=x", "limit=-1"] {
        http.get(&format!("/c?{query}"))
            .expect_problem(400, "expected 1 to 3 for \"limit\"");
    }
    http.get("/c?sort=id").expect_problem(
        400,
        "expected a query out of after, limit, content, pretty, got \"sort\"",
    );

    for name in ["d", "e"] {
        http.put(&format!("/{name}/x"), "1").expect(201);
    }
    let root = http.get("/").expect(200);
    assert_eq!(
        root.header("link"),
        Some("</?after=d&limit=2>; rel=\"next\"")
    );
    let root = root.json();
    assert_eq!(
        (
            &root["collections"][0]["name"],
            &root["collections"][0]["documents"]
        ),
        (&"c".into(), &3.into())
    );
    assert_eq!(http.get("/?after=d").json()["collections"][0]["name"], "e");

    let page = http
        .send("GET", "/c", &[("Accept", "text/html")], b"")
        .expect(200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .is_some_and(|policy| policy.starts_with("default-src 'none'"))
    );
    assert!(
        page.text()
            .contains("<a href=\"/c?after=b&amp;limit=2\">Next page</a>"),
        "{}",
        page.text()
    );
}

#[test]
fn a_page_of_large_documents_ends_early() {
    let host = json_host()
        .settings("json", "max_page_bytes = 1000")
        .start();
    let mut http = Http::alice(&host);
    for id in ["a", "b", "c"] {
        http.put(&format!("/c/{id}"), &format!("\"{}\"", "x".repeat(600)))
            .expect(201);
    }
    let mut path = "/c".to_owned();
    let mut ids = Vec::new();
    while !path.is_empty() {
        let page = http.get(&path).expect(200).json();
        assert_eq!(page["documents"].as_array().unwrap().len(), 1);
        ids.push(page["documents"][0]["id"].as_str().unwrap().to_owned());
        path = page["next"].as_str().unwrap_or_default().to_owned();
    }
    assert_eq!(ids, ["a", "b", "c"]);
}

#[test]
fn what_a_rule_hides_is_in_no_list() {
    let accounts = format!(
        "{ACCOUNTS}[guest]\npassword = g\nrights = list read\ndeny.secret = all /c/secret\ndeny.gone = all /hidden/**\n\
         deny.names = read /c/name-only\n"
    );
    let host = json_host().accounts(&accounts).start();
    let mut alice = Http::alice(&host);
    for path in ["/c/a", "/c/name-only", "/c/secret", "/c/z", "/hidden/x"] {
        alice.put(path, "1").expect(201);
    }
    let mut guest = Http::account(&host, "guest:g");
    let list = guest.get("/c").expect(200);
    let documents = list.json()["documents"].clone();
    let shown: Vec<_> = documents
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            (
                entry["id"].as_str().unwrap(),
                entry.get("document").is_some(),
            )
        })
        .collect();
    assert_eq!(shown, [("a", true), ("name-only", false), ("z", true)]);
    assert!(!guest.get("/").expect(200).text().contains("hidden"));
    assert_eq!(guest.get("/hidden").status, 403);
    // Whether there is something or not.
    for path in ["/c/secret", "/c/name-only"] {
        for method in ["GET", "DELETE", "PUT", "PATCH"] {
            let fields = [("Content-Type", "application/json"), ("If-Match", "*")];
            let answer = guest.send(method, path, &fields, b"1");
            assert_eq!(answer.status, 403, "{method} {path}");
            assert_eq!(answer.header("etag"), None);
        }
    }
    // Pages are as full as if it were not there, and their links name nothing of it.
    let page = guest.get("/c?limit=1&after=name-only").expect(200).json();
    assert_eq!(page["documents"][0]["id"], "z");
    assert!(page.get("next").is_none(), "{page}");
    let page = guest
        .send("GET", "/c", &[("Accept", "text/html")], b"")
        .expect(200);
    assert!(page.text().contains("name-only") && !page.text().contains("secret"));
    // Another view is another version, for caches that keep both apart by nothing else.
    let whole = alice.get("/c").expect(200);
    assert_ne!(whole.etag(), list.etag());
    let fields = [("If-None-Match", whole.etag())];
    let fields = fields
        .each_ref()
        .map(|(name, value)| (*name, value.as_str()));
    guest.send("GET", "/c", &fields, b"").expect(200);
    alice.send("GET", "/c", &fields, b"").expect(304);
}
