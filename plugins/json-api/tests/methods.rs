//! T11: every method and every status, on each kind of target.

mod support;

use support::{Http, json_host};

#[test]
fn t11_put_creates_and_replaces_and_get_and_head_agree() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    let made = http.put("/c/a", "{\"a\": 1.0}").expect(201);
    assert_eq!(
        (made.header("content-type"), made.text().as_str()),
        (Some("application/json"), "{\"a\": 1.0}")
    );
    let replaced = http.put("/c/a", " [1e2] ").expect(200);
    assert_ne!(made.etag(), replaced.etag());
    assert!(!replaced.etag().starts_with("W/"), "strong");

    let get = http.get("/c/a").expect(200);
    assert_eq!(get.text(), " [1e2] ");
    assert_eq!(get.etag(), replaced.etag());
    assert_eq!(get.header("cache-control"), Some("private, no-cache"));
    assert_eq!(get.header("x-content-type-options"), Some("nosniff"));
    let head = http.send("HEAD", "/c/a", &[], b"").expect(200);
    assert_eq!(head.body, b"");
    let without_date = |answer: &support::Answer| {
        answer
            .headers
            .iter()
            .filter(|(name, _)| name != "date")
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(without_date(&head), without_date(&get));

    // A tag of its own, as the bytes are others.
    let pretty = http.get("/c/a?pretty").expect(200);
    assert_eq!(pretty.text(), "[\n  1e2\n]\n");
    assert_ne!(pretty.etag(), get.etag());
    http.get("/c/a?pretty=2")
        .expect_problem(400, "expected true or false for \"pretty\", got \"2\"");
    http.get("/c/a?prety")
        .expect_problem(400, "expected a query out of pretty, got \"prety\"");
    http.get("/c/a?_=17").expect(200);
}

#[test]
fn t11_post_gives_an_id_and_says_where() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    let made = http.post("/c", "{\"n\":1}").expect(201);
    let location = made.header("location").unwrap().to_owned();
    assert!(
        location.starts_with("/c/") && location.len() == "/c/".len() + 36,
        "{location}"
    );
    assert_eq!(http.get(&location).expect(200).etag(), made.etag());

    let json = ("Content-Type", "application/json");
    let minimal = http
        .send("POST", "/c", &[json, ("Prefer", "return=minimal")], b"2")
        .expect(201);
    assert_eq!(
        (
            minimal.text().as_str(),
            minimal.header("preference-applied")
        ),
        ("", Some("return=minimal"))
    );
    assert_eq!(http.get(minimal.header("location").unwrap()).text(), "2");
    let quiet = http
        .send("PUT", "/c/a", &[json, ("Prefer", "return=minimal")], b"1")
        .expect(201);
    let quiet_again = http
        .send("PUT", "/c/a", &[json, ("Prefer", "return=minimal")], b"2")
        .expect(204);
    assert_ne!(quiet.etag(), quiet_again.etag());
}

#[test]
fn t11_delete_ends_the_document_and_with_the_last_the_collection() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    let first = http.put("/c/a", "1").expect(201);
    http.put("/c/b", "1").expect(201);
    assert_eq!(http.delete("/c/a").expect(204).body, b"");
    http.get("/c/a")
        .expect_problem(404, "there is no such document");
    http.delete("/c/a")
        .expect_problem(404, "there is no such document");
    http.get("/c").expect(200);
    http.delete("/c/b").expect(204);
    http.get("/c")
        .expect_problem(404, "there is no such collection");
    let again = http.put("/c/a", "1").expect(201);
    assert_ne!(
        first.etag(),
        again.etag(),
        "the same bytes made anew are another version"
    );
}

