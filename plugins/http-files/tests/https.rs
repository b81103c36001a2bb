//! HTTPS, HTTP/2 and everything that a request may prove of its client, with curl.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use polyport_testkit::{Builder, Client, Finished, Host, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

const ACCOUNTS: &str = "\
[anonymous]
rights = list read
[alice]
password = wonderland
certificate = CN=alice
[elsewhere]
password = e
services = mqtt
[single]
password = s
max_sessions = 1
[slow]
password = s
rate_down = 200K
";

/// A host on `files` in clear and on `secure` with TLS, which asks clients for certificates.
fn host() -> Builder {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, "authority of a test");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let signed = |params: CertificateParams| {
        let key = KeyPair::generate().unwrap();
        (
            params.signed_by(&key, &authority).unwrap().pem(),
            key.serialize_pem(),
        )
    };
    let server = signed(CertificateParams::new(["127.0.0.1".to_owned()]).unwrap());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "alice");
    let client = signed(params);
    Host::builder()
        .service("files")
        .accounts(ACCOUNTS)
        .listen(
            "files",
            &["127.0.0.1:{port:files}", "https://127.0.0.1:{port:secure}"],
        )
        .keys(
            "files",
            "tls = { cert = \"tls/cert.pem\", key = \"tls/key.pem\", client_ca = \"tls/ca.pem\", \
             client_cert = \"optional\" }",
        )
        .file("tls/ca.pem", authority.pem())
        .file("tls/cert.pem", server.0)
        .file("tls/key.pem", server.1)
        .file("tls/alice.pem", client.0 + &client.1)
        .file("files/a.txt", "abc")
        .file("files/folder/b.txt", "b")
}

/// curl over TLS, with what it got behind a line of status, version and seconds.
fn https(host: &Host, path: &str, args: &[&str]) -> Answer {
    let address = format!("https://{}{path}", host.addr("secure"));
    ask(host, &address, args)
}

fn http(host: &Host, path: &str, args: &[&str]) -> Answer {
    ask(host, &format!("http://{}{path}", host.addr("files")), args)
}

fn ask(host: &Host, address: &str, args: &[&str]) -> Answer {
    Answer::of(curl(host, address).args(args).run())
}

fn curl(host: &Host, address: &str) -> Client {
    let authority = host.path().join("tls/ca.pem");
    Client::new("curl")
        .args(["--silent", "--show-error", "--include", "--cacert"])
        .arg(authority)
        .args([
            "--write-out",
            "\n%{http_code} %{http_version}",
            "--url",
            address,
        ])
}

#[derive(Debug)]
struct Answer {
    status: u16,
    version: String,
    text: String,
}

impl Answer {
    fn of(finished: Finished) -> Self {
        let text = finished.stdout();
        let (text, last) = text.rsplit_once('\n').unwrap();
        let (status, version) = last.split_once(' ').unwrap();
        Self {
            status: status.parse().unwrap(),
            version: version.to_owned(),
            text: text.to_owned(),
        }
    }

    fn fields(&self, name: &str) -> Vec<&str> {
        let lines = self.text.lines().filter_map(|line| line.split_once(": "));
        let named = lines.filter(|(found, _)| found.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value).collect()
    }

