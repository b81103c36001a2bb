//! T10 to T13 and T16 to T20: the tutorial's files over HTTP, with the clients its reader has.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use polyport_testkit::{Client, Host};
use sha2::{Digest, Sha256};
use support::{HELLO, ask, curl, digest, files_host, fill, hex, set_modified};

fn write_out(host: &Host, path: &str, format: &str) -> String {
    curl(host, path)
        .args(["--output", "/dev/null", "--write-out", format])
        .run()
        .expect_success()
        .stdout()
}

#[test]
fn t10_pages_pictures_and_folders_for_a_browser() {
    let host = files_host()
        .file("files/index.html", "<h1>it works</h1>")
        .file("files/favicon.ico", [0, 0, 1, 0, 1, 0])
        .file("files/pictures/a.png", b"\x89PNG\r\n\x1a\n\0\xff")
        .start();
    let root = curl(&host, "/").run().expect_success();
    assert_eq!(root.stdout(), "<h1>it works</h1>");
    for (path, told) in [
        ("/", "200 text/html; charset=utf-8"),
        ("/index.html", "200 text/html; charset=utf-8"),
        ("/favicon.ico", "200 image/x-icon"),
        ("/pictures/a.png", "200 image/png"),
        ("/pictures/", "200 text/html; charset=utf-8"),
        ("/pictures", "301 "),
        ("/none.html", "404 application/problem+json"),
    ] {
        assert_eq!(
            write_out(&host, path, "%{http_code} %{content_type}"),
            told,
            "{path}"
        );
    }
    let mut stream = BufReader::new(host.connect("files"));
    let picture = ask(&mut stream, "GET", "/pictures/a.png", "");
    assert_eq!(picture.body, b"\x89PNG\r\n\x1a\n\0\xff");
    let browser = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let missing = ask(&mut stream, "GET", "/none", browser);
    assert_eq!(missing.status, 404);
    assert!(String::from_utf8_lossy(&missing.body).contains("<h1><b>404</b>Not Found</h1>"));
}

#[test]
fn t12_a_line_for_each_request_in_combined_format() {
    let host = files_host().file("files/hello.txt", HELLO).start();
    let mark = host.log_mark();
    let _ = curl(&host, "/hello.txt")
        .args([
            "--user",
            "alice:wonderland",
            "--range",
            "0-10",
            "--referer",
            "http://x/\"y",
        ])
        .args(["--user-agent", "tutorial"])
        .run()
        .expect_success();
    let line = host.wait_log(mark, "tutorial");
    let (client, rest) = line.split_once('[').unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "127.0.0.1 - alice ");
    assert!(time.len() == 26 && time.ends_with(" +0000"), "{line}");
    assert_eq!(
        rest,
        "\"GET /hello.txt HTTP/1.1\" 206 11 \"http://x/\\\"y\" \"tutorial\""
    );

    let mut stream = host.connect("files");
    stream.write_all(b"nonsense\r\n\r\n").unwrap();
    let line = host.wait_log(mark, " 400 ");
    assert!(line.ends_with("] \"-\" 400 0 \"-\" \"-\""), "{line}");
}

