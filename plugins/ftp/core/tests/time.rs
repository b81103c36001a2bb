//! The engine on a virtual clock: time-outs, drain, revocation, bounds.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::time::{Duration, Instant};

use polyport_ftp_core::{
    Answer, Control, Denial, Opened, Options, Representation, Request, Secured, Stopped, TlsPolicy,
    VirtualPath,
};

const SECOND: Duration = Duration::from_secs(1);

struct Client {
    control: Control,
    start: Instant,
    now: Instant,
}

impl Client {
    fn options() -> Options {
        Options {
            banner: "(polyport)".into(),
            peer: Some([127, 0, 0, 1].into()),
            local: Some([127, 0, 0, 1].into()),
            pasv_enable: true,
            port_enable: true,
            pasv_address: None,
            write_enable: true,
            login_timeout: 60 * SECOND,
            max_line: 4160,
            idle_timeout: 300 * SECOND,
            data_timeout: 60 * SECOND,
            max_login_failures: 3,
            anonymous_enable: true,
            tls: TlsPolicy::default(),
            secured: None,
        }
    }

    fn connect() -> Self {
        let now = Instant::now();
        let options = Self::options();
        let mut client = Self {
            control: Control::new(options, now),
            start: now,
            now,
        };
        assert_eq!(client.replies(), "220 (polyport)\r\n");
        client
    }

    fn login() -> Self {
        let mut client = Self::connect();
        client.send("USER xzz\r\nPASS 123456\r\n");
        assert!(matches!(
            client.control.poll_request(),
            Some(Request::Login { .. })
        ));
        client.answer(Answer::LoggedIn(VirtualPath::root()));
        assert!(client.replies().ends_with("230 Login successful.\r\n"));
        client
    }

    /// A session in the middle of an upload.
    fn uploading() -> Self {
        let mut client = Self::login();
        client.send("PASV\r\n");
        assert!(matches!(
            client.control.poll_request(),
            Some(Request::Listen(_))
        ));
        client.answer(Answer::Listening("127.0.0.1:40000".parse().unwrap()));
        client.send("STOR a.bin\r\n");
        assert!(matches!(
            client.control.poll_request(),
            Some(Request::Store { .. })
        ));
        client.answer(Answer::Opened(Opened {
            size: None,
            representation: Representation::Image,
            name: None,
        }));
        assert!(client.replies().ends_with("150 Ok to send data.\r\n"));
        client
    }

    fn send(&mut self, text: &str) {
        self.control.handle_bytes(self.now, text.as_bytes());
    }

    fn answer(&mut self, answer: Answer) {
        self.control.handle_answer(self.now, answer);
    }

    fn replies(&mut self) -> String {
        String::from_utf8(self.control.poll_transmit().unwrap_or_default()).unwrap()
    }

