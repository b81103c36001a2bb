//! Bans: counted over all services, shown and lifted by command.

#![allow(clippy::unwrap_used, reason = "tests may")]

use polyport_testkit::{Client, Host, PASSWORD, USER};

/// Three failures are too many, from this machine as well.
fn host(ban: &str) -> Host {
    Host::builder()
        .service("ftp")
        .service("files")
        .host_keys(&format!("[host.ban]\n{ban}"))
        .file("files/a.txt", "hello")
        .start()
}

/// What curl ends with: 67 is a login that was denied by FTP.
fn ftp(host: &Host, user: &str, password: &str) -> Option<i32> {
    let url = format!("ftp://{}/a.txt", host.addr("ftp"));
    let login = format!("{user}:{password}");
    Client::new("curl")
        .args(["-s", "-u", &login, &url])
        .run()
        .code
}

fn http(host: &Host, user: &str, password: &str) -> String {
    let url = format!("http://{}/a.txt", host.addr("files"));
    let login = format!("{user}:{password}");
    let arguments = [
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-u",
        &login,
        &url,
    ];
    Client::new("curl").args(arguments).run().stdout()
}

fn list(host: &Host) -> String {
    host.command(&["ban", "list"]).expect_success().stdout()
}

#[test]
fn an_address_that_failed_at_one_service_is_refused_by_all_until_it_is_forgiven() {
    let host = host("exempt = []\naddress_failures = 3");
    assert_eq!(list(&host), "nobody is banned\n");
    host.add_account("bob", "secret", &["--home", "files"]);
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(http(&host, USER, PASSWORD), "200");
    assert_eq!(ftp(&host, USER, "wrong"), Some(67));
    assert_eq!(ftp(&host, "nobody", "wrong"), Some(67));
    assert_eq!(http(&host, USER, "wrong"), "401");
    let shown = list(&host);
    assert!(
        shown.starts_with("address  127.0.0.1 ") && shown.lines().count() == 1,
        "{shown}"
    );
    assert_eq!(
        (
            ftp(&host, "bob", "secret"),
            http(&host, "bob", "secret").as_str()
        ),
        (Some(67), "401")
    );
    assert_eq!(http(&host, USER, PASSWORD), "200", "it was right before");
    let wrong = host
        .command(&["ban", "lift", "10.0.0.1"])
        .expect_code(1)
        .stderr();
    assert_eq!(wrong, "polyport: \"10.0.0.1\" is not banned\n");
    host.command(&["ban", "lift", "127.0.0.1"]).expect_success();
    assert_eq!(
        (
            ftp(&host, "bob", "secret"),
            http(&host, "bob", "secret").as_str()
        ),
        (Some(0), "200")
    );
    assert_eq!(list(&host), "nobody is banned\n");
}

#[test]
fn a_user_is_banned_and_the_numbers_change_while_it_runs() {
    let host = host("exempt = []\nuser_failures = 2");
    for _ in 0..2 {
        assert_eq!(ftp(&host, USER, "wrong"), Some(67));
    }
    assert!(
        list(&host).starts_with(&format!("user     {USER} ")),
        "{}",
        list(&host)
    );
    assert_eq!(ftp(&host, USER, PASSWORD), Some(67));
    host.edit_config(|text| text.replace("exempt = []", "exempt = [\"loopback\"]"));
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(ftp(&host, USER, PASSWORD), Some(0));
}
