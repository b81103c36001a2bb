//! T14, T15, T20: the tutorial's JSON server with the clients that its reader has.

mod support;

use std::path::Path;

use polyport_testkit::{Client, Host};
use support::{DEVICE, Http, json_host};

fn curl(host: &Host, path: &str) -> Client {
    // The address goes last, so that a test can put options before it.
    let address = format!("http://{}{path}", host.addr("json"));
    Client::new("curl").args(["--silent", "--show-error", "--url", &address])
}

#[test]
fn t14_a_result_is_stored_and_browsed_as_application_json() {
    let host = json_host().start();
    let text = r#"{"result": "this is a test"}"#;
    let put = curl(&host, "/tests/first")
        .args([
            "--user",
            "alice:wonderland",
            "--request",
            "PUT",
            "--header",
            "Content-Type: application/json",
        ])
        .args(["--data-binary", text, "--write-out", "\n%{http_code}"])
        .run()
        .expect_success();
    assert_eq!(put.stdout(), format!("{text}\n201"));

    // Without an account, as the tutorial's client asks.
    let get = curl(&host, "/tests/first")
        .args(["--write-out", "\n%{http_code} %{content_type}"])
        .run();
    assert_eq!(
        get.expect_success().stdout(),
        format!("{text}\n200 application/json")
    );

    let accept = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let browse = |path| {
        curl(&host, path)
            .args(["--header", accept, "--include"])
            .run()
            .expect_success()
            .stdout()
    };
    let root = browse("/");
    assert!(
        root.contains("content-type: text/html; charset=utf-8"),
        "{root}"
    );
    assert!(root.contains("<a href=\"/tests\">tests</a>"), "{root}");
    let collection = browse("/tests");
    assert!(
        collection.contains("<a href=\"/tests/first?pretty\">first</a>"),
        "{collection}"
    );
    let document = browse("/tests/first?pretty");
    assert!(
        document.contains("content-type: application/json\r\n"),
        "{document}"
    );
    assert!(
        document.ends_with("{\n  \"result\": \"this is a test\"\n}\n"),
        "{document}"
    );
}

#[test]
fn t15_a_nested_record_comes_back_byte_for_byte() {
    let host = json_host().file("device.json", DEVICE).start();
    let file = host.path().join("device.json");
    curl(&host, "/devices/0A0USZ095")
        .args([
            "--user",
            "alice:wonderland",
            "--header",
            "Content-Type: application/json",
        ])
        .args(["--upload-file".as_ref(), file.as_os_str()])
        .run()
        .expect_success();
    let got = curl(&host, "/devices/0A0USZ095").run().expect_success();
    assert_eq!(
        got.stdout(),
        DEVICE,
        "order of keys, spelling of numbers, nulls, layout"
    );

    let pretty = curl(&host, "/devices/0A0USZ095?pretty")
        .run()
        .expect_success()
        .stdout();
    let squeeze = |text: &str| text.split_whitespace().collect::<String>();
    assert_eq!(
        squeeze(&pretty),
        squeeze(DEVICE),
        "?pretty changes whitespace only"
    );
    assert!(pretty.contains("\n          \"k\": 5.78650,\n"), "{pretty}");

    // In a list it is the same text, encoded once.
    let list = curl(&host, "/devices").run().expect_success().stdout();
    assert!(list.contains(&format!("\"document\":{DEVICE}}}")), "{list}");

    let mut http = Http::alice(&host);
    let patched = http
        .merge("/devices/0A0USZ095", r#"{"stage":"retired","mac":"00:11"}"#)
        .expect(200);
    let expected = DEVICE.replacen("\"mac\": null", "\"mac\": \"00:11\"", 1);
    let expected = expected.replacen("\"active\"", "\"retired\"", 1);
    assert_eq!(
        patched.text(),
        expected,
        "a patch leaves everything else as it was"
    );
}

#[test]
fn t15_the_tutorials_duplicate_keys_are_kept_or_refused_by_setting() {
    let twice = r#"{"k": 5.7865, "id": 1, "can_id": 522131, "id": "f55e9ed7"}"#;
    let host = json_host().start();
    let mut http = Http::alice(&host);
    http.put("/sensors/a", twice).expect(201);
    assert_eq!(http.get("/sensors/a").text(), twice);

    let host = json_host()
        .settings("json", "duplicate_keys = \"refuse\"")
        .start();
    let refused = Http::alice(&host).put("/sensors/a", twice);
    refused.expect_problem(
        400,
        "line 1, column 42 (byte 41): expected each key once, got \"id\" again",
    );
}

#[test]
fn t20_python_clients_work_unchanged() {
    let host = json_host().file("device.json", DEVICE).start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/requests_client.py");
    let run = Client::python(script)
        .arg(format!("http://{}", host.addr("json")))
        .arg(host.path().join("device.json"))
        .run()
        .expect_success();
    assert_eq!(run.stdout().lines().last(), Some("done"), "{run}");
}
