//! The client commands by TLS.

use std::fs;

use polyport_testkit::{Host, PASSWORD, USER};

use super::authority::Authority;

const TLS: &str = "tls = { cert = \"one.cert\", key = \"one.key\" }";

fn host(authority: &Authority) -> Host {
    let pair = authority.pair(&["localhost", "127.0.0.1"], 365);
    let services = ["mqtt", "files", "ftp", "tcp-files"];
    let builder = services.iter().fold(Host::builder(), |builder, name| {
        builder.service(name).keys(name, TLS)
    });
    builder
        .listen("mqtt", &["mqtts://127.0.0.1:{port:mqtt}"])
        .listen("files", &["https://127.0.0.1:{port:files}"])
        .listen(
            "ftp",
            &["127.0.0.1:{port:ftp}", "ftps://127.0.0.1:{port:ftps}"],
        )
        .listen("tcp-files", &["tls://127.0.0.1:{port:tcp-files}"])
        .file("files/hello.txt", "hello\n".repeat(100_000))
        .file("ca.pem", authority.pem())
        .file("one.cert", pair.cert)
        .file("one.key", pair.key)
        .start()
}

#[test]
fn every_client_command_speaks_tls_to_a_server_that_it_can_trust() {
    let authority = Authority::new();
    let host = host(&authority);
    let hello = fs::read(host.path().join("files/hello.txt")).unwrap();
    let account = format!("{USER}:{PASSWORD}");
    let common = ["-u", account.as_str(), "--cafile", "ca.pem"];
    let run = |plugin: &str, command: &[&str]| {
        let arguments: Vec<&str> = [plugin]
            .iter()
            .chain(command)
            .chain(&common)
            .copied()
            .collect();
        host.client(&arguments).run()
    };
    let url =
        |scheme: &str, port: &str, path: &str| format!("{scheme}://{}/{path}", host.addr(port));
    for (plugin, options, url) in [
        (
            "http-files",
            &["-s", "3"][..],
            url("https", "files", "hello.txt"),
        ),
        ("ftp", &["--tls"], url("ftp", "ftp", "hello.txt")),
        ("ftp", &[], url("ftps", "ftps", "hello.txt")),
        ("tcp-files", &[], url("tls", "tcp-files", "hello.txt")),
    ] {
        let command: Vec<&str> = ["get", &url, "-o", "got"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        run(plugin, &command).expect_success();
        assert!(fs::read(host.path().join("got")).unwrap() == hello, "{url}");
        fs::remove_file(host.path().join("got")).unwrap();
    }
    for (plugin, options, url) in [
        ("http-files", &[][..], url("https", "files", "a.txt")),
        ("ftp", &["--tls"], url("ftp", "ftp", "b.txt")),
    ] {
        let command: Vec<&str> = ["put", "ca.pem", &url]
            .iter()
            .chain(options)
            .copied()
            .collect();
        run(plugin, &command).expect_success();
        let name = url.rsplit('/').next().unwrap();
        let there = fs::read_to_string(host.path().join("files").join(name)).unwrap();
        assert_eq!(there, authority.pem(), "{url}");
    }
    let port = host.port("mqtt").to_string();
    let broker = [
        "-h",
        "127.0.0.1",
        "-p",
        &port,
        "-u",
        USER,
        "-P",
        PASSWORD,
        "-t",
        "a/b",
    ];
    let mqtt = |command: &[&str], cafile: &str| {
        let arguments = ["mqtt"].iter().chain(command).chain(&broker);
        host.client(
            &arguments
                .chain(&["--cafile", cafile])
                .copied()
                .collect::<Vec<_>>(),
        )
    };
    mqtt(&["pub", "-r", "-q", "1", "-m", "by tls"], "ca.pem")
        .run()
        .expect_success();
    let got = mqtt(&["sub", "-C", "1"], "ca.pem").run().expect_success();
    assert_eq!(got.stdout(), "by tls\n");

    // Whom no authority vouches for is not sent a password.
    fs::write(host.path().join("other.pem"), Authority::new().pem()).unwrap();
    let stranger = mqtt(&["pub", "-m", "x"], "other.pem").run().expect_code(1);
    assert!(
        stranger.stderr().contains("invalid peer certificate"),
        "{}",
        stranger.stderr()
    );
    let stranger = host.client(&[
        "ftp",
        "list",
        &url("ftp", "ftp", ""),
        "-u",
        &account,
        "--tls",
        "--cafile",
        "other.pem",
    ]);
    let stranger = stranger.run().expect_code(1);
    assert!(
        stranger.stderr().contains("invalid peer certificate"),
        "{}",
        stranger.stderr()
    );
}