    #[track_caller]
    fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

fn token(host: &Host, args: &[&str]) -> String {
    let all = [&["user", "token", "add", "alice", "--expires", "1d"], args].concat();
    let made = host.command(&all);
    made.expect_success().stdout().trim().to_owned()
}

#[test]
fn curl_reads_and_writes_over_both_versions() {
    let host = host().settings("files", "hsts_max_age = 600").start();
    let large = host.path().join("files/large.bin");
    let digest = support::fill(&large, 20 << 20);
    for (args, version) in [
        (&["--http2"][..], "2"),
        (&["--http1.1"], "1.1"),
        (&["--tls-max", "1.2"], "2"),
    ] {
        let answer = https(&host, "/a.txt", args).expect(200);
        assert_eq!(answer.version, version, "{args:?}");
        assert!(answer.text.ends_with("\r\nabc"), "{answer:?}");
        assert_eq!(answer.fields("strict-transport-security"), ["max-age=600"]);
        let part = https(&host, "/a.txt", &[args, &["--range", "1-1"]].concat()).expect(206);
        assert!(part.text.ends_with("\r\nb"), "{part:?}");
        let folder = https(&host, "/folder", &[args, &["--location"]].concat()).expect(200);
        assert!(folder.text.contains("b.txt"), "{folder:?}");
        https(&host, "/none", args).expect(404);

        let got = host.path().join("got.bin");
        let (source, target) = (large.to_str().unwrap(), got.to_str().unwrap());
        let address = format!("https://{}/large.bin", host.addr("secure"));
        let authority = host.path().join("tls/ca.pem");
        let download = Client::new("curl")
            .args(["--silent", "--show-error", "--output", target, "--cacert"])
            .arg(authority)
            .args(["--url", &address])
            .args(args)
            .run();
        download.expect_success();
        assert_eq!(support::digest(&got), digest);
        // Who may not is told so while the upload still comes.
        https(
            &host,
            "/no.bin",
            &[args, &["--upload-file", source]].concat(),
        )
        .expect(401);
        let put = ["--user", "alice:wonderland", "--upload-file", source];
        let name = format!("/put-{version}-{}.bin", args.len());
        https(&host, &name, &[args, &put].concat()).expect(201);
        assert_eq!(
            support::digest(&host.path().join(format!("files{name}"))),
            digest
        );
        std::fs::remove_file(host.path().join(format!("files{name}"))).unwrap();
    }
    assert!(
        http(&host, "/a.txt", &[])
            .expect(200)
            .fields("strict-transport-security")
            .is_empty()
    );
    // Many requests of one client share its connection.
    let urls: Vec<String> = (0..50)
        .flat_map(|_| {
            [
                "--output".into(),
                "/dev/null".into(),
                format!("https://{}/a.txt", host.addr("secure")),
            ]
        })
        .collect();
    let all = Client::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--fail",
            "--parallel",
            "--write-out",
            "%{num_connects}\n",
            "--cacert",
        ])
        .arg(host.path().join("tls/ca.pem"))
        .args(&urls)
        .run();
    let all = all.expect_success();
    let connects: u32 = all
        .stdout()
        .lines()
        .map(|line| line.parse::<u32>().unwrap())
        .sum();
    assert!(connects < 50, "{connects}");
    host.wait_log(0, "\"GET /a.txt HTTP/2.0\" 200 3 ");
}

#[test]
fn a_request_is_of_whom_its_credentials_say() {
    let host = host().start();
    let file = host.path().join("files/a.txt");
    let put = |args: &[&str], status: u16| {
        let upload = ["--upload-file", file.to_str().unwrap()];
        https(&host, "/new.txt", &[&upload, args].concat()).expect(status)
    };
    let (whole, narrow) = (
        token(&host, &[]),
        token(&host, &["--scope", "files: read /**"]),
    );
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    eventually("the tokens are taken over", || {
        let narrow = ["--user", &format!(":{narrow}")];
        (https(&host, "/a.txt", &narrow).status == 200).then_some(())
    });
    put(&["--user", "alice:wonderland"], 201);
    put(&["--user", &format!("alice:{whole}")], 204);
    put(&["--user", &format!(":{whole}")], 204);
    put(&["--header", &bearer(&whole)], 204);
    put(&["--http1.1", "--header", &bearer(&whole)], 204);
    let certificate: PathBuf = host.path().join("tls/alice.pem");
    put(&["--cert", certificate.to_str().unwrap()], 204);
    for _ in 0..6 {
        host.wait_log(0, " - alice [");
    }

    let narrow = put(&["--header", &bearer(&narrow)], 403);
    assert_eq!(
        narrow.fields("www-authenticate"),
        ["Bearer realm=\"polyport\", error=\"insufficient_scope\""]
    );
    let basic = "Basic realm=\"polyport\", charset=\"UTF-8\"";
    for (args, bearer) in [
        (&[][..], "Bearer realm=\"polyport\""),
        (
            &["--user", "alice:looking-glass"],
            "Bearer realm=\"polyport\"",
        ),
        (
            &["--header", "Authorization: Bearer wrong"],
            "Bearer realm=\"polyport\", error=\"invalid_token\"",
        ),
        (
            &["--header", "Authorization: Bearer "],
            "Bearer realm=\"polyport\", error=\"invalid_token\"",
        ),
    ] {
        let refused = put(args, 401);
        assert_eq!(
            refused.fields("www-authenticate"),
            [basic, bearer],
            "{args:?}"
        );
    }
    let elsewhere = put(&["--user", "elsewhere:e"], 403);
    assert!(
        elsewhere.text.contains("not for this service"),
        "{elsewhere:?}"
    );
    assert!(elsewhere.fields("www-authenticate").is_empty());
}

