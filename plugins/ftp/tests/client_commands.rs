//! T34: `polyport client ftp`, against this server and over connections that break in the middle.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};

use polyport_testkit::{Finished, Host, PATIENCE, free_port};
use support::{builder, files, write_noise};

fn client(host: &Host, args: &[&str]) -> Finished {
    let client = host.client(&["ftp"]).args(args);
    client.env("POLYPORT_PASSWORD", "123456").run()
}

fn url(addr: SocketAddr, path: &str) -> String {
    format!("ftp://xzz@{addr}/{path}")
}

/// A way to the server on which transfers break: control and data connection at once, as when a cable is
/// pulled.
struct Cable {
    addr: SocketAddr,
    passed: Arc<AtomicU64>,
}

impl Cable {
    /// The n-th transfer breaks after the n-th of `cuts` bytes; later ones do not.
    fn new(to: SocketAddr, cuts: &[u64]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let passed = Arc::new(AtomicU64::new(0));
        let cuts = Arc::new(Mutex::new(cuts.iter().rev().copied().collect::<Vec<u64>>()));
        let count = Arc::clone(&passed);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (cuts, count) = (Arc::clone(&cuts), Arc::clone(&count));
                std::thread::spawn(move || control(client, to, &cuts, &count));
            }
        });
        Self { addr, passed }
    }

    /// Bytes of all transfers so far.
    fn passed(&self) -> u64 {
        self.passed.load(Ordering::Relaxed)
    }
}

/// Passes a control connection on; data connections are led through a port of our own.
fn control(client: TcpStream, to: SocketAddr, cuts: &Mutex<Vec<u64>>, count: &Arc<AtomicU64>) {
    let server = TcpStream::connect(to).unwrap();
    let (mut from, mut into) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut into);
        let _ = into.shutdown(Shutdown::Both);
    });
    let mut begin = None;
    for line in BufReader::new(server.try_clone().unwrap())
        .lines()
        .map_while(Result::ok)
    {
        let line = match line.strip_prefix("229 ") {
            None => line,
            Some(text) => {
                let port: u16 = text.split('|').nth(3).unwrap().parse().unwrap();
                let limit = cuts.lock().unwrap().pop().unwrap_or(u64::MAX);
                let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
                let (sender, begins) = mpsc::channel();
                begin = Some(sender);
                let ours = data(port, limit, both, Arc::clone(count), begins);
                format!("229 Entering Extended Passive Mode (|||{ours}|)")
            }
        };
        let begins = line.starts_with("150");
        if write!(&client, "{line}\r\n").is_err() {
            break;
        }
        if begins {
            // The data thread may have ended with its connection.
            let _ = begin.take().map(|sender| sender.send(()));
        }
    }
    let _ = client.shutdown(Shutdown::Both);
}

/// Passes one data connection on from when the transfer `begins`, and cuts it and `control` after `limit` bytes.
fn data(
    port: u16,
    limit: u64,
    control: [TcpStream; 2],
    count: Arc<AtomicU64>,
    begins: mpsc::Receiver<()>,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (client, _) = listener.accept().unwrap();
        let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        if begins.recv_timeout(PATIENCE).is_err() {
            return;
        }
        let control = Arc::new(control);
        for (from, into) in [(&client, &server), (&server, &client)] {
            let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
            let (control, count) = (Arc::clone(&control), Arc::clone(&count));
            std::thread::spawn(move || {
                let (mut block, mut left) = ([0; 8192], limit);
                while let Ok(read @ 1..) = from.read(&mut block) {
                    let fits = left.min(read as u64);
                    left -= fits;
                    count.fetch_add(fits, Ordering::Relaxed);
                    if into.write_all(&block[..fits as usize]).is_err() {
                        break;
                    }
                    if fits < read as u64 {
                        for side in control.iter() {
                            let _ = side.shutdown(Shutdown::Both);
                        }
                        let _ = from.shutdown(Shutdown::Both);
                        break;
                    }
                }
                let _ = into.shutdown(Shutdown::Write);
            });
        }
    });
    ours
}

