//! Properties of the engine under any input.

use std::time::{Duration, Instant};

use polyport_ftp_core::{
    Answer, Control, Failure, Options, Request, Secured, TlsPolicy, VirtualPath, address, command,
    path,
};
use proptest::prelude::*;

fn options() -> Options {
    Options {
        banner: "(polyport)".into(),
        peer: Some([127, 0, 0, 1].into()),
        local: Some([127, 0, 0, 1].into()),
        pasv_enable: true,
        port_enable: true,
        pasv_address: None,
        write_enable: true,
        login_timeout: Duration::from_secs(60),
        max_line: 4160,
        idle_timeout: Duration::from_secs(300),
        data_timeout: Duration::from_secs(300),
        max_login_failures: 3,
        anonymous_enable: true,
        tls: TlsPolicy::default(),
        secured: None,
    }
}

/// Feeds the stream in the given pieces, answers every request alike and returns the output.
fn converse(pieces: &[&[u8]], logged_in: bool) -> Vec<u8> {
    converse_with(pieces, logged_in, |control| control)
}

/// The same, and `between` the pieces something else happens.
fn converse_with(
    pieces: &[&[u8]],
    logged_in: bool,
    between: impl Fn(Control) -> Control,
) -> Vec<u8> {
    let now = Instant::now();
    let mut control = Control::new(options(), now);
    let mut output = Vec::new();
    let mut answer = |control: &mut Control| {
        for _ in 0..10_000 {
            let Some(request) = control.poll_request() else {
                break;
            };
            match request {
                Request::Login { .. } if logged_in => {
                    control.handle_answer(now, Answer::LoggedIn(VirtualPath::root()));
                }
                Request::Logout | Request::Abort => {}
                _ => control.handle_answer(now, Answer::Failed(Failure::NotFound)),
            }
        }
        output.extend(control.poll_transmit().unwrap_or_default());
    };
    for piece in pieces {
        control.handle_bytes(now, piece);
        answer(&mut control);
        control = between(control);
    }
    control.handle_end_of_input();
    answer(&mut control);
    assert!(control.is_closed());
    output
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let verb = prop::sample::select(command::VERBS);
    (verb, prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(verb, argument)| [verb.as_bytes(), b" ", &argument, b"\r\n"].concat())
}

