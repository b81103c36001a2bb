//! Files that are written bit by bit, and files that are lost.

use std::fs::File;
use std::time::Instant;

use super::*;

/// The quiet time that a host has by default.
const QUIET: Duration = Duration::from_millis(100);
/// Far more than that.
const PAUSE: Duration = Duration::from_millis(600);

#[test]
fn a_file_that_is_written_with_pauses_counts_when_it_is_closed() {
    let host = started();
    let mut open = Open::to(&host);
    let text = greeting_with(&host, "whole");
    let text = text.replace("word = \"first\"", "word = \"second\"");
    // What stands before it is a good configuration, of one service.
    let (half, rest) = text.split_at(text.find("[services.two]").unwrap());
    let mut file = File::create(host.config()).unwrap();
    sleep(PAUSE);
    file.write_all(half.as_bytes()).unwrap();
    sleep(PAUSE);
    assert_eq!(greeting(&host).unwrap(), "first");
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    await_greeting_by_event(&host, "whole");
    assert_eq!(open.word(), "second");
    await_generation(&host, 2);
    assert_eq!(host.status()["last_error"], serde_json::Value::Null);
}

#[test]
fn a_new_file_that_is_written_with_pauses_counts_when_it_is_closed() {
    let host = started();
    let mut open = Open::to(&host);
    let text = greeting_with(&host, "whole");
    fs::remove_file(host.config()).unwrap();
    let mut file = File::create_new(host.config()).unwrap();
    sleep(PAUSE);
    file.write_all(text.as_bytes()).unwrap();
    drop(file);
    await_greeting_by_event(&host, "whole");
    assert_eq!(open.word(), "first");
    assert_eq!(host.status()["last_error"], serde_json::Value::Null);
}

#[test]
fn a_file_that_stays_open_counts_a_while_after_the_last_write() {
    let host = started();
    let begin = Instant::now();
    let text = greeting_with(&host, "open");
    let mut file = File::create(host.config()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    await_greeting(&host, "open");
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(5), "{took:?}");
    drop(file);
}

#[test]
fn truncated_and_written_later() {
    let host = started();
    let mut open = Open::to(&host);
    draft(&host, "later");
    let mark = host.log_mark();
    shell(&host, ": > polyport.toml");
    let line = host.wait_log(mark, "reload (files changed) refused");
    assert!(
        line.contains(
            "polyport.toml: expected services, got an empty file: one, two stay as they were"
        ),
        "{line}"
    );
    assert_eq!(greeting(&host).unwrap(), "first");
    shell(&host, "cat draft > polyport.toml");
    await_greeting_by_event(&host, "later");
    assert_eq!(open.word(), "first");
    await_generation(&host, 2);
}

#[test]
fn a_configuration_that_lost_all_its_services_ends_none() {
    let host = started();
    let mut open = Open::to(&host);
    let text = fs::read_to_string(host.config()).unwrap();
    let cut = &text[..text.find("[services.one]").unwrap()];
    for (text, got) in [(cut, "none"), ("# polyport\n \n", "an empty file")] {
        let mark = host.log_mark();
        fs::write(host.config(), text).unwrap();
        let line = host.wait_log(mark, "reload (files changed) refused");
        assert!(
            line.contains(&format!("expected services, got {got}")),
            "{line}"
        );
        assert_eq!(open.word(), "first");
    }
    let socket = host.path().join("control.sock");
    let asked = ["reload", "--wait", "--control", socket.to_str().unwrap()];
    let answer = host.command(&asked).expect_code(1).stderr();
    assert!(
        answer.contains("expected services, got an empty file"),
        "{answer}"
    );
    fs::write(
        host.config(),
        text.replace("plugin =", "enabled = false\nplugin ="),
    )
    .unwrap();
    await_generation(&host, 2);
}

#[test]
fn two_hundred_changes_in_a_second_end_at_the_last() {
    let host = started();
    let (begin, step) = (Instant::now(), Duration::from_millis(5));
    let (mut written, mut rests) = (begin, 0);
    for round in 1..=200 {
        fs::write(
            host.config(),
            greeting_with(&host, &format!("change {round}")),
        )
        .unwrap();
        sleep((step * round).saturating_sub(begin.elapsed()));
        // On a busy machine the file may rest in between, and then it counts.
        rests += usize::from(written.elapsed() > QUIET / 2);
        written = Instant::now();
    }
    await_greeting_by_event(&host, "change 200");
    let log = host.log();
    let made = log
        .iter()
        .filter(|line| line.contains("reload (files changed): generation"));
    let made = made.count();
    assert!(made <= 3 + rests, "{made} generations, {rests} rests");
    polyport_testkit::figure("generations of 200 changes in a second", made);
}