#[test]
fn a_password_in_clear_is_refused_and_not_asked_for_again() {
    let host = host().keys("files", "require_tls = true").start();
    for credentials in [
        "--user=alice:wonderland",
        "--user=alice:wrong",
        "--oauth2-bearer=x",
    ] {
        let (option, value) = credentials.split_once('=').unwrap();
        let refused = http(&host, "/a.txt", &[option, value]).expect(403);
        assert!(refused.text.contains("use https"), "{refused:?}");
        assert!(refused.fields("www-authenticate").is_empty(), "{refused:?}");
    }
    http(&host, "/a.txt", &[]).expect(200);
    let upload = ["--request", "PUT", "--data", "x"];
    let refused = http(&host, "/new.txt", &upload).expect(403);
    assert!(refused.text.contains("over https alone"), "{refused:?}");
    assert!(refused.fields("www-authenticate").is_empty(), "{refused:?}");
    let asked = https(&host, "/new.txt", &upload).expect(401);
    assert_eq!(asked.fields("www-authenticate").len(), 2);
    https(&host, "/a.txt", &["--user", "alice:wonderland"]).expect(200);
}

#[test]
fn sessions_are_requests_under_way() {
    let host = host().start();
    support::fill(&host.path().join("files/large.bin"), 64 << 20);
    let single = ["--user", "single:s"];
    // One has ended when its client has all of it, or an instant later.
    let served = || {
        eventually("the request before has ended", || {
            (https(&host, "/a.txt", &single).status == 200).then_some(())
        });
    };
    for _ in 0..3 {
        served();
    }
    let mut taken = BufReader::new(host.connect("files"));
    let login = format!("Authorization: Basic {}\r\n", support::base64("single:s"));
    // A kept connection between two requests is no session.
    eventually("the request before has ended", || {
        (support::ask(&mut taken, "GET", "/a.txt", &login).status == 200).then_some(())
    });
    served();
    let request = format!("GET /large.bin HTTP/1.1\r\nHost: x\r\n{login}\r\n");
    let stalled = eventually("the request before has ended", || {
        let mut stalled: TcpStream = host.connect("files");
        stalled.write_all(request.as_bytes()).unwrap();
        let mut begin = [0; 12];
        stalled.read_exact(&mut begin).unwrap();
        (&begin == b"HTTP/1.1 200").then_some(stalled)
    });
    for args in [&["--http2"], &["--http1.1"]] {
        let refused = https(&host, "/a.txt", &[&single[..], args].concat()).expect(429);
        assert_eq!(refused.fields("retry-after"), ["1"]);
    }
    assert_eq!(
        support::ask(&mut taken, "GET", "/a.txt", &login).status,
        429
    );
    drop(stalled);
    served();
}

#[test]
fn rates_of_an_account_hold_for_its_bodies() {
    let host = host().start();
    support::fill(&host.path().join("files/medium.bin"), 600_000);
    for args in [["--http2"], ["--http1.1"]] {
        let began = Instant::now();
        let address = format!("https://{}/medium.bin", host.addr("secure"));
        let authority = host.path().join("tls/ca.pem");
        let download = Client::new("curl")
            .args([
                "--silent",
                "--user",
                "slow:s",
                "--output",
                "/dev/null",
                "--cacert",
            ])
            .arg(authority)
            .args(["--url", &address])
            .args(args)
            .run();
        download.expect_success();
        let took = began.elapsed();
        assert!(took > Duration::from_millis(1500), "{took:?}");
    }
}

