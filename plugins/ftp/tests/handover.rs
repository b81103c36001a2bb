//! Control connections when another instance takes the place of theirs: without TLS, their clients notice nothing.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::time::Instant;

use polyport_testkit::{Client, Host, Running};
use support::session::Session;
use support::tls::{Authority, BOTH};
use support::{files, sha256, write_noise};

/// More than the kernels on the way keep for a client that does not read.
const LARGE: usize = 64 << 20;

const TEXT: &str = "one\ntwo\nthree\n";

fn host() -> Host {
    support::builder()
        .file("files/sub/text.txt", TEXT)
        .file("files/sub/old name.txt", "renamed")
        .start()
}

/// Another instance with the same settings.
fn restart(host: &Host) {
    let _ = host.command(&["restart", "ftp"]).expect_success();
}

#[track_caller]
fn expect(session: &mut Session, command: &str, reply: &str) {
    let got = session.command(command);
    assert!(got.starts_with(reply), "{command}: {got}");
}

/// In a folder, with TYPE I.
fn login(host: &Host) -> Session {
    let mut session = Session::login(host, "xzz", "123456");
    expect(&mut session, "CWD sub", "250 ");
    expect(&mut session, "TYPE I", "200 ");
    session
}

#[test]
fn a_session_keeps_its_folder_and_its_parameters() {
    let host = host();
    let mut session = login(&host);
    expect(&mut session, "OPTS MLST size;", "200 ");
    for _ in 0..20 {
        expect(&mut session, "REST 4", "350 ");
        restart(&host);
        // the position holds over PASV, and TYPE I leaves the line ends
        assert_eq!(
            session.fetch("RETR text.txt").unwrap(),
            &TEXT.as_bytes()[4..]
        );
        expect(&mut session, "PWD", "257 \"/sub\"");
    }
    restart(&host);
    let facts = session.fetch("MLSD").unwrap();
    let facts = String::from_utf8(facts).unwrap();
    assert!(facts.contains("size=14; text.txt\r\n"), "{facts}");

    expect(&mut session, "RNFR old name.txt", "350 ");
    restart(&host);
    expect(&mut session, "RNTO new.txt", "250 ");
    assert!(files(&host).join("sub/new.txt").exists());

    expect(&mut session, "TYPE A", "200 ");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    expect(&mut session, &format!("EPRT |1|127.0.0.1|{port}|"), "200 ");
    restart(&host);
    expect(&mut session, "RETR text.txt", "150 ");
    let mut text = String::new();
    listener
        .accept()
        .unwrap()
        .0
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, TEXT.replace('\n', "\r\n"));
    assert!(session.reply().starts_with("226 "));

    expect(&mut session, "EPSV ALL", "200 ");
    restart(&host);
    expect(&mut session, "PASV", "503 ");
    expect(&mut session, "QUIT", "221 ");
}

#[test]
fn a_login_may_begin_before_and_end_after() {
    let host = host();
    let mut session = Session::connect(&host, "ftp");
    restart(&host);
    expect(&mut session, "USER xzz", "331 ");
    restart(&host);
    expect(&mut session, "PASS 123456", "230 ");
    restart(&host);
    expect(&mut session, "PWD", "257 \"/\"");

    // failed logins are counted over it
    let mut session = Session::connect(&host, "ftp");
    for _ in 0..3 {
        assert!(session.try_login("xzz", "wrong").starts_with("530 "));
        restart(&host);
    }
    assert_eq!(session.reply(), "");

    let mut session = Session::login(&host, "anonymous", "a@b");
    restart(&host);
    expect(&mut session, "CWD sub", "250 ");
    restart(&host);
    assert_eq!(
        session.fetch("RETR text.txt").unwrap().len(),
        TEXT.len() + 3
    );
    expect(&mut session, "DELE text.txt", "550 ");
}

#[test]
fn a_command_may_come_in_pieces_before_and_after() {
    let host = host();
    let mut session = login(&host);
    for line in ["SIZE text.txt\r\n", "\u{ff}SIZE  text.txt\r\n"] {
        for cut in 1..line.len() {
            if !line.is_char_boundary(cut) || cut % 4 != 1 {
                continue;
            }
            session.send_bytes(&line.as_bytes()[..cut]);
            restart(&host);
            session.send_bytes(&line.as_bytes()[cut..]);
            let reply = session.reply();
            let expected = if line.starts_with('S') {
                "213 14"
            } else {
                "500 "
            };
            assert!(reply.starts_with(expected), "{line:?} at {cut}: {reply}");
        }
    }
    // a line that is too long stays so
    session.send_bytes(&[b'x'; 5000]);
    restart(&host);
    session.send_bytes(b"\r\nNOOP\r\n");
    assert_eq!(session.reply(), "500 Command line too long.");
    assert_eq!(session.reply(), "200 NOOP ok.");
}

