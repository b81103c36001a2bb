//! Logins and rights over real sockets: tokens, client identifiers, sessions that an account may have, what a
//! changed account loses.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use polyport_testkit::Host;

/// A client of MQTT 3.1.1 or 5.0, byte by byte.
struct Wire {
    stream: TcpStream,
    five: bool,
    /// Topics of messages that nobody asked for yet.
    received: Vec<String>,
}

/// A string with its length.
fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

impl Wire {
    /// Connects and gives the return or reason code; `properties` are those of a 5.0 CONNECT.
    fn connect(
        host: &Host,
        five: bool,
        (id, keep): (&str, bool),
        (user, password): (Option<&str>, Option<&str>),
    ) -> (Wire, u8, Vec<u8>) {
        let mut wire = Wire {
            stream: host.connect("mqtt"),
            five,
            received: Vec::new(),
        };
        let mut body = text("MQTT");
        let flags = u8::from(!keep) << 1
            | u8::from(user.is_some()) << 7
            | u8::from(password.is_some()) << 6;
        body.extend([4 + u8::from(five), flags, 0, 60]);
        if five && keep {
            body.extend([5, 0x11, 0, 0, 1, 0]);
        } else if five {
            body.push(0);
        }
        for field in [Some(id), user, password].into_iter().flatten() {
            body.extend(text(field));
        }
        wire.send(0x10, &body);
        let (first, answer) = wire.receive();
        assert_eq!(first, 0x20, "{answer:02x?}");
        let code = answer[1];
        (wire, code, answer)
    }

    /// As who the tests are about.
    fn login(host: &Host, five: bool, id: &str, user: &str) -> Wire {
        let (wire, code, _) = Wire::connect(host, five, (id, true), (Some(user), Some("x")));
        assert_eq!(code, 0, "{user} {id}");
        wire
    }

    fn send(&mut self, first: u8, body: &[u8]) {
        assert!(body.len() < 128);
        let packet = [&[first, body.len() as u8], body].concat();
        self.stream.write_all(&packet).unwrap();
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; usize::from(head[1])];
        self.stream.read_exact(&mut body).unwrap();
        (head[0], body)
    }

    /// The next packet that is no message; messages before it are acknowledged and kept in mind.
    fn answer(&mut self) -> (u8, Vec<u8>) {
        loop {
            let (first, body) = self.receive();
            if first >> 4 != 3 {
                return (first, body);
            }
            assert_eq!(first & 0x06, 0x02, "{first:02x} {body:02x?}");
            let end = 2 + usize::from(body[1]);
            self.received
                .push(String::from_utf8(body[2..end].to_vec()).unwrap());
            self.send(0x40, &body[end..end + 2]);
        }
    }

    /// The code of a SUBACK.
    fn subscribe(&mut self, filter: &str) -> u8 {
        let properties: &[u8] = if self.five { b"\x00" } else { b"" };
        self.send(
            0x82,
            &[b"\x00\x01", properties, &text(filter), b"\x01"].concat(),
        );
        let (first, body) = self.answer();
        assert_eq!(first, 0x90, "{body:02x?}");
        *body.last().unwrap()
    }

    /// The reason code of a PUBACK; 0 in 3.1.1.
    fn publish(&mut self, topic: &str, retain: bool) -> u8 {
        let properties: &[u8] = if self.five { b"\x00" } else { b"" };
        let body = [&text(topic), &b"\x00\x07"[..], properties, b"m"].concat();
        self.send(0x32 | u8::from(retain), &body);
        let (first, body) = self.answer();
        assert_eq!(first, 0x40, "{body:02x?}");
        body.get(2).copied().unwrap_or(0)
    }

    /// Topics of the messages that came before the answer to a PINGREQ.
    fn topics(&mut self) -> Vec<String> {
        self.send(0xc0, b"");
        assert_eq!(self.answer().0, 0xd0);
        std::mem::take(&mut self.received)
    }

    /// What comes until the broker ends the connection.
    fn end(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }

    /// Leaves without a word, and waits until the broker knows.
    fn leave(self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
        self.end();
    }
}

fn host(accounts: &str) -> Host {
    Host::builder().service("mqtt").accounts(accounts).start()
}