proptest! {
    /// Whatever arrives, each line of output is a well-formed reply line, and how the stream was
    /// cut makes no difference.
    #[test]
    fn replies_are_well_formed_and_do_not_depend_on_the_cut(
        lines in prop::collection::vec(line(), 0..20),
        cut in 0..800_usize,
        logged_in: bool,
    ) {
        let stream = [&b"USER a\r\nPASS b\r\n"[..], &lines.concat()].concat();
        let cut = cut.min(stream.len());
        let whole = converse(&[&stream], logged_in);
        prop_assert_eq!(&whole, &converse(&[&stream[..cut], &stream[cut..]], logged_in));
        prop_assert!(whole.ends_with(b"\r\n"));
        for line in whole.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            prop_assert!(line.ends_with(b"\r"));
            let is_reply = line[..3].iter().all(u8::is_ascii_digit) && matches!(line[3], b' ' | b'-');
            prop_assert!(is_reply || line[0] == b' ', "{:?}", String::from_utf8_lossy(line));
        }
    }

    /// A client does not notice that another engine goes on, wherever in its stream that is.
    #[test]
    fn another_engine_goes_on_anywhere(
        lines in prop::collection::vec(line(), 0..20),
        cuts in prop::collection::vec(0..400_usize, 0..5),
        logged_in: bool,
    ) {
        let stream = [&b"USER a\r\nPASS b\r\n"[..], &lines.concat()].concat();
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
        cuts.sort_unstable();
        let ends = cuts.iter().copied().chain([stream.len()]);
        let mut begin = 0;
        let pieces: Vec<_> = ends.map(|end| {
            let piece = &stream[begin..end];
            begin = end;
            piece
        }).collect();
        let now = Instant::now();
        let crossed = converse_with(&pieces, logged_in, |control| match control.carry(now) {
            Some((carried, begun)) => {
                let mut control = Control::resume(options(), now, carried).unwrap();
                control.handle_bytes(now, &begun);
                control
            }
            None => {
                // QUIT, or three failed logins
                assert!(control.is_closed());
                control
            }
        });
        prop_assert_eq!(crossed, converse(&[&stream], logged_in));
    }

    #[test]
    fn any_line_parses_or_is_refused(line in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = command::parse(&line);
    }

    /// However it is written, a path stays beneath the root and is in its shortest form.
    #[test]
    fn paths_stay_beneath_the_root(first in "[a-z./]{0,40}", second in "\\PC{0,40}") {
        let resolved = VirtualPath::root().join(&first).and_then(|path| path.join(&second));
        match resolved {
            Ok(path) => {
                prop_assert!(path.as_str().starts_with('/'));
                let inner = path.as_str()[1..].split('/');
                prop_assert!(path.is_root() || inner.clone().all(|name| !matches!(name, "" | "." | "..")));
            }
            Err(bad) => prop_assert_eq!(bad, path::BadPath::TooLong),
        }
    }

    /// No byte that came in clear behind AUTH is carried out as if it had come over TLS
    /// (CVE-2011-0411): with it in the same piece there is no TLS, and later it is thrown away.
    #[test]
    fn what_comes_in_clear_behind_auth_is_never_carried_out_over_tls(
        lines in prop::collection::vec(line(), 1..5),
        cut in 1..200_usize,
    ) {
        let now = Instant::now();
        let tls = TlsPolicy { offered: true, ..TlsPolicy::default() };
        let behind = lines.concat();
        let behind = &behind[..cut.min(behind.len())];
        let mut control = Control::new(Options { tls, ..options() }, now);
        control.handle_bytes(now, &[b"AUTH TLS\r\n", behind].concat());
        while let Some(request) = control.poll_request() {
            prop_assert_ne!(&request, &Request::Secure);
        }

        let mut control = Control::new(Options { tls, ..options() }, now);
        control.handle_bytes(now, b"AUTH TLS\r\n");
        prop_assert_eq!(control.poll_request(), Some(Request::Secure));
        let before = control.poll_transmit().unwrap_or_default();
        prop_assert!(before.ends_with(b"234 Proceed with negotiation.\r\n"));
        control.handle_bytes(now, behind);
        control.handle_answer(now, Answer::Secured(Secured { certified: false }));
        prop_assert_eq!(control.poll_request(), None);
        prop_assert_eq!(control.poll_transmit(), None);
        // and what comes over TLS begins a line of its own
        control.handle_bytes(now, b"NOOP\r\n");
        prop_assert_eq!(control.poll_transmit(), Some(b"200 NOOP ok.\r\n".to_vec()));
    }

    #[test]
    fn any_argument_of_port_and_eprt_parses_or_is_refused(argument in "\\PC{0,60}") {
        let _ = address::parse_host_port(&argument);
        let _ = address::parse_extended(&argument);
        let _ = address::parse_protocol(&argument);
    }

    /// What is written as RFC 959 and RFC 2428 have it is read back.
    #[test]
    fn addresses_survive_the_round_trip(
        ip in any::<std::net::IpAddr>(),
        port: u16,
        delimiter in "[!-/;-@\\[-`{-~]",
    ) {
        // those of the address itself cannot delimit it
        prop_assume!(delimiter != "." && delimiter != ":");
        let address = std::net::SocketAddr::new(ip, port);
        let (number, text) = match ip {
            std::net::IpAddr::V4(ip) => {
                let written = address::format_host_port(ip, port);
                prop_assert_eq!(address::parse_host_port(&written), Some(address));
                (1, ip.to_string())
            }
            std::net::IpAddr::V6(ip) => (2, ip.to_string()),
        };
        let d = delimiter;
        let written = format!("{d}{number}{d}{text}{d}{port}{d}");
        prop_assert_eq!(address::parse_extended(&written), Ok(address));
        prop_assert!(address::parse_extended(&written[..written.len() - 1]).is_err());
    }
}
