//! T26: a setting for each of vsftpd's, each seen from a client.

#![allow(clippy::unwrap_used, reason = "tests may")]

mod support;

use std::fs;
use std::net::TcpStream;

use polyport_testkit::{Host, PATIENCE};
use support::session::Session;
use support::{builder, files, sparse};

/// An account with a home of its own beside the shared folder, and one without.
const HOMES: &str = "\
[user1]
name = xzz
password = 123456
home = files/homes/xzz

[user2]
name = guest
password = 123456

[anonymous]
services = ftp
rights = list, read
";

fn homes(settings: &str) -> Host {
    builder()
        .accounts(HOMES)
        .settings("ftp", settings)
        .file("files/shared.txt", "shared")
        .file("files/homes/xzz/own.txt", "own")
        .file("public/public.txt", "public")
        .start()
}

fn names(session: &mut Session) -> String {
    String::from_utf8(session.fetch("NLST").unwrap())
        .unwrap()
        .replace("\r\n", " ")
}

#[test]
fn t26_chroot_local_user_keeps_an_account_in_its_home() {
    let host = homes("");
    let mut session = Session::login(&host, "xzz", "123456");
    assert_eq!(session.command("PWD"), "257 \"/\"");
    assert_eq!(names(&mut session), "own.txt ");
    assert!(session.command("CWD ../..").starts_with("250 "));
    assert_eq!(names(&mut session), "own.txt ");
    assert!(session.command("SIZE ../../shared.txt").starts_with("550 "));
    // without a home: the shared folder
    assert_eq!(
        names(&mut Session::login(&host, "guest", "123456")),
        "homes shared.txt "
    );
}

#[test]
fn t26_without_chroot_a_session_begins_in_the_home_and_sees_the_root() {
    let host = homes("chroot_local_user = false");
    let mut session = Session::login(&host, "xzz", "123456");
    assert_eq!(session.command("PWD"), "257 \"/homes/xzz\"");
    assert!(session.command("CWD /").starts_with("250 "));
    assert_eq!(names(&mut session), "homes shared.txt ");
    assert!(session.command("SIZE ../accounts.ini").starts_with("550 "));
}

#[test]
fn t26_chroot_list_turns_chroot_local_user_round() {
    let host = homes("chroot_list = [\"xzz\"]");
    assert_eq!(
        Session::login(&host, "xzz", "123456").command("PWD"),
        "257 \"/homes/xzz\""
    );
    let host = homes("chroot_local_user = false\nchroot_list = [\"xzz\"]");
    assert_eq!(
        Session::login(&host, "xzz", "123456").command("PWD"),
        "257 \"/\""
    );
}

#[test]
fn t26_local_root_and_anonymous_root_take_the_place_of_home_and_root() {
    let host = homes("local_root = \"files/homes/%u\"\nanonymous_root = \"public\"");
    assert_eq!(
        names(&mut Session::login(&host, "xzz", "123456")),
        "own.txt "
    );
    // there is no files/homes/guest
    let reply = Session::connect(&host, "ftp").try_login("guest", "123456");
    assert_eq!(reply, "530 The account's folder cannot be opened.");
    assert_eq!(
        names(&mut Session::login(&host, "anonymous", "me@example.org")),
        "public.txt "
    );
    assert_eq!(names(&mut Session::login(&host, "ftp", "")), "public.txt ");
}

#[test]
fn t26_anonymous_clients_see_the_home_of_their_section_where_it_has_one() {
    let host = builder()
        .accounts("[anonymous]\nservices = ftp\nrights = list, read\nhome = public\n")
        .file("files/shared.txt", "shared")
        .file("public/public.txt", "public")
        .start();
    assert_eq!(
        names(&mut Session::login(&host, "anonymous", "")),
        "public.txt "
    );
}

#[test]
fn t26_who_may_log_in() {
    let host = homes("anonymous_enable = false\ndeny_users = [\"guest\"]");
    let login = |user: &str| Session::connect(&host, "ftp").try_login(user, "123456");
    assert!(login("anonymous").starts_with("530 "));
    assert_eq!(login("guest"), "530 Login incorrect.");
    assert!(login("xzz").starts_with("230 "));
    let host = homes("local_enable = false");
    assert_eq!(
        Session::connect(&host, "ftp").try_login("xzz", "123456"),
        "530 Login incorrect."
    );
    Session::login(&host, "anonymous", "");
}

#[test]
fn t26_an_account_whose_home_can_be_written_may_be_kept_out() {
    let host = homes("allow_writeable_chroot = false");
    let reply = Session::connect(&host, "ftp").try_login("xzz", "123456");
    assert!(
        reply.starts_with("500 OOPS: refusing to run with writable root"),
        "{reply}"
    );
}