    /// Seconds from the start to the next deadline.
    fn deadline(&self) -> Option<u64> {
        self.control
            .poll_deadline()
            .map(|deadline| deadline.duration_since(self.start).as_secs())
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn at_deadline(&mut self) {
        self.now = self.control.poll_deadline().unwrap();
        self.control.handle_deadline(self.now);
    }
}

#[test]
fn an_idle_session_ends_a_while_after_its_last_command() {
    let mut client = Client::login();
    assert_eq!(client.deadline(), Some(300));
    client.pass(200 * SECOND);
    client.send("NOO");
    assert_eq!(
        client.deadline(),
        Some(300),
        "a part of a line is no command"
    );
    client.send("P\r\n");
    assert_eq!(client.deadline(), Some(500));
    client.replies();
    client.pass(299 * SECOND);
    client.control.handle_deadline(client.now);
    assert_eq!(client.replies(), "", "woken too early");
    client.at_deadline();
    assert_eq!(client.replies(), "421 Timeout.\r\n");
    assert!(client.control.is_closed());
    assert_eq!(client.deadline(), None);
}

#[test]
fn who_does_not_log_in_is_sent_away_however_busy() {
    let mut client = Client::connect();
    assert_eq!(client.deadline(), Some(60));
    client.pass(59 * SECOND);
    client.send("NOOP\r\n");
    client.replies();
    assert_eq!(client.deadline(), Some(60));
    client.at_deadline();
    assert_eq!(client.replies(), "421 Timeout.\r\n");
    assert!(client.control.is_closed());
}

#[test]
fn a_transfer_that_moves_is_never_idle_and_one_that_stalls_ends() {
    let mut client = Client::uploading();
    for minute in 1..=20 {
        client.pass(59 * SECOND);
        client.control.handle_progress(client.now, minute * 1000);
        assert_eq!(client.deadline(), Some(minute * 59 + 60));
    }
    // told again what is known already: no progress
    client.pass(59 * SECOND);
    client.control.handle_progress(client.now, 20_000);
    client.at_deadline();
    assert_eq!(client.control.poll_request(), Some(Request::Abort));
    assert_eq!(client.deadline(), None, "it is asked to end once");
    client
        .control
        .handle_transfer_end(client.now, Err(Stopped::Aborted));
    assert_eq!(client.replies(), "426 Failure on the data connection.\r\n");
    assert!(!client.control.is_closed());
}

#[test]
fn drain_ends_an_idle_session_at_once_and_a_busy_one_after_its_transfer() {
    let mut idle = Client::login();
    idle.control.handle_drain();
    assert!(idle.replies().starts_with("421 "));
    assert!(idle.control.is_closed());

    let mut busy = Client::uploading();
    busy.control.handle_drain();
    busy.send("PWD\r\n");
    assert_eq!(busy.replies(), "");
    assert!(!busy.control.is_closed());
    busy.control.handle_transfer_end(busy.now, Ok(()));
    let replies = busy.replies();
    assert!(
        replies.starts_with("226 Transfer complete.\r\n421 "),
        "{replies}"
    );
    assert!(busy.control.is_closed());
}

#[test]
fn revocation_stops_a_transfer() {
    let mut client = Client::uploading();
    client.control.handle_revoked();
    assert_eq!(client.control.poll_request(), Some(Request::Abort));
    client
        .control
        .handle_transfer_end(client.now, Err(Stopped::Aborted));
    let replies = client.replies();
    assert!(
        replies.starts_with("426 ") && replies.contains("\r\n421 The account"),
        "{replies}"
    );
    assert!(client.control.is_closed());
}

#[test]
fn whether_an_upload_is_attended() {
    let mut client = Client::uploading();
    assert!(client.control.is_attended());
    client.control.handle_end_of_input();
    assert!(!client.control.is_attended(), "the client has gone");
    assert!(!client.control.is_closed(), "the transfer is still running");

    let mut client = Client::uploading();
    client.send("QUIT\r\n");
    client.control.handle_end_of_input();
    assert!(client.control.is_attended(), "it took its leave");
    client.control.handle_transfer_end(client.now, Ok(()));
    assert_eq!(
        client.replies(),
        "226 Transfer complete.\r\n221 Goodbye.\r\n"
    );
}

#[test]
fn what_is_sent_before_the_end_of_input_is_carried_out() {
    let mut client = Client::login();
    client.send("CWD sub\r\nPWD\r\n");
    client.control.handle_end_of_input();
    assert!(!client.control.is_closed());
    assert!(matches!(
        client.control.poll_request(),
        Some(Request::Enter(_))
    ));
    client.answer(Answer::Done);
    assert!(client.replies().ends_with("257 \"/sub\"\r\n"));
    assert!(client.control.is_closed());
}

#[test]
fn a_flood_behind_a_slow_command_ends_the_session() {
    let mut client = Client::login();
    client.send("CWD sub\r\n");
    client.send(&"NOOP\r\n".repeat(1000));
    assert!(!client.control.is_closed());
    client.send("NOOP\r\n");
    client.answer(Answer::Done);
    let replies = client.replies();
    assert!(replies.contains("\r\n421 Too many commands"), "{replies}");
    assert!(client.control.is_closed());
}

#[test]
fn a_busy_password_check_is_no_failed_login() {
    let mut client = Client::connect();
    for _ in 0..10 {
        client.send("USER xzz\r\nPASS 123456\r\n");
        assert!(matches!(
            client.control.poll_request(),
            Some(Request::Login { .. })
        ));
        client.answer(Answer::Denied(Denial::Busy));
        assert!(
            client
                .replies()
                .contains("530 Too many logins at the moment")
        );
    }
    assert!(!client.control.is_closed());
}

#[test]
fn a_new_user_begins_with_new_parameters() {
    let mut client = Client::login();
    client.send("TYPE I\r\nREST 5\r\nUSER other\r\n");
    assert_eq!(client.control.poll_request(), Some(Request::Logout));
    client.send("PWD\r\n");
    assert!(
        client
            .replies()
            .ends_with("530 Please login with USER and PASS.\r\n")
    );
    client.send("PASS x\r\n");
    client.control.poll_request();
    client.answer(Answer::LoggedIn(VirtualPath::root()));
    client.send("STAT\r\n");
    let replies = client.replies();
    assert!(
        replies.contains("TYPE: ASCII") && replies.contains("Logged in as other"),
        "{replies}"
    );
    client.send("REIN\r\n");
    assert!(client.replies().starts_with("220 "));
    assert_eq!(client.control.user(), None);
}

#[test]
fn auth_ends_a_login_in_clear() {
    let mut client = Client::connect();
    client.control = Control::new(
        Options {
            tls: TlsPolicy {
                offered: true,
                ..TlsPolicy::default()
            },
            ..Client::options()
        },
        client.now,
    );
    client.replies();
    client.send("USER xzz\r\nPASS 123456\r\n");
    assert!(matches!(
        client.control.poll_request(),
        Some(Request::Login { .. })
    ));
    client.answer(Answer::LoggedIn(VirtualPath::root()));
    client.send("AUTH TLS\r\n");
    assert_eq!(client.control.poll_request(), Some(Request::Logout));
    assert_eq!(client.control.poll_request(), Some(Request::Secure));
    client.answer(Answer::Secured(Secured { certified: false }));
    client.replies();
    client.send("PWD\r\n");
    assert!(client.replies().starts_with("530 "));
}

#[test]
fn every_refusal_of_a_login_has_its_reply() {
    for (denial, reply, counts) in [
        (Denial::Credentials, "530 Login incorrect.", true),
        (Denial::NotHere, "530 The account may not log in", true),
        (
            Denial::TooManySessions,
            "530 The account has too many",
            false,
        ),
        (Denial::NeedsTls, "530 Non-anonymous sessions must", false),
        (Denial::Busy, "530 Too many logins", false),
    ] {
        let mut client = Client::connect();
        for _ in 0..3 {
            client.send("USER xzz\r\nPASS 123456\r\n");
            assert!(matches!(
                client.control.poll_request(),
                Some(Request::Login { .. })
            ));
            client.answer(Answer::Denied(denial));
            let replies = client.replies();
            assert!(replies.contains(reply), "{denial:?}: {replies}");
        }
        // the third failure ends the connection, what is no failure does not
        assert_eq!(client.control.is_closed(), counts, "{denial:?}");
    }
}
