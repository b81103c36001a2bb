//! Generations: numbered over restarts, kept on the disk whole or not at all, fallen back to at a start with broken
//! files, rolled back to, and taken back when a changed instance gets into trouble.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use polyport_testkit::{Host, Signal, USER, eventually};
use serde_json::Value;

/// Services `one` (echo) and `two` (misbehaving), quick to notice changes.
fn builder(host_keys: &str) -> polyport_testkit::Builder {
    Host::builder()
        .plugin("one", "echo", "polyport-echo")
        .plugin("two", "misbehaving", "polyport-misbehaving")
        .settings("one", "greeting = \"first\"")
        .settings("two", "word = \"first\"")
        .host_keys(&format!(
            "ready_timeout = \"2s\"\ndrain_timeout = \"5s\"\n{host_keys}"
        ))
}

fn host() -> Host {
    builder("quiet_time = \"50ms\"\n").start()
}

fn greeting(host: &Host) -> String {
    let mut line = String::new();
    BufReader::new(host.connect("one"))
        .read_line(&mut line)
        .unwrap();
    line.trim_end().to_owned()
}

fn word(stream: &mut BufReader<TcpStream>) -> String {
    stream.get_mut().write_all(b"word\n").unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

fn greet(host: &Host, from: &str, to: &str) {
    let line = |word: &str| format!("greeting = {word:?}");
    host.edit_config(|text| text.replace(&line(from), &line(to)));
}

fn generation(host: &Host) -> u64 {
    host.status()["generation"].as_u64().unwrap()
}

fn await_generation(host: &Host, number: u64) -> Value {
    host.wait_status("the next generation", |status| {
        status["generation"] == number
    })
}

fn reload(host: &Host) -> String {
    host.command(&["reload", "--wait"])
        .expect_success()
        .stdout()
}

fn generations(host: &Host) -> Vec<Value> {
    let answer = host
        .command(&["generations", "--json"])
        .expect_success()
        .json();
    answer["generations"].as_array().unwrap().clone()
}

fn hash_of(status: &Value, service: &str) -> String {
    let mut services = status["services"].as_array().unwrap().iter();
    let service = services.find(|one| one["name"] == service).unwrap();
    service["hash"].as_str().unwrap().to_owned()
}

fn library(host: &Host, name: &str) -> PathBuf {
    host.path().join(format!("plugins/libpolyport_{name}.so"))
}

/// Another library of the same code.
fn rebuild(host: &Host, name: &str) {
    let mut whole = std::fs::read(library(host, name)).unwrap();
    whole.push(0);
    let fresh = host.path().join("fresh.so");
    std::fs::write(&fresh, &whole).unwrap();
    std::fs::rename(&fresh, library(host, name)).unwrap();
}

/// Has a connection of `two` panic, which degrades the instance.
fn panic_two(host: &Host) {
    let mut doomed = host.connect("two");
    doomed.write_all(b"panic\n").unwrap();
    let mut line = String::new();
    // Closed, in order or not.
    let _ = BufReader::new(doomed).read_line(&mut line);
}

#[test]
fn numbers_go_on_over_restarts_and_what_changes_nothing_makes_none() {
    let mut host = host();
    let first = host.status();
    assert_eq!(first["generation"], 1);
    assert_eq!(first["generation_cause"], "start");
    assert_eq!(first["files_overridden"], Value::Null);
    host.edit_config(|text| format!("# a comment\n{text}"));
    assert_eq!(reload(&host), "generation 1\n");
    greet(&host, "first", "second");
    let second = await_generation(&host, 2);
    assert_ne!(first["generation_hash"], second["generation_hash"]);
    host.restart();
    let again = host.status();
    for key in [
        "generation",
        "generation_hash",
        "generation_time",
        "generation_cause",
    ] {
        assert_eq!(again[key], second[key], "{key}");
    }
    host.kill9();
    greet(&host, "second", "third");
    host.start();
    assert_eq!(generation(&host), 3);

    let kept = generations(&host);
    assert_eq!(kept.len(), 3);
    let changes = kept[1]["changes"].to_string();
    assert!(
        changes.contains("services.one.settings.greeting: \\\"first\\\" -> \\\"second\\\""),
        "{changes}"
    );
    assert!(kept.iter().all(|one| one["result"] == "good"), "{kept:#?}");
    let list = host.command(&["generations"]).expect_success().stdout();
    assert!(list.contains("*      3  20"), "{list}");

    // Accounts are inside: nobody else may read them.
    let folder = host.path().join("state/generations/000003");
    let mode = |path: PathBuf| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(folder.join("accounts.ini")), 0o600);
    assert_eq!(mode(folder), 0o700);
}