#[test]
fn t11_patches_of_both_kinds() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    let made = http
        .put("/c/a", "{\"z\": 1.50, \"a\": {\"x\": null, \"y\": 1e2}}")
        .expect(201);
    let merged = http.merge("/c/a", "{\"a\":{\"y\":2.0}}").expect(200);
    assert_eq!(
        merged.text(),
        "{\"z\": 1.50, \"a\": {\"x\": null, \"y\": 2.0}}"
    );
    assert_ne!(merged.etag(), made.etag());
    let patched = http.patch(
        "/c/a",
        r#"[{"op":"test","path":"/a/y","value":2},{"op":"move","from":"/z","path":"/a/w"}]"#,
    );
    assert_eq!(
        patched.expect(200).text(),
        "{\"a\": {\"x\": null, \"y\": 2.0, \"w\": 1.50}}"
    );
    let same = http.merge("/c/a", "{}").expect(200);
    assert_eq!(
        same.etag(),
        http.get("/c/a").etag(),
        "nothing changed, so it is the same version"
    );

    http.merge("/c/b", "{}")
        .expect_problem(404, "there is no such document");
    http.merge("/c/a", "{").expect_problem(
        400,
        "line 1, column 2 (byte 1): expected a key in double quotes or '}'",
    );
    http.patch("/c/a", "{}")
        .expect_problem(400, "expected an array of operations");
    http.patch("/c/a", r#"[{"op":"test","path":"/a/y","value":3}]"#)
        .expect_problem(409, "operation 0: test failed: expected 3, got 2.0");
    http.patch("/c/a", r#"[{"op":"remove","path":"/b"}]"#)
        .expect_problem(409, "expected \"b\" in the document");
    let deep = format!(
        r#"[{{"op":"add","path":"/a","value":{}1{}}}]"#,
        "[".repeat(100),
        "]".repeat(100)
    );
    http.patch("/c/a", &deep)
        .expect_problem(422, "expected at most 100 levels of nesting");

    let wrong = http.send(
        "PATCH",
        "/c/a",
        &[("Content-Type", "application/json")],
        b"{}",
    );
    wrong.expect_problem(415, "expected Content-Type application/merge-patch+json or application/json-patch+json, got \"application/json\"");
    assert_eq!(
        wrong.header("accept-patch"),
        Some("application/merge-patch+json, application/json-patch+json")
    );
}

#[test]
fn t11_preconditions() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    let first = http
        .put_if("/c/a", ("If-None-Match", "*"), "1")
        .expect(201)
        .etag();
    let taken = http.put_if("/c/a", ("If-None-Match", "*"), "2");
    taken.expect_problem(412, "the document is in another version than expected");
    assert_eq!(taken.etag(), first);
    let second = http
        .put_if("/c/a", ("If-Match", &first), "2")
        .expect(200)
        .etag();
    http.put_if("/c/a", ("If-Match", &first), "3")
        .expect_problem(412, &format!("its ETag is {second}"));
    http.put_if("/c/b", ("If-Match", "*"), "3")
        .expect_problem(412, "expected a document that exists");
    http.put_if("/c/a", ("If-Match", "1"), "3").expect_problem(
        400,
        "expected * or entity tags in double quotes in if-match, got \"1\"",
    );
    http.put_if(
        "/c/a",
        ("If-Unmodified-Since", "Mon, 01 Jan 2001 00:00:00 GMT"),
        "3",
    )
    .expect_problem(412, "another version");

    let merge = ("Content-Type", "application/merge-patch+json");
    http.send("PATCH", "/c/a", &[merge, ("If-Match", &first)], b"{}")
        .expect_problem(412, "another version");
    http.send("DELETE", "/c/a", &[("If-Match", &first)], b"")
        .expect_problem(412, "another version");
    http.send("DELETE", "/c/b", &[("If-Match", &first)], b"")
        .expect_problem(404, "no such document");
    assert_eq!(
        http.get("/c/a").text(),
        "2",
        "nothing of all this changed it"
    );

    let unchanged = http
        .send("GET", "/c/a", &[("If-None-Match", &second)], b"")
        .expect(304);
    assert_eq!(
        (unchanged.etag(), unchanged.body.len()),
        (second.clone(), 0)
    );
    let weak = format!("\"x\", W/{second}");
    http.send("GET", "/c/a", &[("If-None-Match", &weak)], b"")
        .expect(304);
    http.send("GET", "/c/a", &[("If-None-Match", &first)], b"")
        .expect(200);
    http.send("GET", "/c/a", &[("If-Match", &first)], b"")
        .expect_problem(412, "another version");
    let since = http.get("/c/a").header("last-modified").unwrap().to_owned();
    http.send("GET", "/c/a", &[("If-Modified-Since", &since)], b"")
        .expect(304);

    // The tag of the laid out form names the same version.
    let pretty = http.get("/c/a?pretty").etag();
    http.send("GET", "/c/a?pretty", &[("If-None-Match", &pretty)], b"")
        .expect(304);
    http.send("GET", "/c/a", &[("If-None-Match", &pretty)], b"")
        .expect(200);
    http.put_if("/c/a", ("If-Match", &pretty), "4").expect(200);

    let list = http.get("/c").etag();
    http.send("GET", "/c", &[("If-None-Match", &list)], b"")
        .expect(304);
    http.post("/c", "5").expect(201);
    http.send("GET", "/c", &[("If-None-Match", &list)], b"")
        .expect(200);
}

