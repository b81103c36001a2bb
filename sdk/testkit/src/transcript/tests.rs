//! The player against servers whose answers are known.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;

/// Says hello, then sends every byte back in upper case.
fn shouting() -> impl FnMut(Event<'_>) -> Answer {
    let mut greeted = false;
    move |event| {
        let close = matches!(event, Event::Closed);
        let bytes = match event {
            Event::Asked if !greeted => {
                greeted = true;
                b"hello you\r\n".to_vec()
            }
            Event::Bytes(bytes) => bytes.to_ascii_uppercase(),
            Event::Passed(time) => format!("after {}\r\n", time.as_secs()).into_bytes(),
            Event::Asked | Event::Closed => Vec::new(),
        };
        Answer { bytes, close }
    }
}

fn failure(text: &str) -> String {
    let transcript = Transcript::parse("t.txt", text);
    let caught = catch_unwind(AssertUnwindSafe(|| {
        transcript.replay(|_| Pure::new(shouting()))
    }));
    *caught
        .expect_err("the replay fails")
        .downcast::<String>()
        .unwrap()
}

#[test]
fn a_core_is_replayed_with_virtual_time() {
    let text = "\
# a remark
eol crlf
== greets and shouts (section 1)
S: hello ...
C: a{name}\\x21 \\\\ {\"json\": {}}
S: ABOB! \\\\ {\"JSON\": {}}
T: 30s
S: after 30
== bytes
S: ...
C-hex: 61 6263
S-hex: 41 .. 43
C-close
S-close
";
    let transcript = Transcript::parse("t.txt", text).var("name", "bob");
    assert_eq!(
        transcript.names().collect::<Vec<_>>(),
        ["greets and shouts (section 1)", "bytes"]
    );
    transcript.replay(|_| Pure::new(shouting()));
}

#[test]
fn a_failure_names_file_line_case_and_both_sides() {
    let message = failure("== x\nS: hello you\\r\\n\nC: abc\nS: XYZ\n== y\nS: hello you\\r\\n\n");
    assert!(message.contains("1 of 2 cases failed"), "{message}");
    assert!(
        message.contains("t.txt:4: == x\n  expected: \"XYZ\"\n       got: \"ABC\""),
        "{message}"
    );
}

#[test]
fn a_core_that_says_more_or_less_fails() {
    assert!(failure("== x\nS: hello\n").contains("more came than expected: \" you\\r\\n\""));
    assert!(
        failure("== x\nS: hello you\\r\\nand\n")
            .contains("got: \"hello you\\r\\n\" and then the end")
    );
}

#[test]
fn a_socket_is_replayed_in_any_split() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 4];
        stream.read_exact(&mut asked).unwrap();
        for byte in b"one\r\ntwo\r\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        asked
    });
    let text = "== x\nC: ping\nS: o...e\\r\\n\nS: two\\r\\n\nC-close\nS-close\n";
    Transcript::parse("t.txt", text).replay(|_| TcpStream::connect(addr).unwrap());
    assert_eq!(&server.join().unwrap(), b"ping");
}

#[test]
fn what_is_no_transcript_is_refused_with_its_line() {
    let refused = |text: &str| parse::parse(text).expect_err("no transcript");
    assert_eq!(
        refused("C: x"),
        (1, "expected `== NAME` before the first line".into())
    );
    assert_eq!(refused("== x\nC-hex: 6").0, 2);
    assert_eq!(refused("== x\nC: \\q").0, 2);
    assert_eq!(
        refused("== x\nT: 3"),
        (2, "expected a time such as 1500ms or 30s, got \"3\"".into())
    );
    assert_eq!(refused("== x\nX: 3").0, 2);
    assert_eq!(refused("== x\n\n"), (2, "case \"x\" has no lines".into()));
    assert_eq!(refused("").1, "no cases");
}