#[test]
fn as_many_are_kept_as_configured_with_their_libraries() {
    let mut host = builder("quiet_time = \"1m\"\ngenerations = 2\n").start();
    let copies = |host: &Host| {
        let copies = std::fs::read_dir(host.path().join("state/lib")).unwrap();
        copies.count()
    };
    for number in 2..5 {
        rebuild(&host, "echo");
        assert_eq!(reload(&host), format!("generation {number}\n"));
    }
    let kept = generations(&host);
    assert_eq!((kept[0]["number"].as_u64(), kept.len()), (Some(3), 2));
    assert_eq!(copies(&host), 4 + 1, "four of echo, one of misbehaving");
    host.restart();
    assert_eq!(generation(&host), 4);
    assert_eq!(copies(&host), 2 + 1);
}

#[test]
fn files_that_cannot_be_used_at_a_start_are_replaced_by_the_last_good_generation() {
    let mut host = host();
    greet(&host, "first", "second");
    await_generation(&host, 2);
    let config = std::fs::read_to_string(host.config()).unwrap();
    let accounts = std::fs::read_to_string(host.path().join("accounts.ini")).unwrap();
    let echo = std::fs::read(library(&host, "echo")).unwrap();
    let mut number = 2;

    let falls_back = |host: &mut Host, number: &mut u64, what: &str, expected: &str| {
        let mark = host.log_mark();
        host.start();
        let warning = format!("running generation {number}: the files are refused: ");
        host.wait_log(mark, &warning);
        let told = host.status();
        assert_eq!(told["generation"], *number, "{what}");
        assert_eq!(greeting(host), "second", "{what}");
        for key in ["files_overridden", "last_error"] {
            let text = told[key]
                .as_str()
                .unwrap_or_else(|| panic!("{what}: {told:#}"));
            assert!(text.contains(expected), "{what}: {key}: {text}");
        }
        let check = host.command(&["check"]).expect_code(1).stdout();
        assert!(check.contains(expected), "{what}: {check}");
        // Good files that say the same make no generation; they count again.
        let good = config.clone();
        host.edit_config(|_| good);
        let good = accounts.clone();
        host.edit_accounts(|_| good);
        std::fs::write(library(host, "echo"), &echo).unwrap();
        host.wait_status("the files count again", |status| {
            status["files_overridden"].is_null()
        });
        assert_eq!(generation(host), *number, "{what}");
        // And others make one.
        host.edit_accounts(|text| format!("{text}\n[extra{number}]\npassword = x\n"));
        *number += 1;
        await_generation(host, *number);
        let good = accounts.clone();
        host.edit_accounts(|_| good);
        *number += 1;
        await_generation(host, *number);
        host.kill9();
    };
    host.kill9();
    host.edit_config(|text| format!("{text}\n[host\n"));
    falls_back(&mut host, &mut number, "syntax", "polyport.toml:");
    host.edit_config(|text| text.replace("greeting = \"second\"", "greeting = 5"));
    falls_back(
        &mut host,
        &mut number,
        "settings",
        "expected a string, got 5",
    );
    host.edit_accounts(|_| "[alice\n".into());
    falls_back(&mut host, &mut number, "accounts", "accounts.ini:1:");
    std::fs::write(library(&host, "echo"), &echo[..echo.len() / 2]).unwrap();
    falls_back(&mut host, &mut number, "a truncated library", "cut short");
    std::fs::remove_file(library(&host, "echo")).unwrap();
    falls_back(&mut host, &mut number, "no library", "libpolyport_echo.so");
}