#[test]
fn t11_a_precondition_can_be_required() {
    let host = json_host().settings("json", "require_match = true").start();
    let mut http = Http::alice(&host);
    let first = http.put("/c/a", "1").expect(201).etag();
    let required = "expected If-Match with the ETag of the version that is changed, got none";
    http.put("/c/a", "2").expect_problem(428, required);
    http.merge("/c/a", "{}").expect_problem(428, required);
    http.delete("/c/a").expect_problem(428, required);
    http.put_if("/c/a", ("If-Match", &first), "2").expect(200);
    http.post("/c", "1").expect(201);
}

#[test]
fn t11_bodies_that_cannot_be_stored() {
    let host = json_host()
        .settings("json", "max_document_size = 1000\nmax_depth = 5")
        .start();
    let mut http = Http::alice(&host);
    http.put("/c/a", "{\"a\":\n01}").expect_problem(
        400,
        "line 2, column 2 (byte 7): expected no digit after a leading zero, got '1'",
    );
    http.put("/c/a", "").expect_problem(
        400,
        "line 1, column 1 (byte 0): expected a value, got the end of the text",
    );
    http.put("/c/a", "[[[[[[]]]]]]")
        .expect_problem(400, "expected at most 5 levels of nesting");
    let json = ("Content-Type", "application/json");
    http.send("PUT", "/c/a", &[json], b"\"caf\xe9\"")
        .expect_problem(400, "expected text in UTF-8, got the byte 0xe9");
    http.put("/c/a", &format!("\"{}\"", "x".repeat(998)))
        .expect(201);
    let large = format!("\"{}\"", "x".repeat(999));
    Http::alice(&host)
        .put("/c/a", &large)
        .expect_problem(413, "expected at most 1000 bytes");
    let patch = format!(
        r#"[{{"op":"copy","from":"","path":""}},{{"op":"replace","path":"","value":["{}"]}},{{"op":"copy","from":"/0","path":"/-"}},{{"op":"copy","from":"/0","path":"/-"}}]"#,
        "x".repeat(400)
    );
    http.patch("/c/a", &patch)
        .expect_problem(413, "expected a document of at most 1000 bytes");

    for (fields, told) in [
        (vec![], "expected Content-Type application/json, got none"),
        (
            vec![("Content-Type", "text/plain")],
            "expected Content-Type application/json, got \"text/plain\"",
        ),
        (
            vec![json, ("Content-Encoding", "gzip")],
            "expected no Content-Encoding, got \"gzip\"",
        ),
    ] {
        Http::alice(&host)
            .send("PUT", "/c/b", &fields, b"1")
            .expect_problem(415, told);
        Http::alice(&host)
            .send("POST", "/c", &fields, b"1")
            .expect_problem(415, told);
    }
    http.send("GET", "/c/a", &[("Accept", "text/html")], b"")
        .expect_problem(
            406,
            "expected Accept to allow application/json, got \"text/html\"",
        );
}

