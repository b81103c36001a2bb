//! Back to a kept generation, and the files in the meantime.

use super::*;

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