#[test]
fn a_token_logs_in_with_and_without_the_name_of_its_account() {
    let host = host("[a]\npassword = x\nallow.1 = publish,subscribe own/%c/#\n[b]\npassword = x\n");
    let said = host
        .command(&[
            "user",
            "token",
            "add",
            "a",
            "--name",
            "ci",
            "--expires",
            "1h",
        ])
        .expect_success()
        .stdout();
    let token = said
        .split_whitespace()
        .find(|word| word.starts_with("pp_"))
        .unwrap();
    host.command(&["reload", "--wait"]).expect_success();
    for (five, user, code) in [
        (true, None, 0),
        (true, Some("a"), 0),
        (false, Some("a"), 0),
        (true, Some("b"), 0x86),
        (false, Some("b"), 4),
    ] {
        let (mut wire, got, _) = Wire::connect(&host, five, ("c", false), (user, Some(token)));
        assert_eq!(got, code, "{five} {user:?}");
        if code == 0 {
            assert_eq!(wire.subscribe("own/c/#"), 1);
            assert_eq!(wire.subscribe("own/d/#"), if five { 0x87 } else { 0x80 });
        }
    }
    let (_, code, _) = Wire::connect(&host, true, ("c", false), (None, Some("pp_wrong")));
    assert_eq!(code, 0x86);
    // A name alone asks for a certificate, and there is none.
    let (_, code, _) = Wire::connect(&host, false, ("c", false), (Some("a"), None));
    assert_eq!(code, 4);
}

#[test]
fn an_identifier_that_the_server_gave_counts_for_the_rules() {
    let host = host("[a]\npassword = x\nallow.1 = publish,subscribe own/%c/#\n");
    let (mut wire, code, answer) = Wire::connect(&host, true, ("", false), (Some("a"), Some("x")));
    assert_eq!(code, 0);
    let at = answer
        .windows(5)
        .position(|window| window == b"auto-")
        .unwrap();
    let id = std::str::from_utf8(&answer[at..at + 37]).unwrap();
    assert_eq!(wire.subscribe(&format!("own/{id}/#")), 1);
    assert!(wire.publish(&format!("own/{id}/x"), false) < 0x80);
    assert_eq!(wire.topics(), [format!("own/{id}/x")]);
    assert_eq!(wire.publish("own/auto-/x", false), 0x87);
}

#[test]
fn wildcards_in_a_client_identifier_widen_no_rule() {
    let host = host(
        "[a]\npassword = x\nallow.1 = publish,subscribe dev/%c/#\n[observer]\npassword = x\n[b]\npassword = x\n\
         allow.1 = subscribe #\ndeny.1 = subscribe dev/%c/#\n",
    );
    let mut observer = Wire::login(&host, true, "observer", "observer");
    assert_eq!(observer.subscribe("#"), 1);
    for five in [false, true] {
        let denied = if five { 0x87 } else { 0x80 };
        for id in ["#", "+", "a/b", "+/#", "c/#", "../x", "%u", "%c", "$share"] {
            let mut wire = Wire::login(&host, five, id, "a");
            let plain = !id.contains(['/', '+', '#']);
            for filter in ["#", "dev/#", "dev/+/x", "dev/other/#", "dev/+/#"] {
                // Only what overlaps with the client's own topics may be subscribed to, and then brings only those.
                let some = plain && !filter.contains("other");
                assert_eq!(wire.subscribe(filter) < 0x80, some, "{five} {id} {filter}");
            }
            for topic in ["dev/other/x", "dev", "x"] {
                let code = wire.publish(topic, false);
                assert!(!five || code == 0x87, "{id} {topic} {code:02x}");
            }
            if plain {
                let own = format!("dev/{id}/x");
                assert!(wire.publish(&own, false) < 0x80);
                assert_eq!(wire.topics(), [own.as_str()], "{five} {id}");
                assert_eq!(observer.topics(), [own]);
            } else {
                assert_eq!(observer.topics(), [""; 0], "{five} {id}");
            }
            wire.leave();
            // What an odd identifier might be meant by is denied.
            let mut wire = Wire::login(&host, five, id, "b");
            assert!(wire.subscribe("news/#") < 0x80);
            assert_eq!(
                wire.subscribe("dev/c/#"),
                if plain { 1 } else { denied },
                "{id}"
            );
            wire.leave();
        }
    }
}

