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
    for (arguments, said) in [
        (
            ["can", "alice", "mqtt", "subscribe", "#"],
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
