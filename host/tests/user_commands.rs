//! `polyport user` from the outside: the program, its standard input, its exit code and the file.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// A configuration with an accounts file beside it.
struct Folder(TempDir);

impl Folder {
    fn new(accounts: Option<&str>) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::write(folder.path("polyport.toml"), "[host]\n").unwrap();
        if let Some(text) = accounts {
            fs::write(folder.path("accounts.ini"), text).unwrap();
        }
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn accounts(&self) -> String {
        fs::read_to_string(self.path("accounts.ini")).unwrap()
    }

    /// Runs `polyport user ARGUMENTS` with `input` on standard input.
    fn user(&self, arguments: &[&str], input: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_polyport"))
            .arg("-c")
            .arg(self.path("polyport.toml"))
            .arg("user")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads no password may be gone already.
        _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    fn done(&self, arguments: &[&str], input: &str) -> String {
        let output = self.user(arguments, input);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            (output.status.code(), &*error),
            (Some(0), ""),
            "{arguments:?}"
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn failed(&self, arguments: &[&str], input: &str, code: i32) -> String {
        let output = self.user(arguments, input);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// The tutorial's file, with somebody's comments.
const TUTORIAL: &str = "; boards\n[user1]\nname = xzz\npassword = 123456 \nexpore = 2022-01-01\n\n# later\n[user2]\nname = username\n";

#[test]
fn t24_add_makes_the_account_and_its_home() {
    let folder = Folder::new(None);
    let said = folder.done(&["add", "xzz"], "123456\n");
    let home = folder.path("home/xzz");
    assert_eq!(
        said,
        format!("added xzz with the home {}\n", home.display())
    );
    assert!(home.is_dir());
    let text = folder.accounts();
    assert!(
        text.starts_with("[xzz]\nname = xzz\npassword = $argon2id$v=19$m="),
        "{text}"
    );
    assert!(text.ends_with("\nhome = home/xzz\n"), "{text}");
    assert_eq!(
        fs::metadata(folder.path("accounts.ini"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
}

#[test]
fn an_account_without_a_home_has_none() {
    let folder = Folder::new(None);
    assert_eq!(
        folder.done(&["add", "xzz", "--no-home"], "123456\n"),
        "added xzz\n"
    );
    assert!(!folder.accounts().contains("home"));
    assert!(!folder.path("home").exists());
    folder.failed(&["add", "other", "--no-home", "--home", "x"], "1\n", 2);
}

#[test]
fn add_takes_its_options_and_keeps_the_file() {
    let folder = Folder::new(Some(TUTORIAL));
    fs::set_permissions(folder.path("accounts.ini"), Permissions::from_mode(0o640)).unwrap();
    let options = [
        "add",
        "b",
        "--no-password",
        "--home",
        "h",
        "--services",
        "ftp,mqtt",
        "--expire",
        "2030-01-01",
    ];
    folder.done(&options, "");
    let section = "\n[b]\nname = b\nhome = h\nexpire = 2030-01-01\nservices = ftp, mqtt\n";
    assert_eq!(folder.accounts(), format!("{TUTORIAL}{section}"));
    assert!(folder.path("h").is_dir());
    assert_eq!(
        fs::metadata(folder.path("accounts.ini"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o640
    );
}

#[test]
fn what_cannot_be_added_is_refused_and_changes_nothing() {
    let folder = Folder::new(Some(TUTORIAL));
    let taken = folder.failed(&["add", "xzz"], "x\n", 1);
    assert_eq!(taken, "polyport: there is an account \"xzz\" already\n");
    assert!(
        folder
            .failed(&["add", "user1"], "x\n", 1)
            .contains("section [user1] already")
    );
    assert!(
        folder
            .failed(&["add", "new"], "\n", 1)
            .contains("1 to 1024 bytes, got 0")
    );
    assert!(
        folder
            .failed(&["add", "../x"], "x\n", 2)
            .contains("not beginning with '.'")
    );
    assert!(
        folder
            .failed(&["add", "anonymous"], "x\n", 2)
            .contains("built in")
    );
    assert!(
        folder
            .failed(&["add", "new", "--expire", "soon"], "x\n", 2)
            .contains("a date such as")
    );
    assert!(folder.failed(&["add"], "", 2).contains("<NAME>"));
    assert_eq!(folder.accounts(), TUTORIAL);
    assert!(!folder.path("home").exists());
}

#[test]
fn passwd_changes_one_line() {
    let folder = Folder::new(Some(TUTORIAL));
    folder.done(&["passwd", "xzz"], "new\n");
    let text = folder.accounts();
    let changed: Vec<(&str, &str)> = TUTORIAL
        .lines()
        .zip(text.lines())
        .filter(|(a, b)| a != b)
        .collect();
    assert_eq!(changed.len(), 1, "{text}");
    assert!(changed[0].1.starts_with("password = $argon2id$"), "{text}");
    folder.done(&["passwd", "username"], "new\n");
    assert!(
        folder
            .accounts()
            .contains("[user2]\nname = username\npassword = $argon2id$")
    );
    assert_eq!(
        folder.failed(&["passwd", "nobody"], "x\n", 1),
        "polyport: there is no account \"nobody\"\n"
    );
}

#[test]
fn scram_writes_verifiers_of_what_all_clients_write_alike() {
    let folder = Folder::new(Some(&format!("{TUTORIAL}[c]\npassword = \"plain one\"\n")));
    let said = folder.done(&["passwd", "xzz", "--scram"], "new\n");
    assert_eq!(said, "changed the password of xzz\n");
    let text = folder.accounts();
    assert!(text.contains("password = SCRAM-SHA-256$4096:"), "{text}");
    folder.done(&["add", "d", "--no-home", "--scram=5000"], "new\n");
    assert!(folder.accounts().contains("SCRAM-SHA-256$5000:"));
    folder.done(&["hash", "c", "--scram"], "");
    let text = folder.accounts();
    assert_eq!(text.matches("SCRAM-SHA-256$").count(), 3, "{text}");
    let list = folder.done(&["list"], "");
    assert_eq!(list.matches("scram-sha-256").count(), 3, "{list}");
    let printed = folder.done(&["hash", "--scram"], "new");
    assert!(printed.starts_with("SCRAM-SHA-256$4096:"), "{printed}");

    let said = folder.failed(&["passwd", "xzz", "--scram"], "p\u{e4}ss\n", 1);
    assert!(said.contains("printable ASCII"), "{said}");
    let said = folder.failed(&["passwd", "xzz", "--scram=4095"], "x\n", 2);
    assert!(said.contains("expected 4096 to 2000000 rounds"), "{said}");
    assert_eq!(folder.accounts(), text);
    let said = folder.done(&["passwd", "xzz"], "new\n");
    assert!(
        said.contains("it had a SCRAM verifier, and has none now"),
        "{said}"
    );
}

#[test]
fn hash_replaces_plain_passwords_by_name_or_all() {
    let folder = Folder::new(Some(&format!("{TUTORIAL}[c]\npassword = \"plain one\"\n")));
    assert_eq!(
        folder.done(&["hash", "xzz"], ""),
        "hashed the password of xzz\n"
    );
    assert!(folder.accounts().contains("password = \"plain one\""));
    assert_eq!(
        folder.done(&["hash", "--all"], ""),
        "hashed the password of c\n"
    );
    assert_eq!(
        folder.done(&["hash", "--all"], ""),
        "there was no plain password\n"
    );
    assert_eq!(
        folder.accounts().matches("password = $argon2id$").count(),
        2
    );
    let list = folder.done(&["list"], "");
    assert_eq!(list.matches("argon2id").count(), 2, "{list}");
}

#[test]
fn hash_without_a_name_prints_and_needs_no_file() {
    let folder = Folder::new(None);
    let hash = folder.done(&["hash"], "secret");
    assert!(hash.starts_with("$argon2id$v=19$"), "{hash}");
    assert!(!folder.path("accounts.ini").exists());
}

#[test]
fn remove_takes_the_section_and_leaves_the_rest() {
    let folder = Folder::new(Some(TUTORIAL));
    assert_eq!(folder.done(&["remove", "xzz"], ""), "removed xzz\n");
    assert_eq!(
        folder.accounts(),
        "; boards\n# later\n[user2]\nname = username\n"
    );
    folder.failed(&["remove", "xzz"], "", 1);
}

#[test]
fn can_tells_the_line_that_decides_and_by_its_exit_code_what() {
    let accounts = "[group:staff]\nallow.docs = list,read /docs/**\n\n[alice]\ngroups = staff\n\
                    deny.1 = subscribe secret/#\nallow.1.mqtt = all #\n[bob]\nenabled = no\n[carol]\nservices = ftp\n";
    let folder = Folder::new(Some(accounts));
    fs::write(
        folder.path("polyport.toml"),
        "[services.mqtt]\nplugin = \"mqtt\"\n[services.files]\nplugin = \"http-files\"\n",
    )
    .unwrap();
    let place = |line: usize, rest: &str| {
        format!("{}:{line}: {rest}", folder.path("accounts.ini").display())
    };
    assert_eq!(
        folder.done(&["can", "alice", "files", "read", "/docs/a b"], ""),
        format!(
            "allowed: {}\n",
            place(2, "group:staff.allow.docs = list,read /docs/**")
        )
    );
    assert_eq!(
        folder.done(&["can", "alice", "mqtt", "subscribe", "a/+"], ""),
        format!("allowed: {}\n", place(7, "alice.allow.1.mqtt = all #"))
    );
    assert_eq!(
        folder.done(&["can", "alice", "mqtt", "subscribe", "#"], ""),
        format!(
            "allowed: for some of its topics, not for all: {}\n",
            place(6, "alice.deny.1 = subscribe secret/#")
        )
    );
    for (arguments, said) in [
        (
            ["can", "alice", "mqtt", "subscribe", "secret/#"],
            place(6, "alice.deny.1 = subscribe secret/#"),
        ),
        (
            ["can", "alice", "files", "write", "/docs/x"],
            "neither a rule nor rights allow it".to_owned(),
        ),
        (
            ["can", "bob", "files", "read", "/"],
            format!("the account is disabled, {}", place(9, "bob.enabled = no")),
        ),
        (
            ["can", "carol", "files", "read", "/"],
            format!(
                "the account is not for this service, {}",
                place(11, "carol.services = ftp")
            ),
        ),
    ] {
        assert_eq!(
            folder.failed(&arguments, "", 1),
            format!("polyport: denied: {said}\n")
        );
    }
    for (arguments, said) in [
        (
            ["can", "alise", "files", "read", "/"],
            "there is no account \"alise\", did you mean \"alice\"?",
        ),
        (
            ["can", "alice", "file", "read", "/"],
            "there is no service \"file\", did you mean \"files\"?",
        ),
        (
            ["can", "alice", "files", "eat", "/"],
            "expected one of list, read,",
        ),
        (
            ["can", "anonymous", "files", "read", "/"],
            "there is no account \"anonymous\"",
        ),
    ] {
        let output = folder.failed(&arguments, "", 2);
        assert!(output.contains(said), "{output}");
    }
}

#[test]
fn groups_are_no_accounts_and_add_knows_them() {
    let folder = Folder::new(Some("[group:staff]\nrights = read\n"));
    for command in [["passwd", "group:staff"], ["remove", "group:staff"]] {
        assert_eq!(
            folder.failed(&command, "x\n", 1),
            "polyport: there is no account \"group:staff\"\n"
        );
    }
    folder.done(&["add", "a", "--no-password", "--groups", "staff"], "");
    assert!(
        folder
            .accounts()
            .ends_with("\nhome = home/a\ngroups = staff\n")
    );
    assert_eq!(
        folder.failed(&["add", "b", "--no-password", "--groups", "stuff"], "", 1),
        "polyport: there is no section [group:stuff]\n"
    );
}

#[test]
fn a_file_with_problems_is_not_touched_and_all_are_printed() {
    let broken = "[a]\nexpire = soon\n[a]\nword\n";
    let folder = Folder::new(Some(broken));
    let said = folder.failed(&["passwd", "a"], "x\n", 1);
    let file = folder.path("accounts.ini");
    let place = |line: &str| format!("{}:{line}", file.display());
    for line in [
        "2:10: a.expire: ",
        "3:1: the section [a] is already in line 1",
        "4:1: expected [section]",
    ] {
        assert!(said.contains(&place(line)), "{said}");
    }
    assert_eq!(folder.accounts(), broken);
}

#[test]
fn a_missing_configuration_is_named() {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .args(["-c", "/nowhere/polyport.toml", "user", "list"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("polyport: cannot read the configuration /nowhere/polyport.toml: "),
        "{said}"
    );
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn a_token_is_printed_once_and_written_as_its_hash() {
    let folder = Folder::new(Some(TUTORIAL));
    let scopes = ["--scope", "files: read /fw/**", "--scope", "publish t/%u"];
    let arguments = [
        &["token", "add", "xzz", "--expires", "2999-01-01"],
        &scopes[..],
    ]
    .concat();
    let output = folder.user(&arguments, "");
    assert_eq!(output.status.code(), Some(0));
    let token = String::from_utf8(output.stdout).unwrap();
    let token = token.trim_end();
    assert!(token.starts_with("pp_") && token.len() == 35, "{token}");
    let hash = {
        use sha2::{Digest, Sha256};
        let hash = Sha256::digest(token);
        hash.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let line = format!(
        "token.token-1 = sha256:{hash} expires=2999-01-01 scope=files: read /fw/** | publish t/%u\n"
    );
    // Behind the keys of its section; nothing else changes.
    let expected = TUTORIAL.replace(
        "expore = 2022-01-01\n",
        &format!("expore = 2022-01-01\n{line}"),
    );
    assert_eq!(folder.accounts(), expected);
    let output = folder.user(
        &[
            "token",
            "add",
            "username",
            "--name",
            "ci",
            "--expires",
            "never",
        ],
        "",
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        folder.done(&["token", "list"], ""),
        "ACCOUNT   TOKEN    STATE  EXPIRES               SCOPE\n\
         xzz       token-1  valid  2999-01-02T00:00:00Z  files: read /fw/** | publish t/%u\n\
         username  ci       valid  never                 all\n"
    );
    assert!(
        folder
            .done(&["token", "list", "username"], "")
            .lines()
            .count()
            == 2
    );
    assert_eq!(
        folder.done(&["token", "remove", "username", "ci"], ""),
        "removed the token ci of username\n"
    );
    assert_eq!(folder.accounts(), expected);
}

#[test]
fn a_token_that_cannot_be_is_refused_and_nothing_is_written() {
    let folder = Folder::new(Some(TUTORIAL));
    fn add<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["token", "add", "xzz", "--expires", "30d"], arguments].concat()
    }
    for (arguments, code) in [
        (vec!["token", "add", "xzz"], 2),
        (vec!["token", "add", "xzz", "--expires", "soon"], 2),
        (vec!["token", "add", "nobody", "--expires", "30d"], 1),
        (add(&["--name", "CI"]), 2),
        (add(&["--scope", "reed /x"]), 1),
        (add(&["--scope", "read /x | write /y"]), 1),
        (vec!["token", "list", "nobody"], 1),
        (vec!["token", "remove", "xzz", "ci"], 1),
    ] {
        folder.failed(&arguments, "", code);
        assert_eq!(folder.accounts(), TUTORIAL, "{arguments:?}");
    }
    let taken = add(&["--name", "ci"]);
    folder.user(&taken, "");
    assert_eq!(
        folder.failed(&taken, "", 1),
        "polyport: xzz has a token \"ci\" already\n"
    );
}

#[test]
fn can_tells_what_a_token_and_a_client_may_do() {
    let hash = "ab".repeat(32);
    let folder = Folder::new(Some(&format!(
        "[a]\nallow.1 = read /**\nallow.2 = publish dev/%c/#\ntoken.ci = sha256:{hash} scope=read /fw/**\n\
         token.old = sha256:{} expires=2001-01-01\n",
        "cd".repeat(32)
    )));
    fs::write(
        folder.path("polyport.toml"),
        "[services.files]\nplugin = \"http-files\"\n[services.mqtt]\nplugin = \"mqtt\"\n",
    )
    .unwrap();
    let file = folder.path("accounts.ini");
    let file = file.display();
    let can = |arguments: &[&str]| {
        let arguments = [&["can", "a"], arguments].concat();
        let output = folder.user(&arguments, "");
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let allowed = |why: &str| (Some(0), format!("allowed: {why}\n"));
    let denied = |why: &str| (Some(1), format!("polyport: denied: {why}\n"));
    let read = |target, more: &[&str]| can(&[&["files", "read", target], more].concat());
    assert_eq!(
        read("/fw/x", &["--token", "ci"]),
        allowed(&format!("{file}:2: a.allow.1 = read /**"))
    );
    assert_eq!(
        read("/x", &["--token", "ci"]),
        denied(&format!(
            "the scope of the token does not allow it, {file}:4: a.token.ci = scope=read /fw/**"
        ))
    );
    assert_eq!(
        read("/fw/x", &["--token", "old"]),
        denied(&format!(
            "the token is expired, {file}:5: a.token.old = expires=2001-01-01"
        ))
    );
    let wrong = read("/fw/x", &["--token", "c"]);
    assert_eq!(wrong.0, Some(2));
    assert!(
        wrong
            .1
            .contains("a has no token \"c\", did you mean \"ci\"?"),
        "{}",
        wrong.1
    );
    let publish = |more: &[&str]| can(&[&["mqtt", "publish", "dev/d1/t"], more].concat());
    assert_eq!(
        publish(&["--client-id", "d1"]),
        allowed(&format!("{file}:3: a.allow.2 = publish dev/%c/#"))
    );
    assert_eq!(publish(&[]).0, Some(1));
}
