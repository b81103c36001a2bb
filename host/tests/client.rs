//! T34, the host's side: `polyport client` finds a plugin, runs its command and passes the exit code on.

#![allow(clippy::unwrap_used, reason = "tests may")]

use polyport_testkit::{Client, Host, STANDARD, library, program};

#[test]
fn t34_commands_of_all_plugins_are_listed() {
    let host = Host::builder().all_services().prepare();
    let list = host.client(&[]).run().expect_success();
    for command in [
        "mqtt pub -t TOPIC",
        "mqtt sub -t FILTER",
        "http-files get URL",
        "ftp put FILE URL",
        "tcp-files login URL",
    ] {
        assert!(
            list.stdout().lines().any(|line| line.starts_with(command)),
            "{list}"
        );
    }
    assert!(!list.stdout().contains("json-api"), "it has none: {list}");
}

#[test]
fn t34_the_documentation_shows_the_help_of_every_plugin() {
    let documented = include_str!("../../docs/clients.md");
    let mut shown = Vec::new();
    for service in STANDARD {
        let host = Host::builder().library(service.package).prepare();
        let help = host.client(&[service.plugin, "--help"]).run();
        if help.code == Some(0) {
            assert!(
                documented.contains(&help.stdout()),
                "docs/clients.md lacks:\n{help}"
            );
            shown.push(service.plugin);
        }
    }
    assert_eq!(shown, ["mqtt", "http-files", "ftp", "tcp-files"]);
}

#[test]
fn t34_a_plugin_without_commands_says_so() {
    let host = Host::builder()
        .library("polyport-echo")
        .library("polyport-newer")
        .prepare();
    assert_eq!(host.client(&[]).run().expect_success().stdout(), "");
    for args in [&["echo"][..], &["echo", "--help"], &["echo", "dance", "-c"]] {
        let echo = host.client(args).run().expect_code(2);
        assert_eq!(
            echo.stderr(),
            "polyport: this plugin has no client commands\n"
        );
    }
    // One made before there was such a thing.
    let older = host.client(&["newer", "pub"]).run().expect_code(1);
    assert!(
        older
            .stderr()
            .contains("expected client commands (interface client/1), got none"),
        "{older}"
    );
    let missing = host.client(&["ghost", "pub"]).run().expect_code(1);
    assert!(
        missing.stderr().contains("libpolyport_ghost.so"),
        "{missing}"
    );
    std::fs::write(host.path().join("plugins/libforeign.so"), "no library").unwrap();
    let list = host.client(&[]).run().expect_code(1);
    assert!(
        list.stderr().contains("libforeign.so: expected an ELF"),
        "{list}"
    );
}

#[test]
fn t34_a_panic_in_a_command_is_a_failure() {
    let host = Host::builder().library("polyport-misbehaving").prepare();
    let panicked = host
        .client(&["misbehaving", "a", "--b"])
        .run()
        .expect_code(1);
    assert!(
        panicked
            .stderr()
            .contains("panics as asked: [\"a\", \"--b\"]"),
        "{panicked}"
    );
}

#[test]
fn t34_no_configuration_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let file = library("polyport-echo");
    let beside = folder.path().join("polyport");
    std::fs::copy(program(), &beside).unwrap();
    std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
    let said = "polyport: this plugin has no client commands\n";
    let by_name = Client::new(&beside)
        .args(["client", "echo"])
        .current_dir(folder.path())
        .run();
    assert_eq!(by_name.expect_code(2).stderr(), said);
    let by_file = Client::new(program())
        .arg("client")
        .arg(&file)
        .current_dir(folder.path());
    assert_eq!(by_file.run().expect_code(2).stderr(), said);
    let by_folder = Client::new(program())
        .arg("--plugins")
        .arg(folder.path())
        .args(["client", "echo"])
        .current_dir(folder.path())
        .run();
    assert_eq!(by_folder.expect_code(2).stderr(), said);
}