#[test]
fn t26_write_enable_off_refuses_every_change_and_says_so() {
    let host = builder()
        .settings("ftp", "write_enable = false")
        .file("files/a.txt", "x")
        .start();
    let mut session = Session::login(&host, "xzz", "123456");
    assert_eq!(
        session.store("STOR b.txt", b"x"),
        "553 Could not create file. Writing is switched off (write_enable)."
    );
    for command in ["APPE a.txt", "STOU"] {
        assert!(session.command(command).starts_with("553 "), "{command}");
    }
    for command in [
        "DELE a.txt",
        "MKD d",
        "RMD d",
        "RNFR a.txt",
        "MFMT 20200101000000 a.txt",
    ] {
        assert!(
            session
                .command(command)
                .starts_with("550 Permission denied. "),
            "{command}"
        );
    }
    assert_eq!(session.fetch("RETR a.txt").unwrap(), b"x");
    assert_eq!(fs::read_dir(files(&host)).unwrap().count(), 1);
}

#[test]
fn t26_pasv_address_is_told_and_pasv_and_port_can_be_switched_off() {
    let host = builder()
        .settings("ftp", "pasv_address = \"203.0.113.7\"")
        .start();
    let mut session = Session::login(&host, "xzz", "123456");
    assert_eq!(session.passive().ip().to_string(), "203.0.113.7");
    let host = builder()
        .settings("ftp", "pasv_enable = false\nport_enable = false")
        .start();
    let mut session = Session::login(&host, "xzz", "123456");
    for command in [
        "PASV",
        "EPSV",
        "PORT 127,0,0,1,200,1",
        "EPRT |1|127.0.0.1|51201|",
    ] {
        assert!(session.command(command).starts_with("550 "), "{command}");
    }
}

#[test]
fn t26_passive_ports_lie_in_the_range_and_may_run_out() {
    let host = builder()
        .settings("ftp", "passive_ports = \"{port:only}-{port:only}\"")
        .start();
    let only = host.port("only");
    let mut first = Session::login(&host, "xzz", "123456");
    assert_eq!(first.passive().port(), only);
    let mut second = Session::login(&host, "xzz", "123456");
    let reply = second.command("PASV");
    assert!(
        reply.starts_with("425 ") && reply.contains("in use"),
        "{reply}"
    );
    // the one who has it may ask again, and gives it back by leaving
    assert_eq!(first.passive().port(), only);
    assert_eq!(first.command("QUIT"), "221 Goodbye.");
    polyport_testkit::eventually("the port is free", || {
        Some(second.command("PASV")).filter(|reply| reply.starts_with("227 "))
    });
}

#[test]
fn t26_banner_and_idle_timeout() {
    let host = builder()
        .settings("ftp", "banner = \"hello\\nworld\"")
        .keys("ftp", "limits.idle_timeout = \"1s\"")
        .start();
    let mut session = Session::connect(&host, "ftp");
    assert_eq!(session.greeting, "220 world");
    assert_eq!(session.reply(), "421 Timeout.");
    assert_eq!(session.reply(), "");
}

#[test]
fn t26_a_data_connection_that_does_not_come_or_move_is_given_up() {
    let host = builder()
        .settings("ftp", "accept_timeout = 1\ndata_timeout = 1")
        .start();
    sparse(&files(&host).join("big.bin"));
    let mut session = Session::login(&host, "xzz", "123456");
    session.passive();
    assert!(session.command("RETR big.bin").starts_with("150 "));
    let reply = session.reply();
    assert!(
        reply.starts_with("425 ") || reply.starts_with("426 "),
        "{reply}"
    );
    let _unread = session.data();
    assert!(session.command("RETR big.bin").starts_with("150 "));
    assert_eq!(session.reply(), "426 Failure on the data connection.");
    assert_eq!(session.command("NOOP"), "200 NOOP ok.");
}

#[test]
fn t30_ascii_converts_always_never_or_what_is_text() {
    for (value, text, film) in [
        ("text", &b"a\r\n"[..], &b"\0\n"[..]),
        ("always", b"a\r\n", b"\0\r\n"),
        ("never", b"a\n", b"\0\n"),
    ] {
        let host = builder()
            .settings("ftp", &format!("ascii = {value:?}"))
            .file("files/text", "a\n")
            .file("files/film", b"\0\n")
            .start();
        let mut session = Session::login(&host, "xzz", "123456");
        assert_eq!(session.command("TYPE A"), "200 Switching to ASCII mode.");
        assert_eq!(session.fetch("RETR text").unwrap(), text, "{value}");
        assert_eq!(session.fetch("RETR film").unwrap(), film, "{value}");
        assert!(session.store("STOR text2", text).starts_with("226 "));
        assert!(session.store("STOR film2", film).starts_with("226 "));
        assert_eq!(
            fs::read(files(&host).join("text2")).unwrap(),
            b"a\n",
            "{value}"
        );
        assert_eq!(
            fs::read(files(&host).join("film2")).unwrap(),
            b"\0\n",
            "{value}"
        );
    }
}

