//! What must not go wrong: broken uploads, other people's data connections, links out of the
//! folder, accounts and settings that change under a session.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use polyport_testkit::eventually;
use rustix::net::sockopt::set_socket_linger;
use support::session::Session;
use support::{SPARSE, builder, files, sparse, write_noise};

#[test]
fn t33_an_upload_that_breaks_off_never_replaces_a_file() {
    let host = builder().file("files/old.txt", "old").start();
    let folder = files(&host);
    for turn in 0..20 {
        let mut session = Session::login(&host, "xzz", "123456");
        session.command("TYPE I");
        let mut data = session.data();
        assert!(session.command("STOR old.txt").starts_with("150 "));
        data.write_all(&vec![b'n'; 100_000 * turn]).unwrap();
        // A client that is killed, and a network that breaks. A data connection that merely ends
        // before the control connection is a whole upload (RFC 959 3.4.1).
        if turn % 2 == 0 {
            session.vanish();
            drop(data);
        } else {
            set_socket_linger(&data, Some(Duration::ZERO)).unwrap();
            drop(data);
            session.vanish();
        }
    }
    eventually("every session has ended", || {
        host.log()
            .iter()
            .filter(|line| line.contains("broke off"))
            .count()
            .checked_sub(20)
    });
    assert_eq!(fs::read(folder.join("old.txt")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn t33_a_crash_of_the_server_leaves_whole_files_and_nothing_else() {
    let mut host = builder().file("files/old.txt", "old").start();
    let folder = files(&host);
    let mut session = Session::login(&host, "xzz", "123456");
    session.command("TYPE I");
    let mut data = session.data();
    assert!(session.command("STOR old.txt").starts_with("150 "));
    data.write_all(&vec![b'n'; 3_000_000]).unwrap();
    eventually("a part has arrived", || {
        let mut found = fs::read_dir(&folder).unwrap().map(Result::unwrap);
        found.find(|entry| entry.metadata().unwrap().len() > 1_000_000)
    });
    host.restart();
    host.wait_log(0, "removed 1 uploads");
    assert_eq!(fs::read(folder.join("old.txt")).unwrap(), b"old");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[test]
fn t31_a_part_of_a_new_file_is_kept_to_go_on_with_unless_set_otherwise() {
    let part = vec![7; 300_000];
    for keep in [true, false] {
        let host = builder()
            .settings("ftp", &format!("delete_failed_uploads = {}", !keep))
            .start();
        let mut session = Session::login(&host, "xzz", "123456");
        session.command("TYPE I");
        let mut data = session.data();
        assert!(session.command("STOR new.bin").starts_with("150 "));
        data.write_all(&part).unwrap();
        session.vanish();
        drop(data);
        host.wait_log(0, "broke off");
        let mut session = Session::login(&host, "xzz", "123456");
        session.command("TYPE I");
        if keep {
            assert_eq!(session.command("SIZE new.bin"), "213 300000");
            session.command("REST 300000");
            assert!(session.store("STOR new.bin", b"end").starts_with("226 "));
            assert_eq!(
                fs::read(files(&host).join("new.bin")).unwrap(),
                [&part[..], b"end"].concat()
            );
        } else {
            assert!(session.command("SIZE new.bin").starts_with("550 "));
        }
    }
}

#[test]
fn a_data_connection_from_another_address_is_not_taken() {
    let host = builder().file("files/secret.txt", "secret").start();
    let mut session = Session::login(&host, "xzz", "123456");
    let address = session.passive();
    // the thief is at 127.0.0.2, and quicker
    let thief = socket_from("127.0.0.2", address);
    let mut client = TcpStream::connect(address).unwrap();
    assert!(session.command("RETR secret.txt").starts_with("150 "));
    let mut found = Vec::new();
    client.read_to_end(&mut found).unwrap();
    assert_eq!(found, b"secret");
    assert!(session.reply().starts_with("226 "));
    let mut stolen = Vec::new();
    let _ = { &thief }.read_to_end(&mut stolen);
    assert_eq!(stolen, b"");
}

fn socket_from(local: &str, to: std::net::SocketAddr) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(
        &socket,
        &std::net::SocketAddr::new(local.parse().unwrap(), 0),
    )
    .unwrap();
    connect(&socket, &to).unwrap();
    socket.into()
}

#[test]
fn nothing_outside_of_the_folder_can_be_named() {
    let host = builder()
        .file("files/inside/a.txt", "inside")
        .file("secret.txt", "secret")
        .start();
    let folder = files(&host);
    std::os::unix::fs::symlink("../secret.txt", folder.join("out")).unwrap();
    std::os::unix::fs::symlink(host.path(), folder.join("up")).unwrap();
    std::os::unix::fs::symlink("inside", folder.join("in")).unwrap();
    let mut session = Session::login(&host, "xzz", "123456");
    session.command("TYPE I");
    let paths = [
        "out",
        "up/secret.txt",
        "../secret.txt",
        "/../secret.txt",
        "inside/../../secret.txt",
        "up/files/../secret.txt",
    ];
    for path in paths {
        let refused = session.fetch(&format!("RETR {path}")).unwrap_err();
        assert!(refused.starts_with("550 "), "{path}: {refused}");
        assert!(
            session.command(&format!("SIZE {path}")).starts_with("550 "),
            "{path}"
        );
    }
    // what climbs too high stays at the root, where a file of that name may be made
    for path in paths {
        session.store(&format!("STOR {path}"), b"overwritten");
        session.store(&format!("APPE {path}"), b"overwritten");
    }
    assert_eq!(fs::read(host.path().join("secret.txt")).unwrap(), b"secret");
    assert!(session.command("CWD up").starts_with("550 "));
    let listed = String::from_utf8(session.fetch("NLST").unwrap()).unwrap();
    assert!(!listed.contains("up"), "{listed}");
    // a link that stays inside is followed
    assert_eq!(session.fetch("RETR in/a.txt").unwrap(), b"inside");
}

#[test]
fn a_session_ends_when_its_account_goes() {
    let host = builder().start();
    sparse(&files(&host).join("big.bin"));
    let mut idle = Session::login(&host, "xzz", "123456");
    let mut busy = Session::login(&host, "xzz", "123456");
    let mut other = Session::login(&host, "reader", "readonly");
    assert!(busy.command("TYPE I").starts_with("200 "));
    let mut data = busy.data();
    assert!(busy.command("RETR big.bin").starts_with("150 "));
    host.edit_accounts(|text| text.replace("name = xzz", "name = somebody"));
    assert_eq!(
        idle.reply(),
        "421 The account was changed, please log in again."
    );
    assert_eq!(idle.reply(), "");
    let mut received = Vec::new();
    let _ = data.read_to_end(&mut received);
    assert!((received.len() as u64) < SPARSE, "the download went on");
    assert!(busy.reply().starts_with("426 "));
    assert!(busy.reply().starts_with("421 "));
    assert_eq!(other.command("NOOP"), "200 NOOP ok.");
}

#[test]
fn a_reload_lets_a_transfer_end_and_refuses_nobody() {
    let host = builder().start();
    write_noise(&files(&host).join("big.bin"), 50_000_000);
    let mut session = Session::login(&host, "xzz", "123456");
    session.command("TYPE I");
    let mut data = session.data();
    assert!(session.command("RETR big.bin").starts_with("150 "));
    let mut idle = Session::login(&host, "xzz", "123456");
    host.edit_config(|text| {
        text.replace(
            "[services.ftp.settings]\n",
            "[services.ftp.settings]\nbanner = \"new\"\n",
        )
    });
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(Session::connect(&host, "ftp").greeting, "220 new");
    assert_eq!(idle.command("NOOP"), "200 NOOP ok.");
    let mut received = Vec::new();
    data.read_to_end(&mut received).unwrap();
    assert_eq!(received, fs::read(files(&host).join("big.bin")).unwrap());
    assert_eq!(session.reply(), "226 Transfer complete.");
    assert_eq!(session.command("NOOP"), "200 NOOP ok.");
}

#[test]
fn commands_without_end_and_floods_do_not_disturb_others() {
    let host = builder().start();
    let mut endless = host.connect("ftp");
    let sender = std::thread::spawn(move || {
        let chunk = [b'x'; 65_536];
        for _ in 0..400 {
            endless.write_all(&chunk).unwrap();
        }
        endless.write_all(b"\r\nQUIT\r\n").unwrap();
        let mut replies = String::new();
        endless.read_to_string(&mut replies).unwrap();
        replies
    });
    eventually("the flood is met before the end of the transfer", || {
        let mut session = Session::login(&host, "xzz", "123456");
        let data = session.data();
        assert!(session.command("STOR a.txt").starts_with("150 "));
        // behind the transfer they wait, up to a bound
        session.send(&"PWD\r\n".repeat(5000));
        drop(data);
        assert_eq!(session.reply(), "226 Transfer complete.");
        session.reply().starts_with("421 ").then_some(())
    });
    let replies = sender.join().unwrap();
    assert!(
        replies.contains("500 Command line too long.") && replies.ends_with("221 Goodbye.\r\n"),
        "{replies}"
    );
    assert!(host.peak_memory() < 200 << 20, "{}", host.peak_memory());
}

#[test]
fn names_that_a_rule_denies_are_neither_listed_nor_moved_with_their_folder() {
    let accounts = "[xzz]\npassword = 123456\nhome = files\ndeny.1 = all /pub/secret/**\n\
                    deny.2 = all /pub/secret\n";
    let host = builder()
        .accounts(accounts)
        .file("files/pub/open/a.txt", "a")
        .file("files/pub/secret/b.txt", "b")
        .start();
    let mut session = Session::login(&host, "xzz", "123456");
    for command in ["LIST /pub", "NLST /pub", "MLSD /pub"] {
        let listed = String::from_utf8(session.fetch(command).unwrap()).unwrap();
        assert!(listed.contains("open"), "{command}: {listed}");
        assert!(!listed.contains("secret"), "{command}: {listed}");
    }
    assert!(session.command("RNFR /pub").starts_with("350 "));
    let refused = session.command("RNTO /elsewhere");
    assert!(refused.starts_with("55"), "{refused}");
    assert!(files(&host).join("pub/secret/b.txt").exists());
    assert!(session.command("RNFR /pub/open").starts_with("350 "));
    assert!(session.command("RNTO /pub/opened").starts_with("250 "));
}

#[test]
fn a_listing_of_a_hundred_thousand_names_is_sent_in_pieces() {
    const COUNT: usize = 100_000;
    let host = builder().start();
    let folder = files(&host).join("many");
    fs::create_dir(&folder).unwrap();
    let name = |number: usize| format!("{number:06}-{}", "x".repeat(100));
    for number in 0..COUNT {
        fs::File::create(folder.join(name(number))).unwrap();
    }
    let mut session = Session::login(&host, "xzz", "123456");
    session.fetch("LIST").unwrap();
    let before = host.peak_memory();
    let listed = String::from_utf8(session.fetch("NLST many").unwrap()).unwrap();
    let mut names: Vec<&str> = listed.lines().collect();
    names.sort_unstable();
    assert_eq!(names.len(), COUNT);
    assert_eq!(names[0], format!("many/{}", name(0)));
    names.dedup();
    assert_eq!(names.len(), COUNT, "each once");
    let lines = session.fetch("LIST many").unwrap().len();
    let more = host.peak_memory() - before;
    // Pieces of 10,000 names with all that is known of each, on whichever threads made them. The whole folder would
    // take more than three times its lines.
    assert!(
        more < lines as u64,
        "{more} bytes more for {lines} bytes of lines"
    );
    let refused = session.command("STAT many");
    assert!(refused.contains("use LIST"), "{refused}");
    assert_eq!(session.command("NOOP"), "200 NOOP ok.");
}
