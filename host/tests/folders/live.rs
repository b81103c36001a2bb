//! Folders that come and go while sessions are open.

use std::fs;

use polyport_testkit::eventually;

use super::doors::Doors;
use super::{ACCOUNTS, services};

#[test]
fn folders_come_and_go_under_open_sessions() {
    let host = services(ACCOUNTS)
        .service("mqtt")
        .file("fw/v1.bin", "one")
        .file("log/today", "today")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), [""; 0]);
    let before = started(&host);
    let table = "\n[folders.firmware]\npath = \"fw\"\n";
    host.edit_config(|text| format!("{text}{table}"));
    let diff = host.command(&["diff"]).stdout();
    // The watcher may have been quicker than the command.
    if !diff.contains("files: untouched") {
        for line in [
            "files: live (folders)",
            "ftp: live (folders)",
            "tcp-files: live (folders)",
            "mqtt: untouched",
        ] {
            assert!(diff.lines().any(|found| found == line), "{line}: {diff}");
        }
    }
    reload(&host);
    assert_eq!(ann.list("/").unwrap(), ["firmware"]);
    assert_eq!(ann.read("/firmware/v1.bin").unwrap(), "one");
    assert_eq!(ann.ftp.command("CWD /firmware").code, 250);

    // Elsewhere under the same name, then only for two, then gone.
    host.edit_config(|text| text.replace("path = \"fw\"", "path = \"log\""));
    reload(&host);
    assert_eq!(ann.list("/firmware").unwrap(), ["today"]);
    assert_eq!(ann.read("/firmware/v1.bin"), None);
    host.edit_config(|text| text.replace("plugin = \"ftp\"", "plugin = \"ftp\"\nfolders = []"));
    reload(&host);
    assert_eq!(ann.get("/firmware/today").status, 200);
    assert_eq!(ann.ftp.command("SIZE /firmware/today").code, 550);
    host.edit_config(|text| text.replace("[folders.firmware]\npath = \"log\"\n", ""));
    reload(&host);
    assert_eq!(ann.get("/firmware/today").status, 404);
    assert!(
        ann.tcp
            .get("/firmware/today")
            .unwrap()
            .0
            .get("file_size")
            .is_none()
    );
    assert_eq!(ann.list("/").unwrap(), [""; 0]);
    assert_eq!(started(&host), before, "no instance was swapped");
}

/// When each instance was started.
fn started(host: &polyport_testkit::Host) -> Vec<String> {
    let status = host.status();
    let services = status["services"].as_array().unwrap();
    services
        .iter()
        .map(|service| format!("{} {}", service["name"], service["started"]))
        .collect()
}

fn reload(host: &polyport_testkit::Host) {
    let done = host.command(&["reload", "--wait"]);
    assert_eq!(done.code, Some(0), "{done}");
}

#[test]
fn a_folder_that_is_not_there_is_told_with_its_line_and_holds_up_nothing_else() {
    let host = services(ACCOUNTS)
        .folder("gone", "path = \"later\"")
        .file("files/x", "x")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), ["x"]);
    let told = host.command(&["check"]);
    assert_eq!(told.code, Some(1), "{told}");
    let line = "folders.gone.path: expected a folder at ";
    assert!(told.stdout().contains(line), "{told}");

    // It comes, as a disk does, and needs no reload.
    fs::create_dir(host.path().join("later")).unwrap();
    fs::write(host.path().join("later/y"), "y").unwrap();
    assert_eq!(ann.list("/").unwrap(), ["gone", "x"]);
    assert_eq!(ann.read("/gone/y").unwrap(), "y");

    // A new one that is not there refuses the change.
    host.edit_config(|text| format!("{text}\n[folders.typo]\npath = \"lator\"\n"));
    let refused = host.command(&["reload", "--wait"]);
    assert_ne!(refused.code, Some(0), "{refused}");
    assert!(
        format!("{refused}").contains("folders.typo.path: expected a folder at "),
        "{refused}"
    );
}

#[test]
fn what_a_crash_left_is_removed_from_folders_and_homes() {
    let left = ".polyport-upload-0123456789abcdef";
    let host = services(ACCOUNTS)
        .folder("firmware", "path = \"fw\"")
        .file(format!("files/{left}"), "left")
        .file(format!("fw/sub/{left}"), "left")
        .file(format!("home/bob/sub/{left}"), "left")
        .start();
    let gone = |path: &str| {
        let path = host.path().join(path).join(left);
        eventually("the broken upload is gone", || {
            (!path.exists()).then_some(())
        });
    };
    gone("files");
    gone("fw/sub");
    assert!(host.path().join("home/bob/sub").join(left).exists());
    let mut bob = Doors::open(&host, "bob");
    assert_eq!(bob.list("/").unwrap(), ["sub"]);
    gone("home/bob/sub");
}