#[test]
fn t34_get_put_and_list() {
    let host = builder().file("files/empty", "").start();
    let hash = write_noise(&files(&host).join("film ä.mp4"), 2_000_001);
    let addr = host.addr("ftp");
    let got = client(
        &host,
        &["get", &url(addr, "film%20%C3%A4.mp4"), "--progress"],
    )
    .expect_success();
    assert!(
        got.stderr()
            .contains("film ä.mp4  100 %  2000.0 of 2000.0 kB"),
        "{got}"
    );
    assert_eq!(support::sha256(&host.path().join("film ä.mp4")), hash);
    client(&host, &["get", &url(addr, "empty"), "-o", "nothing"]).expect_success();
    assert_eq!(fs::read(host.path().join("nothing")).unwrap(), b"");

    fs::create_dir(files(&host).join("folder")).unwrap();
    client(&host, &["put", "film ä.mp4", &url(addr, "folder/")]).expect_success();
    assert_eq!(
        support::sha256(&files(&host).join("folder/film ä.mp4")),
        hash
    );

    let list = client(&host, &["list", &url(addr, "")])
        .expect_success()
        .stdout();
    assert!(
        list.lines()
            .any(|line| line.starts_with('d') && line.ends_with(" folder")),
        "{list}"
    );
    let names = client(&host, &["list", "-1", &url(addr, "folder")]).expect_success();
    assert!(names.stdout().ends_with("film ä.mp4\n"), "{names}");
    // Without a user the login is anonymous, which may read here.
    let anonymous = host
        .client(&["ftp", "get", &format!("ftp://{addr}/empty")])
        .run();
    anonymous.expect_success();
}

#[test]
fn t34_a_download_goes_on_after_each_break() {
    let host = builder().start();
    let hash = write_noise(&files(&host).join("film"), 3_000_000);
    let cable = Cable::new(host.addr("ftp"), &[1_000_000, 500_000, 0, 700_000]);
    let got = client(&host, &["get", &url(cable.addr, "film")]).expect_success();
    assert_eq!(got.stderr().matches("trying again").count(), 4, "{got}");
    assert_eq!(support::sha256(&host.path().join("film")), hash);
    assert_eq!(cable.passed(), 3_000_000, "nothing came twice");

    let cable = Cable::new(host.addr("ftp"), &[1_000_000]);
    let once = [
        "get",
        &url(cable.addr, "film"),
        "-o",
        "again",
        "--retries",
        "0",
    ];
    let broken = client(&host, &once).expect_code(1);
    assert!(
        broken.stderr().contains("--continue goes on with them"),
        "{broken}"
    );
    assert_eq!(broken.stderr().lines().count(), 1, "{broken}");
    assert!(!host.path().join("again").exists());
    client(&host, &[&once[..], &["-c"]].concat()).expect_success();
    assert_eq!(support::sha256(&host.path().join("again")), hash);
    assert_eq!(cable.passed(), 3_000_000, "nothing came twice");
}

#[test]
fn t34_an_upload_goes_on_after_a_break() {
    let host = builder().start();
    let hash = write_noise(&host.path().join("film"), 3_000_000);
    let cable = Cable::new(host.addr("ftp"), &[1_000_000]);
    let once = ["put", "film", &url(cable.addr, "film"), "--retries", "0"];
    client(&host, &once).expect_code(1);
    host.wait_log(0, "broke off");
    client(&host, &[&once[..], &["-c"]].concat()).expect_success();
    assert_eq!(support::sha256(&files(&host).join("film")), hash);
    assert_eq!(cable.passed(), 3_000_000, "nothing went twice");

    fs::write(files(&host).join("film"), vec![1; 4_000_000]).unwrap();
    let longer = client(&host, &[&once[..], &["-c"]].concat()).expect_code(1);
    assert!(longer.stderr().contains("it is another file"), "{longer}");
}

