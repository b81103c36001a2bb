//! Configurations that are found by symbolic links, which are swapped.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn a_link_that_is_put_on_another_file() {
    let host = prepared();
    draft(&host, "linked");
    shell(
        &host,
        "mv polyport.toml a; mv draft b; ln -s a polyport.toml",
    );
    let host = start(host);
    shell(&host, "ln -sfn b polyport.toml");
    await_greeting_by_event(&host, "linked");
    // The folder knows it by its link only.
    shell(&host, "sed -i 's/greeting = .*/greeting = \"behind\"/' b");
    await_greeting_by_event(&host, "behind");
    await_generation(&host, 3);
}

#[test]
fn a_file_that_is_written_under_another_name() {
    let host = prepared();
    shell(&host, "mkdir elsewhere; ln polyport.toml elsewhere/name");
    let host = start(host);
    draft(&host, "by name");
    shell(&host, "cat draft > elsewhere/name");
    await_greeting_by_event(&host, "by name");
}

/// As the kubelet does it: the files are links into `..data`, which is itself a link that is renamed over.
#[test]
fn a_configmap_that_is_swapped() {
    let host = prepared();
    let accounts = fs::read_to_string(host.path().join("accounts.ini")).unwrap();
    shell(
        &host,
        "mkdir ..1; mv polyport.toml accounts.ini ..1; ln -s ..1 ..data
         ln -s ..data/polyport.toml polyport.toml; ln -s ..data/accounts.ini accounts.ini",
    );
    let host = start(host);
    for round in 2..5 {
        let wanted = format!("version {round}");
        let text = greeting_with(&host, &wanted);
        let next = host.path().join(format!("..{round}"));
        fs::create_dir(&next).unwrap();
        fs::write(next.join("polyport.toml"), text).unwrap();
        fs::write(next.join("accounts.ini"), &accounts).unwrap();
        let fresh = host.path().join("..data_tmp");
        symlink(format!("..{round}"), &fresh).unwrap();
        fs::rename(&fresh, host.path().join("..data")).unwrap();
        fs::remove_dir_all(host.path().join(format!("..{}", round - 1))).unwrap();
        await_greeting_by_event(&host, &wanted);
        await_generation(&host, round);
    }
    assert_eq!(host.status()["last_error"], serde_json::Value::Null);
}

/// As deployments do it: everything is found by way of `current`.
#[test]
fn a_folder_on_the_way_that_is_a_link() {
    let host = prepared();
    draft(&host, "deployed");
    shell(
        &host,
        "mkdir -p releases/1/etc releases/2/etc
         mv polyport.toml releases/1/etc; mv draft releases/2/etc/polyport.toml
         ln -s releases/1 current; ln -s current/etc/polyport.toml polyport.toml",
    );
    let host = start(host);
    shell(&host, "ln -s releases/2 next; mv -T next current");
    await_greeting_by_event(&host, "deployed");
}

#[test]
fn a_library_that_is_a_link() {
    let host = prepared();
    shell(
        &host,
        "mkdir built; mv plugins/libpolyport_echo.so built
         ln -s ../built/libpolyport_echo.so plugins",
    );
    let host = start(host);
    // Another file of the same code.
    shell(
        &host,
        "cp built/libpolyport_echo.so fresh; printf 0 >> fresh; mv fresh built/libpolyport_echo.so",
    );
    await_generation(&host, 2);
    await_greeting_by_event(&host, "first");
}