#[test]
fn one_connection_too_many_is_told_so_in_its_version() {
    let host = host()
        .keys("files", "limits = { max_connections = 1 }")
        .start();
    let mut kept = BufReader::new(host.connect("files"));
    assert_eq!(support::ask(&mut kept, "GET", "/a.txt", "").status, 200);
    for args in [&["--http2"][..], &["--http1.1"]] {
        let refused = https(&host, "/a.txt", args).expect(503);
        assert_eq!(refused.fields("retry-after"), ["5"], "{args:?}");
    }
    let refused = http(&host, "/a.txt", &[]).expect(503);
    assert!(refused.text.contains("too many connections"), "{refused:?}");
    drop(kept);
    eventually("there is room again", || {
        (https(&host, "/a.txt", &[]).status == 200).then_some(())
    });
}

#[test]
fn the_end_of_an_account_ends_its_requests_under_way() {
    let host = host().start();
    support::fill(&host.path().join("files/large.bin"), 64 << 20);
    for version in ["--http2", "--http1.1"] {
        host.edit_accounts(|_| format!("{ACCOUNTS}[guest]\npassword = g\n"));
        eventually("the account is taken over", || {
            (https(&host, "/a.txt", &["--user", "guest:g"]).status == 200).then_some(())
        });
        let address = format!("https://{}/large.bin", host.addr("secure"));
        let path = host.path().join("got.bin");
        let _ = std::fs::remove_file(&path);
        let mut download = Client::new("curl")
            .args([
                "--silent",
                "--fail",
                "--limit-rate",
                "2M",
                "--user",
                "guest:g",
                version,
                "--output",
            ])
            .arg(&path)
            .arg("--cacert")
            .arg(host.path().join("tls/ca.pem"))
            .args(["--url", &address])
            .spawn();
        eventually("the download began", || {
            std::fs::metadata(&path)
                .is_ok_and(|file| file.len() > 0)
                .then_some(())
        });
        let removed = Instant::now();
        host.edit_accounts(|_| ACCOUNTS.to_owned());
        let code = download.wait_exit();
        let got = std::fs::metadata(&path).unwrap().len();
        assert!(
            matches!(code, Some(18 | 56 | 92)),
            "{version}: {code:?} after {got} bytes"
        );
        assert!(
            removed.elapsed() < Duration::from_secs(15),
            "{:?}",
            removed.elapsed()
        );
    }
}

#[test]
fn the_log_names_the_client_behind_a_proxy() {
    let mut host = host().prepare();
    let plain = format!("\"{}\"", host.addr("files"));
    host.edit_config(|text| {
        let behind = format!("{{ address = {plain}, proxy_protocol = [\"127.0.0.0/8\"] }}");
        text.replace(&plain, &behind)
    });
    host.start();
    let mut stream = host.connect("files");
    let request =
        "PROXY TCP4 203.0.113.9 127.0.0.1 5000 80\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    // [anonymous] is for this machine alone, where the client is not.
    let line = host.wait_log(0, "\"GET /a.txt HTTP/1.1\" 401 ");
    assert!(line.contains("203.0.113.9 - - ["), "{line}");
}

#[test]
fn requests_says_who_it_is_in_every_way() {
    let host = host().start();
    let token = token(&host, &[]);
    eventually("the token is taken over", || {
        let login = ["--user", &format!(":{token}")];
        (https(&host, "/a.txt", &login).status == 200).then_some(())
    });
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/requests_https.py"
    );
    let base = format!("https://{}", host.addr("secure"));
    let said = Client::python(script)
        .arg(base)
        .arg(host.path().join("tls/ca.pem"))
        .arg(host.path().join("tls/alice.pem"))
        .arg(token)
        .run()
        .expect_success();
    assert_eq!(said.stdout(), "ok\n");
}
