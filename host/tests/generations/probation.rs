//! Instances that get into trouble right after their change.

use super::*;

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