#[test]
fn without_a_last_good_generation_broken_files_end_the_start() {
    let mut host = builder("").prepare();
    host.edit_config(|text| format!("{text}\n[host\n"));
    let log = host.try_start().unwrap_err();
    assert!(log.contains("polyport.toml:"), "{log}");
    assert!(!host.path().join("state/generations").exists());
}

#[test]
fn a_rollback_stays_until_the_files_change_or_are_asked_for() {
    let mut host = host();
    greet(&host, "first", "second");
    await_generation(&host, 2);
    let file = std::fs::read_to_string(host.config()).unwrap();
    assert_eq!(
        host.command(&["rollback"]).expect_success().stdout(),
        "generation 3\n"
    );
    assert_eq!(greeting(&host), "first");
    let status = host.status();
    assert_eq!(status["generation_cause"], "rollback to 1");
    let told = status["files_overridden"].as_str().unwrap();
    assert!(
        told.starts_with("running generation 3: rollback to 1"),
        "{told}"
    );
    assert_eq!(std::fs::read_to_string(host.config()).unwrap(), file);

    // Neither a signal nor a restart of a service or of the process brings the files back.
    let mark = host.log_mark();
    host.signal(Signal::HUP);
    host.wait_log(mark, "reload (SIGHUP): nothing changed");
    host.command(&["restart", "one"]).expect_success();
    assert_eq!((greeting(&host).as_str(), generation(&host)), ("first", 4));
    host.restart();
    assert_eq!((greeting(&host).as_str(), generation(&host)), ("first", 4));
    assert!(host.status()["files_overridden"].is_string());

    assert_eq!(reload(&host), "generation 5\n");
    assert_eq!(greeting(&host), "second");
    assert_eq!(host.status()["files_overridden"], Value::Null);
    host.command(&["rollback", "1"]).expect_success();
    assert_eq!((greeting(&host).as_str(), generation(&host)), ("first", 6));
    greet(&host, "second", "third");
    await_generation(&host, 7);
    assert_eq!(greeting(&host), "third");

    let unknown = host.command(&["rollback", "99"]).expect_code(1).stderr();
    assert!(unknown.contains("got 99"), "{unknown}");
    let same = host.command(&["rollback", "7"]).expect_code(1).stderr();
    assert!(same.contains("generation 7 is in force"), "{same}");
    assert_eq!((greeting(&host).as_str(), generation(&host)), ("third", 7));
}

#[test]
fn a_rollback_brings_accounts_and_libraries_back() {
    let mut host = host();
    let first = host.status();
    rebuild(&host, "echo");
    host.wait_status("the new library", |status| {
        hash_of(status, "one") != hash_of(&first, "one")
    });
    host.edit_accounts(|text| format!("{text}\n[bob]\npassword = builder\n"));
    await_generation(&host, 3);
    let accounts = generations(&host)[2]["changes"].to_string();
    assert!(accounts.contains("accounts: live: bob"), "{accounts}");
    host.command(&["rollback", "1"]).expect_success();
    assert_eq!(hash_of(&host.status(), "one"), hash_of(&first, "one"));
    host.restart();
    let again = host.status();
    assert_eq!(hash_of(&again, "one"), hash_of(&first, "one"));
    assert_eq!(again["generation"], 4);

    // Generation 2 cannot be had any more.
    host.command(&["reload", "--wait"]).expect_success();
    let now = hash_of(&host.status(), "one");
    host.command(&["rollback", "1"]).expect_success();
    std::fs::remove_file(host.path().join(format!("state/lib/{now}.so"))).unwrap();
    let gone = host.command(&["rollback", "2"]).expect_code(1).stderr();
    assert!(gone.contains(&now) && gone.contains("got none"), "{gone}");
    assert_eq!(generation(&host), 6);
}