#[test]
fn a_download_ends_where_it_began_and_the_session_goes_on() {
    let host = host();
    let sum = write_noise(&files(&host).join("sub/big.bin"), LARGE);
    let mut session = login(&host);
    let mut data = session.data();
    expect(&mut session, "RETR big.bin", "150 ");
    restart(&host);
    // sent ahead: carried out when the transfer has ended
    session.send("NOOP");
    session.send("PWD");
    let copy = host.path().join("copy");
    std::io::copy(&mut data, &mut fs::File::create(&copy).unwrap()).unwrap();
    assert_eq!(sha256(&copy), sum);
    let replies = [session.reply(), session.reply(), session.reply()];
    let codes = replies.each_ref().map(|reply| &reply[..3]);
    assert!(
        codes == ["226", "200", "257"] || codes == ["200", "226", "257"],
        "{replies:?}"
    );
    for _ in 0..3 {
        assert_eq!(session.fetch("RETR text.txt").unwrap(), TEXT.as_bytes());
        restart(&host);
    }
}

#[test]
fn an_upload_ends_where_it_began_and_the_session_goes_on() {
    let host = host();
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("source");
    let sum = write_noise(&source, LARGE);
    let bytes = fs::read(&source).unwrap();
    let mut session = login(&host);
    let mut data = session.data();
    expect(&mut session, "STOR up.bin", "150 ");
    let (first, second) = bytes.split_at(LARGE / 2);
    data.write_all(first).unwrap();
    restart(&host);
    data.write_all(second).unwrap();
    data.shutdown(Shutdown::Write).unwrap();
    assert!(session.reply().starts_with("226 "));
    assert_eq!(sha256(&files(&host).join("sub/up.bin")), sum);
    restart(&host);
    expect(&mut session, "SIZE up.bin", &format!("213 {LARGE}"));
}

#[test]
fn a_port_that_was_opened_can_still_be_used() {
    let host = host();
    let mut session = login(&host);
    for _ in 0..3 {
        let mut data = session.data();
        restart(&host);
        expect(&mut session, "RETR text.txt", "150 ");
        let mut text = String::new();
        data.read_to_string(&mut text).unwrap();
        assert_eq!(text, TEXT);
        assert!(session.reply().starts_with("226 "));
        expect(&mut session, "PWD", "257 \"/sub\"");
    }
    // whoever makes nothing of it is sent away in the end
    let begin = Instant::now();
    let _data = session.data();
    restart(&host);
    assert_eq!(
        session.reply(),
        "421 Service closing, please connect again."
    );
    assert!(begin.elapsed().as_secs() >= 9, "{:?}", begin.elapsed());
    assert_eq!(session.reply(), "");
}

#[test]
fn a_folder_that_is_gone_is_told_by_its_commands() {
    let host = host();
    let mut session = login(&host);
    fs::remove_dir_all(files(&host).join("sub")).unwrap();
    restart(&host);
    expect(&mut session, "PWD", "257 \"/sub\"");
    expect(&mut session, "SIZE text.txt", "550 ");
    expect(&mut session, "CWD /", "250 ");
}

/// The same path would be another file, and who may not log in any more may not stay.
#[test]
fn a_session_to_which_the_settings_do_not_fit_ends() {
    let host = support::builder()
        .settings("ftp", "root = \"files\"")
        .file("files/text.txt", TEXT)
        .file("other/text.txt", "other")
        .accounts(
            &support::ACCOUNTS.replace("password = readonly\nhome = files", "password = readonly"),
        )
        .start();
    let mut own = Session::login(&host, "xzz", "123456");
    let mut shared = Session::login(&host, "reader", "readonly");
    let mut anonymous = Session::login(&host, "anonymous", "a@b");
    let mut nobody = Session::connect(&host, "ftp");
    host.edit_config(|text| text.replace("root = \"files\"", "root = \"other\""));
    let _ = host.command(&["reload", "--wait"]).expect_success();
    for session in [&mut shared, &mut anonymous] {
        assert_eq!(
            session.reply(),
            "421 Service closing, please connect again."
        );
        assert_eq!(session.reply(), "");
    }
    expect(&mut own, "SIZE text.txt", "213 14");
    assert!(nobody.try_login("reader", "readonly").starts_with("230 "));
    expect(&mut nobody, "TYPE I", "200 ");
    assert_eq!(nobody.fetch("RETR text.txt").unwrap(), b"other");

    host.edit_config(|text| {
        text.replace(
            "root = \"other\"",
            "root = \"files\"\ndeny_users = [\"xzz\"]",
        )
    });
    let _ = host.command(&["reload", "--wait"]).expect_success();
    assert!(own.reply().starts_with("421 "));
}

