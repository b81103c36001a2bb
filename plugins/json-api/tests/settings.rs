//! Settings that change while the service runs.

mod support;

use polyport_testkit::eventually;
use support::{Http, json_host};

#[test]
fn settings_of_requests_change_on_open_connections() {
    let host = json_host().settings("json", "page_size = 2").start();
    let mut http = Http::alice(&host);
    for id in ["a", "b", "c"] {
        http.put(&format!("/c/{id}"), "1").expect(201);
    }
    let mark = host.log_mark();
    let entries = |http: &mut Http| {
        let list = http.get("/c").expect(200).json();
        list["documents"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(entries(&mut http), 2);
    let changed = "page_size = 1\nmax_document_size = 10\nrequire_match = true\nrealm = \"new\"";
    host.edit_config(|text| text.replace("page_size = 2", changed));
    eventually("the list is shorter", || {
        (entries(&mut http) == 1).then_some(())
    });
    http.put("/c/a", "2").expect(428);
    http.put("/c/new", "\"longer than 10\"").expect(413);
    let mut anonymous = Http::anonymous(&host);
    let refused = anonymous.put("/c/a", "1").expect(401);
    assert_eq!(
        refused.challenges(),
        [
            "Basic realm=\"new\", charset=\"UTF-8\"",
            "Bearer realm=\"new\""
        ]
    );
    host.wait_log(mark, "reload");
    assert!(
        !host.log()[mark..].iter().any(|line| line.contains("swap")),
        "{:?}",
        &host.log()[mark..]
    );

    // The answer to a document that is too large ended that connection.
    let mut http = Http::alice(&host);
    http.get("/c/a").expect(200);
    // What the store was opened with needs another instance, which goes on with the connection.
    let mark = host.log_mark();
    host.edit_config(|text| text.replace("page_size = 1", "page_size = 1\nreaders = 2"));
    let _ = host.command(&["reload", "--wait"]).expect_success();
    host.wait_log(mark, "handed over");
    assert_eq!(http.get("/c/a").expect(200).header("connection"), None);
}

#[test]
fn a_token_opens_what_its_scope_says() {
    let host = json_host().start();
    Http::alice(&host).put("/c/a", "1").expect(201);
    let scope = "json: list,read /c/**";
    let made = host.command(&[
        "user",
        "token",
        "add",
        "alice",
        "--expires",
        "1d",
        "--scope",
        scope,
    ]);
    let token = format!("Bearer {}", made.expect_success().stdout().trim());
    let mut http = Http::anonymous(&host);
    let fields = [("Authorization", token.as_str())];
    eventually("the token is taken over", || {
        (http.send("GET", "/c/a", &fields, b"").status == 200).then_some(())
    });
    assert_eq!(
        http.send("GET", "/c", &fields, b"").expect(200).json()["total"],
        1
    );
    let refused = http.send("DELETE", "/c/a", &fields, b"");
    refused.expect_problem(403, "the account lacks the right");
    assert_eq!(
        refused.challenges(),
        ["Bearer realm=\"polyport\", error=\"insufficient_scope\""]
    );
    let bad = http.send("GET", "/c/a", &[("Authorization", "Bearer no")], b"");
    bad.expect_problem(401, "login refused");
    assert!(bad.challenges()[1].ends_with("error=\"invalid_token\""));
}