#[test]
fn a_diff_names_steps_and_keys_and_no_secret() {
    let host = builder("quiet_time = \"1m\"\n").start();
    let same = host.command(&["diff"]).expect_success().stdout();
    assert_eq!(same, "one: untouched\ntwo: untouched\n");
    host.edit_config(|text| {
        text.replace("greeting = \"first\"", "greeting = \"second\"")
            .replace(
                "plugin = \"misbehaving\"",
                "plugin = \"misbehaving\"\nthreads = 2",
            )
            .replace(
                "drain_timeout = \"5s\"",
                "drain_timeout = \"6s\"\nsignature_keys = []",
            )
            + "\n[services.three]\nplugin = \"echo\"\n"
    });
    host.edit_accounts(|text| text.replace("wonderland", "looking-glass"));
    let diff = host.command(&["diff"]).expect_success().stdout();
    let line_of = |key: &str| {
        let text = std::fs::read_to_string(host.config()).unwrap();
        text.lines().position(|line| line.starts_with(key)).unwrap() + 1
    };
    let config = host.config();
    let place = |key: &str| format!("    {}:{}:1: ", config.display(), line_of(key));
    for expected in [
        "one: live, or swap if the plugin cannot (settings)".to_owned(),
        format!(
            "{}services.one.settings.greeting: \"first\" -> \"second\"",
            place("greeting")
        ),
        "two: swap".to_owned(),
        format!("{}services.two.threads: default -> 2", place("threads")),
        "three: start".to_owned(),
        format!("accounts: live: {USER}"),
        "host: live".to_owned(),
        format!(
            "{}host.drain_timeout: \"5s\" -> \"6s\"",
            place("drain_timeout")
        ),
        format!("{}host.signature_keys: changed", place("signature_keys")),
    ] {
        assert!(
            diff.lines().any(|line| line == expected),
            "{expected}\n{diff}"
        );
    }
    assert!(!diff.contains("looking-glass"), "{diff}");
    assert_eq!(generation(&host), 1);
}

#[test]
fn a_library_that_gets_into_trouble_in_its_probation_is_swapped_back() {
    let host = host();
    let first = host.status();
    rebuild(&host, "misbehaving");
    greet(&host, "first", "second");
    let changed = host.wait_status("both changes", |status| {
        hash_of(status, "two") != hash_of(&first, "two") && greeting(&host) == "second"
    });
    let number = changed["generation"].as_u64().unwrap();
    let started = changed["services"][0]["started"].clone();
    panic_two(&host);
    let back = host.wait_status("the old library", |status| {
        hash_of(status, "two") == hash_of(&first, "two")
    });
    assert_eq!(back["generation"], number + 1);
    assert_eq!(
        back["services"][0]["started"], started,
        "the other service stays"
    );
    assert_eq!(back["services"][1]["state"], "ready");
    assert_eq!(greeting(&host), "second");
    let cause = back["generation_cause"].as_str().unwrap();
    assert!(
        cause.starts_with("probation: service two degraded: ") && cause.contains("panics as asked"),
        "{cause}"
    );
    eventually("it is told", || {
        let kept = generations(&host);
        let withdrawn = kept.iter().find_map(|one| {
            one["result"]
                .as_str()
                .filter(|result| result.starts_with("withdrawn by generation"))
        })?;
        withdrawn.contains("service two degraded").then_some(())
    });
    assert_eq!(
        reload(&host),
        format!("generation {}\n", number + 2),
        "asked for"
    );
    assert_ne!(hash_of(&host.status(), "two"), hash_of(&first, "two"));
}