#[test]
fn t12_the_line_of_a_broken_download_tells_what_was_sent() {
    let host = files_host().start();
    let len = 64 << 20;
    fill(&host.path().join("files/big.bin"), len);
    let mark = host.log_mark();
    let mut stream = host.connect("files");
    stream
        .write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nUser-Agent: breaks\r\n\r\n")
        .unwrap();
    stream.read_exact(&mut vec![0; 1 << 20]).unwrap();
    drop(stream);
    let line = host.wait_log(mark, "breaks");
    let sent: u64 = line
        .split(" 200 ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!((900_000..len).contains(&sent), "{line}");
}

#[test]
fn t13_idle_and_half_open_connections_do_not_slow_others() {
    // None of them is to be sent away while this machine is slow.
    let host = files_host()
        .keys(
            "files",
            "limits = { idle_timeout = \"10m\", handshake_timeout = \"10m\" }",
        )
        .file("files/hello.txt", HELLO)
        .start();
    let address = host.addr("files");
    let quick = |host: &Host| {
        let began = Instant::now();
        let mut stream = BufReader::new(host.connect("files"));
        assert_eq!(
            ask(&mut stream, "GET", "/hello.txt", "").body,
            HELLO.as_bytes()
        );
        began.elapsed()
    };
    // The descriptors of this process and of the host are both limited.
    let crowd: Vec<TcpStream> = (0..2000)
        .map_while(|number| {
            let mut stream = TcpStream::connect(address).ok()?;
            match number % 4 {
                0 => {}
                1 => stream.write_all(b"GET /hello.txt HT").unwrap(),
                2 => stream
                    .write_all(b"PUT /x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123")
                    .unwrap(),
                _ => stream.shutdown(std::net::Shutdown::Write).unwrap(),
            }
            Some(stream)
        })
        .collect();
    assert!(crowd.len() >= 900, "only {} connections", crowd.len());
    for _ in 0..20 {
        let took = quick(&host);
        assert!(
            took < Duration::from_secs(10),
            "{took:?} beside {} connections",
            crowd.len()
        );
    }
    // What a client has ended is not kept for it: no CLOSE_WAIT piles up.
    for (number, mut stream) in crowd
        .into_iter()
        .enumerate()
        .filter(|(number, _)| number % 4 != 2)
    {
        if number % 4 != 3 {
            stream.shutdown(std::net::Shutdown::Write).unwrap();
        }
        assert_eq!(stream.read(&mut [0; 10]).unwrap(), 0, "connection {number}");
    }
}

#[test]
fn t13_a_connection_that_does_nothing_is_closed() {
    let host = files_host()
        .keys(
            "files",
            "limits = { idle_timeout = \"3s\", handshake_timeout = \"3s\" }",
        )
        .file("files/hello.txt", HELLO)
        .start();
    for begun in ["", "GET /hello.txt HTTP/1.1\r\nHo"] {
        // The server's clock may begin before this thread goes on.
        let began = Instant::now();
        let mut stream = host.connect("files");
        stream.write_all(begun.as_bytes()).unwrap();
        assert_eq!(stream.read(&mut [0; 100]).unwrap_or(0), 0, "{begun:?}");
        assert!(began.elapsed() >= Duration::from_secs(3), "{begun:?}");
    }
    // A kept connection has its time anew after each response.
    let mut stream = BufReader::new(host.connect("files"));
    for _ in 0..4 {
        assert_eq!(ask(&mut stream, "GET", "/hello.txt", "").status, 200);
        std::thread::sleep(Duration::from_secs(1));
    }
}

#[test]
fn t16_t20_curl_browses_uploads_and_fetches_a_folder() {
    let host = files_host()
        .file("files/hello.txt", HELLO)
        .file("files/folder/one.txt", "one")
        .file("files/folder/.secret", "hidden")
        .start();
    let place = tempfile::tempdir().unwrap();
    let page = curl(&host, "/").run().expect_success().stdout();
    assert!(
        page.contains("<a href=\"./hello.txt\">hello.txt</a>"),
        "{page}"
    );
    assert!(
        page.contains("title=\"32 bytes\"") && page.contains("archive=tar.gz"),
        "{page}"
    );
    assert!(
        !page.contains("multipart/form-data"),
        "no form without an account: {page}"
    );
    let user = ["--user", "alice:wonderland"];
    let page = curl(&host, "/").args(user).run().expect_success().stdout();
    assert!(page.contains("multipart/form-data"), "{page}");

    let file = place.path().join("up load.txt");
    std::fs::write(&file, "uploaded").unwrap();
    let form = format!("path=@{}", file.display());
    let answer = curl(&host, "/upload?path=/folder")
        .args(user)
        .args(["--form", &form])
        .run();
    assert_eq!(
        answer.expect_success().stdout(),
        "{\"files\":[{\"name\":\"up load.txt\",\"size\":8}]}\n"
    );
    let put = curl(&host, "/put.txt")
        .args(user)
        .args(["--upload-file", file.to_str().unwrap()]);
    let told = put
        .args(["--write-out", "%{http_code}"])
        .run()
        .expect_success()
        .stdout();
    assert_eq!(told, "201");
    assert_eq!(
        curl(&host, "/put.txt").run().expect_success().stdout(),
        "uploaded"
    );
    assert_eq!(
        curl(&host, "/folder/up%20load.txt")
            .run()
            .expect_success()
            .stdout(),
        "uploaded"
    );

    host.wait_status("both are counted", |status| {
        status["services"][0]["metrics"]["uploads"] == 2
    });

    let archive = place.path().join("folder.tar.gz");
    let _ = curl(&host, "/folder/?archive=tar.gz")
        .args(["--output", archive.to_str().unwrap()])
        .run()
        .expect_success();
    let list = Client::new("tar")
        .args(["xzvf", archive.to_str().unwrap()])
        .current_dir(place.path())
        .run();
    let mut names: Vec<String> = list
        .expect_success()
        .stdout()
        .lines()
        .map(str::to_owned)
        .collect();
    names.sort();
    assert_eq!(names, ["folder/", "folder/one.txt", "folder/up load.txt"]);
    assert_eq!(
        std::fs::read_to_string(place.path().join("folder/one.txt")).unwrap(),
        "one"
    );
}

#[test]
fn t17_t18_t19_a_large_file_is_whole_also_when_it_is_resumed() {
    let host = files_host().start();
    let (file, place) = (
        host.path().join("files/video.mp4"),
        tempfile::tempdir().unwrap(),
    );
    let expected = fill(&file, 300 << 20);
    set_modified(&file);
    let (out, len) = (place.path().join("video.mp4"), (300u64 << 20).to_string());
    let head = curl(&host, "/video.mp4")
        .arg("--head")
        .run()
        .expect_success()
        .stdout();
    for field in [
        "content-type: video/mp4",
        "accept-ranges: bytes",
        "content-disposition: inline; filename=\"video.mp4\"",
        &format!("etag: {}", support::etag(&file)),
        &format!("last-modified: {}", support::MODIFIED),
        &format!("content-length: {len}"),
    ] {
        assert!(head.lines().any(|line| line == field), "{field} in {head}");
    }
    let whole = curl(&host, "/video.mp4")
        .args(["--output", out.to_str().unwrap()])
        .run();
    let _ = whole.expect_success();
    assert_eq!(digest(&out), expected);

    // Broken off in the middle and gone on with, as `curl -C -` does it.
    File::options()
        .write(true)
        .open(&out)
        .unwrap()
        .set_len(123_456_789)
        .unwrap();
    let rest =
        curl(&host, "/video.mp4").args(["--continue-at", "-", "--output", out.to_str().unwrap()]);
    let told = rest
        .args(["--write-out", "%{http_code} %{size_download}"])
        .run()
        .expect_success()
        .stdout();
    assert_eq!(told, format!("206 {}", (300u64 << 20) - 123_456_789));
    assert_eq!(digest(&out), expected);
}

#[test]
fn t18_the_tutorials_download_in_segments() {
    // HEAD for the length, then one range after the other, each appended to the file.
    let host = files_host().start();
    let expected = fill(&host.path().join("files/data.bin"), 5 << 20);
    let mut stream = BufReader::new(host.connect("files"));
    let head = ask(&mut stream, "HEAD", "/data.bin", "");
    assert_eq!(head.field("accept-ranges"), Some("bytes"));
    let len: usize = head.field("content-length").unwrap().parse().unwrap();
    let (mut got, step) = (Vec::new(), 1_000_003);
    while got.len() < len {
        let range = format!("Range: bytes={}-{}\r\n", got.len(), got.len() + step - 1);
        let part = ask(&mut stream, "GET", "/data.bin", &range);
        assert_eq!(part.status, 206);
        let last = (got.len() + step).min(len) - 1;
        let told = format!("bytes {}-{last}/{len}", got.len());
        assert_eq!(part.field("content-range"), Some(told.as_str()));
        got.extend(part.body);
    }
    assert_eq!(hex(&Sha256::digest(&got)), expected);
}

#[test]
fn t20_requests_and_urllib3_work_unchanged() {
    let host = files_host()
        .file("files/hello.txt", HELLO)
        .file("files/site/index.html", "<h1>site</h1>")
        .file("files/list/b c/deep.txt", "deep")
        .file("files/list/\u{20ac}.txt", "euro")
        .start();
    let place = tempfile::tempdir().unwrap();
    let upload = place.path().join("upload.bin");
    let digest = fill(&upload, 3 << 20);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/clients/requests_client.py"
    );
    let base = format!("http://{}", host.addr("files"));
    let done = Client::python(script)
        .arg(base)
        .arg(&upload)
        .arg(digest)
        .run()
        .expect_success();
    assert_eq!(done.stdout(), "done\n");
}