#[test]
fn t11_paths_and_methods_that_are_not_there() {
    let host = json_host().start();
    let mut http = Http::alice(&host);
    http.get("/c")
        .expect_problem(404, "there is no such collection");
    http.get("/c/a/b")
        .expect_problem(404, "expected /, /COLLECTION or /COLLECTION/ID");
    http.get("/c/")
        .expect_problem(404, "expected no '/' at the end");
    for path in ["/c/..%2fa", "/%2e%2e/a", "/c/a%00", "/c/%ff", "/c/a%20b"] {
        http.get(path).expect_problem(
            400,
            "ASCII letters, digits and characters out of \"._~:@-\"",
        );
    }
    for (method, path, allow) in [
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/c", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/c/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
        ("BREW", "/c/a", "GET, HEAD, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let refused = http.send(method, path, &[], b"");
        refused.expect_problem(405, &format!("expected {allow} for"));
        assert_eq!(refused.header("allow"), Some(allow));
        let options = http.send("OPTIONS", path, &[], b"").expect(204);
        assert_eq!(options.header("allow"), Some(allow));
    }
}

#[test]
fn t11_rights_decide_before_anything_is_told() {
    let host = json_host().start();
    Http::alice(&host).put("/c/a", "1").expect(201);
    let mut anonymous = Http::anonymous(&host);
    anonymous.get("/c/a").expect(200);
    anonymous.get("/").expect(200);
    for path in ["/c/a", "/c/b"] {
        let refused = anonymous.delete(path);
        refused.expect_problem(401, "this needs an account");
        assert_eq!(
            refused.challenges(),
            [
                "Basic realm=\"polyport\", charset=\"UTF-8\"",
                "Bearer realm=\"polyport\""
            ]
        );
    }
    // The body is not even looked at.
    Http::anonymous(&host)
        .put("/c/a", "{")
        .expect_problem(401, "this needs an account");
    Http::account(&host, "alice:wrong")
        .get("/c/a")
        .expect_problem(401, "login refused");

    let mut nobody = Http::account(&host, "nobody:n");
    for path in ["/", "/c", "/d", "/c/a", "/c/b"] {
        nobody
            .get(path)
            .expect_problem(403, "the account lacks the right");
    }
    let mut writer = Http::account(&host, "writer:w");
    writer.get("/c").expect_problem(403, "lacks the right");
    writer.put("/c/a", "2").expect(200);
    writer.merge("/c/a", "3").expect(200);
    writer
        .put("/c/b", "2")
        .expect_problem(403, "lacks the right");
    writer
        .post("/c", "2")
        .expect_problem(403, "lacks the right");
    writer.delete("/c/a").expect_problem(403, "lacks the right");
    let mut creator = Http::account(&host, "creator:c");
    creator.put("/c/b", "4").expect(201);
    creator
        .put("/c/b", "5")
        .expect_problem(403, "lacks the right");
    creator.post("/c", "6").expect(201);
    creator.get("/c/b").expect_problem(403, "lacks the right");
    creator
        .merge("/c/b", "{}")
        .expect_problem(403, "lacks the right");
    assert_eq!(anonymous.get("/c/b").text(), "4");
}

#[test]
fn scripts_of_named_origins_may_use_it() {
    let host = json_host()
        .settings("json", "cors_origins = [\"https://app.example\"]")
        .start();
    let mut http = Http::anonymous(&host);
    let preflight = [
        ("Origin", "https://app.example"),
        ("Access-Control-Request-Method", "PATCH"),
    ];
    let answer = http.send("OPTIONS", "/c/a", &preflight, b"").expect(204);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    assert!(
        answer
            .header("access-control-allow-methods")
            .is_some_and(|methods| methods.contains("PATCH"))
    );
    assert!(
        answer
            .header("access-control-allow-headers")
            .is_some_and(|names| names.contains("If-Match"))
    );
    assert_eq!(answer.header("vary"), Some("Origin"));
    // Errors are readable too, or the script could not tell them.
    let refused = http.send("DELETE", "/c/a", &preflight[..1], b"");
    refused.expect_problem(401, "this needs an account");
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("https://app.example")
    );
    let list = http.send("GET", "/", &preflight[..1], b"").expect(200);
    assert_eq!(list.header("vary"), Some("Accept, Origin"));

    let other = [
        ("Origin", "https://evil.example"),
        ("Access-Control-Request-Method", "PATCH"),
    ];
    let answer = http.send("OPTIONS", "/c/a", &other, b"").expect(204);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("access-control-allow-methods"), None);
}