#[test]
fn t26_listen_on_ipv6_and_on_a_unix_socket() {
    let host = builder()
        .listen(
            "ftp",
            &[
                "127.0.0.1:{port:ftp}",
                "[::1]:{port:ftp}",
                "unix:{dir}/ftp.sock",
            ],
        )
        .start();
    let port = host.port("ftp");
    let control = TcpStream::connect(("::1", port)).unwrap();
    control.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut session = Session::over(control);
    assert!(session.try_login("xzz", "123456").starts_with("230 "));
    assert!(session.command("PASV").starts_with("425 "));
    assert_eq!(
        session.command("EPSV 1"),
        "522 Bad network protocol, use (2)"
    );
    let reply = session.command("EPSV");
    let port = reply
        .trim_start_matches("229 Entering Extended Passive Mode (|||")
        .trim_end_matches("|)");
    let data = TcpStream::connect(("::1", port.parse().unwrap())).unwrap();
    assert!(session.command("LIST").starts_with("150 "));
    drop(data);
    session.reply();
    // active mode, by EPRT
    let listener = std::net::TcpListener::bind("[::1]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reply = session.command(&format!("EPRT |2|::1|{port}|"));
    assert!(reply.starts_with("200 "), "{reply}");
    assert!(session.command("NLST").starts_with("150 "));
    let (_, from) = listener.accept().unwrap();
    assert_eq!(from.ip().to_string(), "::1");
    assert!(session.reply().starts_with("226 "));
    // a local socket has no address for data connections, but answers
    let socket = std::os::unix::net::UnixStream::connect(host.path().join("ftp.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(&socket));
    assert!(lines.next().unwrap().unwrap().starts_with("220 "));
    std::io::Write::write_all(
        &mut &socket,
        b"USER xzz\r\nPASS 123456\r\nPASV\r\nSTAT\r\nQUIT\r\n",
    )
    .unwrap();
    let replies: Vec<_> = lines.map(Result::unwrap).collect();
    assert_eq!(replies[2], "425 No data connections on this listener.");
    assert_eq!(replies.last().unwrap(), "221 Goodbye.");
}

#[test]
fn t26_a_wrong_setting_is_told_with_its_line() {
    let mut host = builder()
        .settings("ftp", "passive_ports = \"2000\"\nidle_timeout = 0")
        .prepare();
    let told = host.try_start().expect_err("the settings are wrong");
    for expected in [
        "polyport.toml:13:1: services.ftp.settings.passive_ports: expected \"low-high\"",
        "got \"2000\"",
        "polyport.toml:14:1: services.ftp.settings.idle_timeout: expected idle_timeout in the limits of the service, got a setting",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}

#[test]
fn settings_change_under_an_open_session() {
    let host = builder()
        .settings(
            "ftp",
            "banner = \"first\"\npassive_ports = \"{range:ftp-passive}\"",
        )
        .file("files/a.txt", "text\n")
        .start();
    std::os::unix::fs::symlink("a.txt", files(&host).join("link")).unwrap();
    let mut session = Session::login(&host, "xzz", "123456");
    assert!(session.greeting.contains("first"), "{}", session.greeting);
    assert!(session.command("MKD made").starts_with("257 "));
    assert!(session.command("SIZE link").starts_with("213 "));
    let port = polyport_testkit::free_port();
    let before = host.started("ftp");
    let changes = host.change(|text| {
        let keys =
            "banner = \"second\"\nwrite_enable = false\nsymlinks = \"never\"\nport_enable = false\nascii = \"never\"\nmax_login_failures = 1";
        let ports = host.expand("{range:ftp-passive}");
        text.replace("banner = \"first\"", keys)
            .replace(&ports, &format!("{port}-{port}"))
    });
    assert_eq!(changes[0], "ftp: live (settings)", "{changes:#?}");
    assert!(session.command("MKD more").starts_with('5'));
    assert!(session.command("SIZE link").starts_with("550 "));
    assert!(session.command("PORT 127,0,0,1,200,1").starts_with('5'));
    let told = session.command("EPSV");
    assert!(told.contains(&format!("|||{port}|")), "{told}");
    let mut stranger = Session::connect(&host, "ftp");
    assert!(
        stranger.greeting.contains("second"),
        "{}",
        stranger.greeting
    );
    assert!(!stranger.try_login("xzz", "wrong").starts_with("230 "));
    // The session goes on, and is as it was.
    assert!(session.command("CWD made").starts_with("250 "));
    assert_eq!(host.started("ftp"), before);
    let changes =
        host.change(|text| text.replace("banner = ", "anonymous_root = \"files\"\nbanner = "));
    assert_eq!(changes[0], "ftp: swap", "{changes:#?}");
}
