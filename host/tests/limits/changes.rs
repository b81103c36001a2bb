//! Limits change while clients are connected; counts hold over swaps; mistakes are told with their place.

use super::*;

#[test]
fn a_limit_is_raised_and_lowered_without_a_swap() {
    let host = echo("limits.max_connections = 1").start();
    let started = status_of(&host, "echo")["started"].clone();
    let mut first = host.connect("echo");
    assert_eq!(line(&mut first), "hello");
    assert_eq!(line(&mut host.connect("echo")), "too many connections");
    host.edit_config(|text| text.replace("max_connections = 1", "max_connections = 2"));
    let diff = host.command(&["diff"]).expect_success().stdout();
    // The file may have been taken over by then.
    assert!(
        diff.starts_with("echo: live (limits)\n") || diff == "echo: untouched\n",
        "{diff}"
    );
    reload(&host);
    let mut second = host.connect("echo");
    assert_eq!(line(&mut second), "hello");
    host.edit_config(|text| text.replace("max_connections = 2", "max_connections = 1"));
    reload(&host);
    assert_eq!(line(&mut host.connect("echo")), "too many connections");
    for stream in [&mut first, &mut second] {
        stream.write_all(b"still there\n").unwrap();
        assert_eq!(line(stream), "still there");
    }
    assert_eq!(status_of(&host, "echo")["started"], started);
    drop(first);
    drop(second);
    eventually("both are counted out", || {
        (line(&mut host.connect("echo")) == "hello").then_some(())
    });
}

#[test]
fn who_is_served_by_an_instance_that_drains_still_counts() {
    let host = all_services("limits.max_connections = 1")
        .host_keys("drain_timeout = \"1m\"")
        .start();
    // Far more than sockets take, and sparse.
    let big = std::fs::File::create(host.path().join("files/big")).unwrap();
    big.set_len(64 << 30).unwrap();
    let mut download = host.connect("files");
    download
        .write_all(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    assert_eq!(line(&mut download), "HTTP/1.1 200 OK");
    host.command(&["restart", "files"]).expect_success();
    let get = b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n";
    let told = told(host.connect("files"), get);
    assert!(told.starts_with("HTTP/1.1 503 "), "{told}");
    drop(download);
    eventually("it is counted out", || {
        let mut stream = host.connect("files");
        stream.write_all(get).unwrap();
        (line(&mut stream) == "HTTP/1.1 404 Not Found").then_some(())
    });
}

#[test]
fn mistakes_are_told_all_at_once_with_their_place() {
    let host = Host::builder()
        .service("ftp")
        .config(
            "[host]\nplugins = \"plugins\"\naccounts = \"accounts.ini\"\n[services.ftp]\nplugin = \"ftp\"\n\
             limits = { max_connections = -1, idle_timeout = 5, rate_up = \"10Q\", max_packet = 10, max_line = 1 }\n\
             listen = [{ address = \"127.0.0.1:{port:ftp}\", mode = \"0660\", proxy_protocol = [\"here\"] },\n\
             { adress = \"127.0.0.1:1\" },\n\
             { address = \"unix:a.sock\", mode = \"999\", owner = \"no-such-user\", login_timeout = \"2d\" }]\n",
        )
        .prepare();
    let output = host.command(&["check"]).expect_code(1).stdout();
    for expected in [
        "polyport.toml:6:30: services.ftp.limits.max_connections: expected a number from 0, for no limit, to 4294967295, got -1",
        "polyport.toml:6:49: services.ftp.limits.idle_timeout: expected a duration from \"0s\"",
        "polyport.toml:6:62: services.ftp.limits.rate_up: expected a number of bytes, or one with its unit",
        "services.ftp.listen[0].mode: expected a Unix socket as address",
        "services.ftp.listen[0].proxy_protocol[0]: expected a network such as",
        "polyport.toml:8:3: services.ftp.listen[1].adress: unknown key, did you mean \"address\"?",
        "polyport.toml:8:1: services.ftp.listen[1].address: is missing",
        "services.ftp.listen[2].mode: expected permissions in octal",
        "services.ftp.listen[2].owner: expected a user of this machine, got \"no-such-user\"",
        "services.ftp.listen[2].login_timeout: expected a duration",
    ] {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
    host.edit_config(|_| {
        "[host]\nplugins = \"plugins\"\naccounts = \"accounts.ini\"\n[services.ftp]\nplugin = \"ftp\"\n\
         settings = { root = \"files\" }\n[services.ftp.limits]\nmax_packet = 10\nmax_line = 1\n"
            .into()
    });
    let output = host.command(&["check"]).expect_code(1).stdout();
    for expected in [
        "polyport.toml:8:1: services.ftp.limits.max_packet: plugin \"ftp\" has no such limit: expected one of connection_rate",
        "polyport.toml:9:1: services.ftp.limits.max_line: expected 512 to 65536 bytes, got 1",
    ] {
        assert!(output.contains(expected), "{expected}\n{output}");
    }
}
