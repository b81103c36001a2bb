//! Nobody is refused, whichever process has the sockets; the control socket answers all the time.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use polyport_testkit::{Host, Signal, eventually};

use super::{Upgradable, generation, keeper, service};

const UPGRADES: usize = 3;

fn echoes() -> polyport_testkit::Builder {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .listen(
            "one",
            &["127.0.0.1:{port:one}", "unix:{dir}/one.sock", "127.0.0.1:0"],
        )
        .settings("one", "greeting = \"hello\"")
        .host_keys("quiet_time = \"50ms\"\ndrain_timeout = \"5s\"")
}

#[test]
fn nobody_is_refused_and_the_control_socket_answers_all_the_time() {
    let host = Upgradable::start(echoes());
    let listen = service(&host.status(), "one")["listen"].clone();
    let done = AtomicBool::new(false);
    let served = AtomicU64::new(0);
    let hears_hello = |stream: &mut dyn BufRead| {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "hello\n");
        served.fetch_add(1, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    hears_hello(&mut BufReader::new(host.connect("one")));
                    let unix = UnixStream::connect(host.path().join("one.sock")).unwrap();
                    hears_hello(&mut BufReader::new(unix));
                }
            });
        }
        let asking = scope.spawn(|| {
            let mut answers = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(host.serving() > 0);
                answers += 1;
            }
            answers
        });
        for _ in 0..UPGRADES {
            host.upgrade();
        }
        done.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > UPGRADES);
    });
    assert!(served.into_inner() > 100);
    assert_eq!(service(&host.status(), "one")["listen"], listen);
    assert_eq!(generation(&host), 1);
    host.command(&["stop"]).expect_success();
    eventually("the files of the sockets are gone", || {
        let gone = |name: &str| !host.path().join(name).exists();
        (gone("one.sock") && gone("state/control.sock")).then_some(())
    });
}

#[test]
fn usr2_upgrades_as_well_and_what_changed_is_a_generation() {
    let mut host = Upgradable::start(echoes());
    host.edit_config(|text| {
        let text = text.replace("quiet_time = \"50ms\"", "quiet_time = \"1m\"");
        let (before, after) = text.split_once(", \"unix:").unwrap();
        let (_, after) = after.split_once('"').unwrap();
        format!("{before}{after}").replace("hello", "good day")
    });
    let old = host.pid();
    host.signal(Signal::USR2);
    host.first_ended();
    let status = host.status();
    assert_ne!(status["pid"], old);
    assert_eq!(status["generation"], 2);
    let mut line = String::new();
    BufReader::new(host.connect("one"))
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "good day\n");
    assert!(!host.path().join("one.sock").exists());
}

#[test]
fn a_service_that_did_not_run_does_not_hold_an_upgrade_up() {
    let builder = keeper("")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("two", "mode = \"fail-at-start\"");
    let mut host = Upgradable::start(builder);
    host.upgrade();
    host.first_ended();
    assert_eq!(service(&host.status(), "two")["state"], "failed");
    assert_eq!(service(&host.status(), "one")["state"], "ready");
}