#[test]
fn an_account_has_as_many_connections_as_it_may_and_its_own_are_taken_over() {
    let host = host("[a]\npassword = x\nmax_sessions = 1\n[b]\npassword = x\n");
    for five in [false, true] {
        let login = (Some("a"), Some("x"));
        let (first, code, _) = Wire::connect(&host, five, ("one", false), login);
        assert_eq!(code, 0);
        let (other, code, _) = Wire::connect(&host, five, ("two", false), login);
        assert_eq!(code, if five { 0x97 } else { 3 });
        assert_eq!(other.end(), b"");
        // The same client again: the connection before it may be dead and not known to be.
        let (mut again, code, _) = Wire::connect(&host, five, ("one", false), login);
        assert_eq!(code, 0);
        let farewell: &[u8] = if five { b"\xe0\x01\x8e" } else { b"" };
        assert_eq!(first.end(), farewell);
        assert_eq!(again.topics(), [""; 0]);
        // Somebody else's is not ended for it.
        let mut theirs = Wire::login(&host, five, "theirs", "b");
        let (_, code, _) = Wire::connect(&host, five, ("theirs", false), login);
        assert_eq!(code, if five { 0x97 } else { 3 });
        assert_eq!(theirs.topics(), [""; 0]);
        theirs.leave();
        again.leave();
    }
}

#[test]
fn a_right_that_is_lost_ends_the_session_and_what_waits_is_not_sent() {
    let accounts = "[a]\npassword = x\nallow.1 = publish,subscribe t/#\n[b]\npassword = x\n";
    let fewer = accounts.replace("t/#\n", "t/#\ndeny.1 = all t/+/secret/#\n");
    let host = host(accounts);
    for five in [false, true] {
        host.edit_accounts(|_| accounts.to_owned());
        host.command(&["reload", "--wait"]).expect_success();
        let topic = |rest: &str| format!("t/{five}/{rest}");
        let (a_id, b_id) = (format!("a-{five}"), format!("b-{five}"));
        let mut b = Wire::login(&host, five, &b_id, "b");
        let mut a = Wire::login(&host, five, &a_id, "a");
        assert_eq!(a.subscribe(&topic("#")), 1);
        b.publish(&topic("secret/1"), false);
        assert_eq!(a.topics(), [topic("secret/1")]);
        host.edit_accounts(|_| fewer.clone());
        let end = a.end();
        if five {
            assert_eq!((end[0], end[2]), (0xe0, 0x87), "{end:02x?}");
        } else {
            assert_eq!(end, b"");
        }
        for rest in ["secret/2", "plain"] {
            b.publish(&topic(rest), false);
        }
        for rest in ["secret/kept", "kept"] {
            b.publish(&topic(rest), true);
        }
        // The session is there, with what it may still receive.
        let mut a = Wire::login(&host, five, &a_id, "a");
        assert_eq!(a.topics(), [topic("plain"), topic("kept")]);
        b.publish(&topic("secret/3"), false);
        b.publish(&topic("more"), false);
        assert_eq!(a.topics(), [topic("more")]);
        assert_eq!(a.subscribe(&topic("#")), 1);
        assert_eq!(a.topics(), [topic("kept")], "of the retained ones");
        assert!(a.subscribe(&topic("secret/#")) >= 0x80);
        assert!(!five || a.publish(&topic("secret/4"), false) == 0x87);
        assert_eq!(b.topics(), [""; 0]);
        a.leave();
        b.leave();
    }
}

#[test]
fn a_service_that_takes_passwords_over_tls_only_says_so() {
    let host = Host::builder()
        .service("mqtt")
        .keys("mqtt", "require_tls = true")
        .accounts("[a]\npassword = x\n[anonymous]\nservices = mqtt\n")
        .start();
    let login = (Some("a"), Some("x"));
    let (_, code, _) = Wire::connect(&host, false, ("c", false), login);
    assert_eq!(code, 5);
    let (_, code, answer) = Wire::connect(&host, true, ("c", false), login);
    assert_eq!(code, 0x87);
    let why = String::from_utf8_lossy(&answer);
    assert!(why.contains("login needs TLS"), "{why}");
    let (_, code, _) = Wire::connect(&host, true, ("c", false), (None, None));
    assert_eq!(code, 0, "who is anonymous has no password");
}

#[test]
fn an_account_of_another_service_is_told_so_after_its_password() {
    let host = host("[a]\npassword = x\nservices = files\n");
    for (five, password, code) in [
        (false, "x", 5),
        (true, "x", 0x87),
        (false, "y", 4),
        (true, "y", 0x86),
    ] {
        let (_, got, _) = Wire::connect(&host, five, ("c", false), (Some("a"), Some(password)));
        assert_eq!(got, code, "{five} {password}");
    }
}
