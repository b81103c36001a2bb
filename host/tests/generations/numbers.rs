//! What makes a generation, what of it is kept and told.

use super::*;

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
fn a_diff_names_steps_and_keys_and_no_secret() {
    let host = builder("quiet_time = \"1m\"\n").start();
    let same = host.command(&["diff"]).expect_success().stdout();
    assert_eq!(same, "one: untouched\ntwo: untouched\n");
    host.edit_config(|text| {
        text.replace("greeting = \"first\"", "greeting = \"second\"")
            .replace("word = \"first\"", "word = \"second\"")
            .replace(
                "plugin = \"misbehaving\"",
                "plugin = \"misbehaving\"\nthreads = 2",
            )
            .replace(
                "drain_timeout = \"5s\"",
                "drain_timeout = \"6s\"\nuser = \"nobody\"\nsignature_keys = []",
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
        "one: swap".to_owned(),
        format!(
            "{}services.one.settings.greeting: \"first\" -> \"second\"  (swap)",
            place("greeting")
        ),
        "two: swap".to_owned(),
        format!(
            "{}services.two.threads: default -> 2  (swap)",
            place("threads")
        ),
        format!(
            "{}services.two.settings.word: \"first\" -> \"second\"  (live)",
            place("word")
        ),
        "three: start".to_owned(),
        format!("accounts: live: {USER}"),
        "host: live".to_owned(),
        format!(
            "{}host.drain_timeout: \"5s\" -> \"6s\"  (live)",
            place("drain_timeout")
        ),
        format!(
            "{}host.signature_keys: changed  (live)",
            place("signature_keys")
        ),
        "host: restart".to_owned(),
        format!(
            "{}host.user: default -> \"nobody\"  (restart)",
            place("user")
        ),
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
fn what_needs_a_start_is_told_until_there_is_one() {
    let mut host = host();
    host.edit_config(|text| {
        text.replace(
            "drain_timeout = \"5s\"",
            "drain_timeout = \"5s\"\nuser = \"somebody\"",
        )
    });
    let waits = |host: &Host| {
        let diff = host.command(&["diff"]).expect_success().stdout();
        diff.contains("host: restart\n") && diff.contains("default -> \"somebody\"  (restart)\n")
    };
    assert!(waits(&host));
    assert_eq!(reload(&host), "generation 1\n");
    assert!(waits(&host));
    assert_eq!(generation(&host), 1);
    host.sigterm();
    host.edit_config(|text| text.replace("user = \"somebody\"\n", ""));
    host.start();
    let diff = host.command(&["diff"]).expect_success().stdout();
    assert_eq!(diff, "one: untouched\ntwo: untouched\n");
}