#[test]
fn settings_in_their_probation_go_back_and_the_files_wait_until_they_change() {
    let mut host = host();
    host.edit_config(|text| text.replace("word = \"first\"", "word = \"second\""));
    await_generation(&host, 2);
    panic_two(&host);
    await_generation(&host, 3);
    assert_eq!(word(&mut BufReader::new(host.connect("two"))), "first");
    let told = host.status()["files_overridden"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(told.contains("probation: service two"), "{told}");
    host.restart();
    assert_eq!(generation(&host), 3);
    assert_eq!(word(&mut BufReader::new(host.connect("two"))), "first");

    host.edit_config(|text| text.replace("word = \"second\"", "word = \"third\""));
    await_generation(&host, 4);
    assert_eq!(word(&mut BufReader::new(host.connect("two"))), "third");
    assert_eq!(host.status()["files_overridden"], Value::Null);
}

#[test]
fn without_a_probation_and_after_it_nothing_goes_back() {
    let host = builder("quiet_time = \"1m\"\nprobation = \"0s\"\n").start();
    host.edit_config(|text| text.replace("word = \"first\"", "word = \"second\""));
    assert_eq!(reload(&host), "generation 2\n");
    panic_two(&host);
    let degraded = |status: &Value| status["services"][1]["state"] == "degraded";
    host.wait_status("it is degraded", degraded);
    // One that was degraded before is no worse for being so again.
    host.edit_config(|text| {
        text.replace("word = \"second\"", "word = \"third\"")
            .replace("\"0s\"", "\"1m\"")
    });
    assert_eq!(reload(&host), "generation 3\n");
    panic_two(&host);
    host.wait_status("it is degraded", degraded);
    greet(&host, "first", "second");
    assert_eq!(reload(&host), "generation 4\n");
    assert_eq!(word(&mut BufReader::new(host.connect("two"))), "third");
}

/// With the files broken, only what was kept can start: it is the old state or the new one, as `current` says.
#[cfg(debug_assertions)]
#[test]
fn killed_at_any_step_of_a_commit_it_starts_with_the_last_good_or_the_new_generation() {
    let fault = tempfile::NamedTempFile::new().unwrap();
    let mut host = builder("quiet_time = \"1m\"\n")
        .env("POLYPORT_FAULT", fault.path().to_str().unwrap())
        .start();
    let mut before = "first".to_owned();
    for (step, new) in [
        ("begun", false),
        ("folder made", false),
        ("configuration written", false),
        ("accounts written", false),
        ("all written", false),
        ("renamed", false),
        ("on the disk", false),
        ("pointer written", false),
        ("committed", true),
        ("old ones removed", true),
    ] {
        std::fs::write(fault.path(), step).unwrap();
        let after = format!("after {step}");
        greet(&host, &before, &after);
        host.command(&["reload", "--wait"]).expect_code(1);
        assert_eq!(host.wait_exit(), None, "{step}: it was killed");
        std::fs::write(fault.path(), "").unwrap();
        let good = std::fs::read_to_string(host.config()).unwrap();
        host.edit_config(|text| format!("{text}\n[host\n"));
        host.start();
        let expected = if new { &after } else { &before };
        assert_eq!(greeting(&host), *expected, "{step}");
        host.edit_config(|_| good);
        reload(&host);
        assert_eq!(greeting(&host), after, "{step}");
        before = after;
    }
}

#[test]
fn killed_at_any_time_it_starts_with_the_old_or_the_new_state() {
    let mut host = builder("quiet_time = \"10ms\"\n").start();
    let rounds = polyport_testkit::repeats("POLYPORT_RELOAD_KILLS", 30);
    let (mut new, mut old, mut last) = (0, 0, "first".to_owned());
    for round in 0..rounds {
        let next = format!("round {round}");
        let good = std::fs::read_to_string(host.config())
            .unwrap()
            .replace("\n[host\n", "");
        let from = good
            .lines()
            .find(|line| line.starts_with("greeting"))
            .unwrap()
            .to_owned();
        let good = good.replace(&from, &format!("greeting = {next:?}"));
        let written = good.clone();
        host.edit_config(|_| written);
        // Spread over the whole of a reload, and some more.
        let pause = Duration::from_millis((round as u64 * 37) % 250);
        std::thread::sleep(pause);
        host.kill9();
        host.edit_config(|_| format!("{good}\n[host\n"));
        host.start();
        let got = greeting(&host);
        assert!(
            got == last || got == next,
            "round {round}: {got:?} after {last:?}"
        );
        if got == next {
            new += 1
        } else {
            old += 1
        }
        last = got;
    }
    polyport_testkit::figure(
        "kills",
        format!("{rounds}: {old} times the old state, {new} times the new one"),
    );
}
