//! `polyport check` from the outside: every problem of both files, one line each, and the exit code.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs;
use std::path::Path;
use std::process::Command;

fn check(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .arg("check")
        .arg("-c")
        .arg(folder.join("polyport.toml"))
        .args(arguments)
        .output()
        .unwrap();
    let said =
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (
        output.status.code(),
        said.replace(&format!("{}/", folder.display()), ""),
    )
}

#[test]
fn every_problem_of_the_configuration_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("polyport.toml"),
        "[host]\nstat = 1\n[services.a]\nlisten = [\"x\"]\n",
    )
    .unwrap();
    let (code, said) = check(folder.path(), &["--set", "host.log.format=5"]);
    assert_eq!(
        said,
        "polyport.toml:2:1: host.stat: unknown key, did you mean \"state\"?\n\
         polyport.toml:3:11: services.a.plugin: is missing: expected the name of a plugin, such as plugin = \"mqtt\"\n\
         polyport.toml:4:11: services.a.listen[0]: expected an address with a port from 0 to 65535, such as \
         \"127.0.0.1:1883\", got \"x\"\n\
         --set host.log.format: host.log.format: expected a string, got 5\n\
         polyport: 4 problems\n"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn accounts_are_checked_and_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("polyport.toml"), "").unwrap();
    fs::write(
        folder.path().join("accounts.ini"),
        "[a]\npassword = x\nservices = mqtt\n",
    )
    .unwrap();
    let (code, said) = check(folder.path(), &[]);
    assert_eq!(
        said,
        "accounts.ini:2:1: warning: a.password: is plain text: \"polyport user hash a\" hashes it\n\
         accounts.ini:3:12: warning: a.services: there is no service \"mqtt\": there are none\n\
         ok: 0 services, 1 accounts\n"
    );
    assert_eq!(code, Some(0));
    fs::write(folder.path().join("accounts.ini"), "[a]\nword\n").unwrap();
    let (code, said) = check(folder.path(), &[]);
    assert!(
        said.starts_with("accounts.ini:2:1: expected [section]"),
        "{said}"
    );
    assert_eq!(code, Some(1));
}

#[test]
fn plugins_are_found_and_judge_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let config = "[services.a]\nplugin = \"nowhere\"\n[services.f]\nplugin = \"ftp\"\n\
                  [services.f.settings]\nsymlinks = \"up\"\npassive_ports = \"2000\"\n[services.off]\nenabled = false\n\
                  plugin = \"nowhere\"\n";
    fs::write(folder.path().join("polyport.toml"), config).unwrap();
    let built = polyport_testkit::library("polyport-ftp");
    let plugins = folder.path().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::copy(&built, plugins.join("libpolyport_ftp.so")).unwrap();
    let (code, said) = check(folder.path(), &["--plugins", plugins.to_str().unwrap()]);
    let lines: Vec<&str> = said.lines().collect();
    assert!(
        lines[0].starts_with("polyport.toml:2:1: services.a.plugin: "),
        "{said}"
    );
    assert_eq!(
        lines[1],
        "polyport.toml:6:1: services.f.settings.symlinks: expected one of \"never\", \"inside\", \"follow\", got \"up\""
    );
    assert!(
        lines[2].starts_with("polyport.toml:7:1: services.f.settings.passive_ports: expected "),
        "{said}"
    );
    assert_eq!(lines[3..], ["polyport: 3 problems"], "{said}");
    assert_eq!(code, Some(1));
    assert!(!folder.path().join("state").exists(), "it changes nothing");
}