#[test]
fn t34_an_upload_over_an_older_file_never_mixes_the_two() {
    let host = builder().start();
    let hash = write_noise(&host.path().join("film"), 3_000_000);
    fs::write(files(&host).join("film"), vec![1; 500_000]).unwrap();
    let cable = Cable::new(host.addr("ftp"), &[1_000_000, 2_000_000]);
    let put = client(&host, &["put", "film", &url(cable.addr, "film")]).expect_success();
    assert_eq!(put.stderr().matches("trying again").count(), 2, "{put}");
    assert_eq!(support::sha256(&files(&host).join("film")), hash);
}

/// A server that lacks EPSV and tells a wrong address in 227, as one behind address translation does.
#[test]
fn t34_pasv_where_there_is_no_epsv_and_only_to_the_servers_own_address() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (control, _) = listener.accept().unwrap();
        let data = TcpListener::bind("127.0.0.1:0").unwrap();
        let [high, low] = data.local_addr().unwrap().port().to_be_bytes();
        write!(&control, "220-Hello\r\n220 of many lines\r\n").unwrap();
        for line in BufReader::new(&control).lines().map_while(Result::ok) {
            let reply = match line.split(' ').next().unwrap() {
                "USER" => "230 In.".to_owned(),
                "TYPE" => "200 Yes.".to_owned(),
                "PASV" => format!("227 Here (10,255,255,1,{high},{low})."),
                "LIST" => {
                    write!(&control, "150 Now.\r\n").unwrap();
                    data.accept().unwrap().0.write_all(b"one\x1b\r\n").unwrap();
                    "226 Done.".to_owned()
                }
                _ => "500 What?".to_owned(),
            };
            write!(&control, "{reply}\r\n").unwrap();
        }
    });
    let host = Host::builder().library("polyport-ftp").prepare();
    let list = client(&host, &["list", &url(addr, "")]).expect_success();
    assert_eq!(
        list.stdout(),
        "one?\n",
        "what comes does not steer the terminal"
    );
}

#[test]
fn t34_wrong_usage_exits_with_2_and_failures_with_1() {
    let host = builder().start();
    let addr = host.addr("ftp");
    for (args, said) in [
        (&["get"][..], "expected a URL, got nothing"),
        (&["get", "http://h/x"], "expected ftp://HOST[:PORT]/PATH"),
        (&["get", "ftp://h/"], "does not end in a file's name"),
        (
            &["get", "ftp://h/a%0d%0aDELE%20b"],
            "without control characters",
        ),
        (&["put", "x"], "expected a URL, got nothing"),
        (
            &["list", "ftp://h/", "--retries", "x"],
            "--retries: expected 0 to 100, got \"x\"",
        ),
        (&["delete", "ftp://h/x"], "expected list, get or put"),
    ] {
        let run = client(&host, args).expect_code(2);
        assert!(run.stderr().contains(said), "{run}");
        assert_eq!(run.stderr().lines().count(), 1, "{run}");
    }
    let missing = client(&host, &["get", &url(addr, "none")]).expect_code(1);
    assert!(
        missing.stderr().starts_with("polyport: SIZE none: 550 "),
        "{missing}"
    );
    let wrong = client(&host, &["list", &url(addr, ""), "-u", "xzz:wrong"]).expect_code(1);
    assert!(wrong.stderr().contains("login of \"xzz\": 530 "), "{wrong}");
    assert_eq!(wrong.stderr().lines().count(), 1, "{wrong}");
    fs::write(host.path().join("new"), "x").unwrap();
    let may_not = ["put", "new", &url(addr, ""), "-u", "reader:readonly"];
    let may_not = client(&host, &may_not).expect_code(1);
    assert!(may_not.stderr().contains("STOR new: 553 "), "{may_not}");
    let port = free_port();
    let refused = format!("ftp://127.0.0.1:{port}/x");
    let refused = client(&host, &["get", &refused, "--retries", "0"]).expect_code(1);
    assert_eq!(
        refused.stderr(),
        format!("polyport: 127.0.0.1:{port}: Connection refused (os error 111)\n")
    );
}
