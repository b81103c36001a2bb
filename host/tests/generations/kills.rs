//! The process ends in the middle of a change.

use super::*;

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
fn killed_at_any_step_of_a_hand_over_it_loses_nothing_and_starts_with_a_whole_generation() {
    let fault = tempfile::NamedTempFile::new().unwrap();
    let mut host = Host::builder()
        .plugin("three", "keeper", "polyport-keeper")
        .settings("three", "word = \"first\"")
        .host_keys("quiet_time = \"1m\"\ndrain_timeout = \"5s\"")
        .env("POLYPORT_FAULT", fault.path().to_str().unwrap())
        .start();
    let ask = |host: &Host, line: &str| {
        let mut client = BufReader::new(host.connect("three"));
        client
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        let mut answer = String::new();
        client.read_line(&mut answer).unwrap();
        (client, answer.trim_end().to_owned())
    };
    let mut before = "first".to_owned();
    for (sum, step) in (1..).zip(["frozen", "inherited", "activated", "passed"]) {
        let (_passes, acknowledged) = ask(&host, "add 1");
        assert_eq!(acknowledged, sum.to_string());
        let after = format!("after {step}");
        let word = |word: &str| format!("word = {word:?}");
        host.edit_config(|text| text.replace(&word(&before), &word(&after)));
        std::fs::write(fault.path(), step).unwrap();
        let asked = host.command(&["reload", "--wait"]);
        // Connections pass while the generation is brought into force, and after that.
        let may_be_new = step == "passed";
        if !may_be_new {
            asked.expect_code(1);
        }
        assert_eq!(host.wait_exit(), None, "{step}: it was killed");
        std::fs::write(fault.path(), "").unwrap();
        let good = std::fs::read_to_string(host.config()).unwrap();
        host.edit_config(|text| format!("{text}\n[host\n"));
        host.start();
        let got = ask(&host, "get").1;
        let sums = [&before, &after].map(|word| format!("{sum} {word}"));
        let new = may_be_new && got == sums[1];
        assert!(got == sums[0] || new, "{step}: {got:?}");
        host.edit_config(|_| good);
        reload(&host);
        assert_eq!(ask(&host, "get").1, sums[1], "{step}");
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
        // At once: half a file would be a state of its own.
        let fresh = host.path().join("fresh.toml");
        std::fs::write(&fresh, &good).unwrap();
        std::fs::rename(&fresh, host.config()).unwrap();
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
