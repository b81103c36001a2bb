//! Folders that come, go, and come again.

use super::*;

/// The configuration lies in a folder of its own.
fn in_a_folder() -> Host {
    let host = prepared();
    shell(
        &host,
        "mkdir conf; mv polyport.toml conf; ln -s conf/polyport.toml .",
    );
    start(host)
}

#[test]
fn a_folder_that_is_deleted_and_made_again() {
    let host = in_a_folder();
    let mut open = Open::to(&host);
    for round in 0..3 {
        let wanted = format!("again {round}");
        let text = greeting_with(&host, &wanted);
        let mark = host.log_mark();
        shell(&host, "rm -r conf");
        host.wait_log(mark, "cannot read the configuration");
        calm();
        fs::create_dir(host.path().join("conf")).unwrap();
        fs::write(host.path().join("conf/polyport.toml"), text).unwrap();
        await_greeting_by_event(&host, &wanted);
    }
    assert_eq!(open.word(), "first");
    await_generation(&host, 4);
}

#[test]
fn a_folder_that_takes_the_place_of_another() {
    let host = in_a_folder();
    let mut open = Open::to(&host);
    for round in 0..3 {
        let wanted = format!("folder {round}");
        draft(&host, &wanted);
        shell(
            &host,
            "mkdir next; mv draft next/polyport.toml; mv conf gone; mv next conf; rm -r gone",
        );
        await_greeting_by_event(&host, &wanted);
    }
    assert_eq!(open.word(), "first");
    await_generation(&host, 4);
}

#[test]
fn a_plugins_folder_that_is_deleted_and_made_again() {
    let host = started();
    let mark = host.log_mark();
    shell(&host, "cp -r plugins kept; rm -r plugins");
    host.wait_log(mark, "reload (files changed) refused");
    assert_eq!(greeting(&host).unwrap(), "first");
    calm();
    shell(
        &host,
        "printf 0 >> kept/libpolyport_echo.so; mkdir plugins; sleep 0.3; cp kept/* plugins",
    );
    await_generation(&host, 2);
    await_greeting_by_event(&host, "first");
}

#[test]
fn folders_that_are_made_after_the_start() {
    let host = prepared();
    shell(
        &host,
        "sed -i 's|^accounts = .*|accounts = \"a/b/accounts.ini\"|' polyport.toml",
    );
    let host = start(host);
    shell(
        &host,
        "mkdir a; sleep 0.3; mkdir a/b; sleep 0.3; mv accounts.ini a/b",
    );
    await_generation(&host, 2);
    await_greeting_by_event(&host, "first");
}