#[test]
fn an_account_that_is_removed_meanwhile_ends_its_session() {
    let host = host();
    let mut session = login(&host);
    restart(&host);
    host.edit_accounts(|text| text.replace("name = xzz", "name = somebody"));
    restart(&host);
    assert!(session.reply().starts_with("421 "));
    assert_eq!(session.reply(), "");
}

#[test]
fn over_tls_a_session_ends_with_421_and_its_transfer_before() {
    let authority = Authority::new();
    let host = authority.builder().file("files/text.txt", TEXT).start();
    let sum = write_noise(&files(&host).join("big.bin"), LARGE);
    let client = authority.trust(BOTH, None);
    let mut idle = Session::login_secure(&host, &client);
    let mut busy = Session::login_secure(&host, &client);
    let mut data = busy.secure_data(&client);
    expect(&mut busy, "RETR big.bin", "150 ");
    let mut first = vec![0; 1000];
    data.read_exact(&mut first).unwrap();
    restart(&host);
    assert!(idle.reply().starts_with("421 "));
    assert_eq!(idle.reply(), "");
    let mut copy = fs::File::create(host.path().join("copy")).unwrap();
    copy.write_all(&first).unwrap();
    std::io::copy(&mut data, &mut copy).unwrap();
    assert_eq!(sha256(&host.path().join("copy")), sum);
    assert!(busy.reply().starts_with("226 "));
    assert!(busy.reply().starts_with("421 "));
    assert_eq!(busy.reply(), "");
}

/// Swaps until a client has ended; how many there were.
fn swaps(host: &Host, client: &mut Running) -> usize {
    let mut swaps = 0;
    while client.is_running() {
        restart(host);
        swaps += 1;
    }
    assert_eq!(client.wait_exit(), Some(0), "{}", client.lines().join("\n"));
    swaps
}

#[test]
fn ftplib_works_on_one_connection_over_swaps() {
    let host = host();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/over_swaps.py");
    let mut client = Client::python(script)
        .arg(host.port("ftp").to_string())
        .spawn();
    let swaps = swaps(&host, &mut client);
    assert!(swaps >= 10, "{swaps} swaps");
}

#[test]
fn lftp_mirrors_over_swaps() {
    let host = host();
    let folder = files(&host).join("tree");
    let mut sums = Vec::new();
    for number in 0..60 {
        let path = folder.join(format!("{}/{number}.bin", number % 7));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        sums.push((path.clone(), write_noise(&path, 300_000 + number)));
    }
    let place = tempfile::tempdir().unwrap();
    let copy = place.path().join("copy");
    // one try each
    let mut commands = "debug 5; set net:max-retries 1; set cmd:fail-exit yes; ".to_owned();
    const ROUNDS: usize = 10;
    for round in 0..ROUNDS {
        let copy = copy.display();
        commands +=
            &format!("mirror -P 3 tree {copy}{round}; mirror -R -P 3 {copy}{round} back{round}; ");
    }
    commands += "bye";
    let mut client = Client::new("lftp")
        .args(["--norc", "-u", "xzz,123456", "-e", &commands])
        .arg(format!("ftp://{}", host.addr("ftp")))
        .spawn();
    let swaps = swaps(&host, &mut client);
    let told = client.lines().join("\n");
    assert!(swaps >= 10, "{swaps} swaps");
    assert!(
        !told.contains("<--- 4") && !told.contains("peer closed"),
        "{told}"
    );
    for (path, sum) in sums {
        let name = path.strip_prefix(&folder).unwrap();
        for round in 0..ROUNDS {
            let folder = files(&host).join(format!("back{round}"));
            assert_eq!(sha256(&folder.join(name)), sum, "{round}");
        }
    }
}
