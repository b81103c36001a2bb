//! Where folders are seen, by whom, and what can be done to them.

use std::fs;

use polyport_testkit::Client;

use super::doors::{Doors, curl};
use super::{ACCOUNTS, services};

#[test]
fn a_folder_has_the_same_name_by_every_door() {
    let host = services(ACCOUNTS)
        .folder("firmware", "path = \"fw\"")
        .folder("logs", "path = \"log\"\nat = \"/firmware/logs\"")
        .folder("deep", "path = \"deep\"\nat = \"/a b/c/deep\"")
        .file("files/readme.txt", "readme")
        .file("fw/v1.bin", "one")
        .file("fw/logs/under.txt", "hidden beneath")
        .file("log/today.txt", "today")
        .file("deep/x.txt", "x")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), ["a b", "firmware", "readme.txt"]);
    assert_eq!(ann.list("/firmware").unwrap(), ["logs", "v1.bin"]);
    assert_eq!(ann.list("/firmware/logs").unwrap(), ["today.txt"]);
    assert_eq!(ann.read("/firmware/v1.bin").unwrap(), "one");
    assert_eq!(ann.read("/firmware/logs/today.txt").unwrap(), "today");
    assert_eq!(ann.read("/firmware/logs/under.txt"), None);
    assert_eq!(ann.read("/firmware/../readme.txt").unwrap(), "readme");
    assert_eq!(
        ann.read("/firmware/logs/../../../../readme.txt").unwrap(),
        "readme"
    );
    assert_eq!(ann.get("/a%20b/c/?format=json").status, 200);
    assert_eq!(ann.get("/a%20b/c/deep/x.txt").body, b"x");
    assert_eq!(ann.ftp.command("CWD /a b/c").code, 250);
    let (_, listing) = ann.ftp.download("NLST").unwrap();
    assert_eq!(listing, b"deep\r\n");
    assert_eq!(ann.ftp.command("CWD deep").code, 250);
    assert_eq!(ann.ftp.command("CDUP").code, 250);
    assert_eq!(ann.ftp.command("CWD /").code, 250);

    // What comes in by one is there by the others.
    assert_eq!(ann.put("/firmware/v2.bin", b"two"), 201);
    assert_eq!(ann.stor("/firmware/logs/new.txt", b"new"), 226);
    assert_eq!(ann.read("/firmware/v2.bin").unwrap(), "two");
    assert_eq!(ann.read("/firmware/logs/new.txt").unwrap(), "new");
    assert_eq!(fs::read(host.path().join("fw/v2.bin")).unwrap(), b"two");
    assert_eq!(fs::read(host.path().join("log/new.txt")).unwrap(), b"new");

    // Programs that people use.
    let http = format!("http://{}", host.addr("files"));
    let ftp = format!("ftp://{}", host.addr("ftp"));
    for url in [&http, &ftp] {
        let found = curl(&format!("{url}/firmware/v1.bin"), "ann");
        assert_eq!(found, (Some(0), "one".into()), "{url}");
    }
    let script =
        format!("open -u ann,x {ftp}; cd /firmware/logs; cat today.txt; cls -1 /firmware; bye");
    let done = Client::new("lftp").args(["-c", &script]).run();
    assert_eq!(
        done.stdout(),
        "today/firmware/logs/\n/firmware/v1.bin\n/firmware/v2.bin\n"
    );
    let archive = Client::new("sh")
        .args([
            "-c",
            &format!("curl -s -u ann:x '{http}/?archive=tar.gz' | tar tz | sort"),
        ])
        .run();
    let names: Vec<String> = archive.stdout().lines().map(str::to_owned).collect();
    assert!(
        names.contains(&"files/firmware/logs/today.txt".to_owned()),
        "{names:?}"
    );
    assert!(
        names.contains(&"files/a b/c/deep/x.txt".to_owned()),
        "{names:?}"
    );
    assert!(
        !names.iter().any(|name| name.contains("under.txt")),
        "{names:?}"
    );
}

#[test]
fn a_home_is_the_root_by_every_door() {
    let host = services(ACCOUNTS)
        .folder("firmware", "path = \"fw\"")
        .folder("shared", "path = \"shared\"\nhomes = true")
        .file("files/readme.txt", "readme")
        .file("fw/v1.bin", "one")
        .file("shared/s.txt", "s")
        .file("home/bob/mine.txt", "mine")
        .start();
    let mut bob = Doors::open(&host, "bob");
    assert_eq!(bob.list("/").unwrap(), ["mine.txt", "shared"]);
    assert_eq!(bob.read("/mine.txt").unwrap(), "mine");
    assert_eq!(bob.read("/shared/s.txt").unwrap(), "s");
    for outside in [
        "/readme.txt",
        "/firmware/v1.bin",
        "/../files/readme.txt",
        "/../../fw/v1.bin",
    ] {
        assert_eq!(bob.read(outside), None, "{outside}");
    }
    assert_eq!(bob.list("/firmware"), None);
    assert_eq!(bob.put("/up.txt", b"up"), 201);
    assert_eq!(bob.read("/up.txt").unwrap(), "up");
    assert!(host.path().join("home/bob/up.txt").exists());
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), ["firmware", "readme.txt", "shared"]);
}

#[test]
fn rights_are_those_of_the_path_that_clients_see() {
    let accounts = "\
[ann]
password = x
allow.1 = list,read /
allow.2 = list,read /firmware/**
allow.3 = all /inbox/**
deny.1 = all /firmware/secret/**
";
    let host = services(accounts)
        .folder("firmware", "path = \"fw\"")
        .folder("inbox", "path = \"in\"")
        .folder("closed", "path = \"closed\"")
        .file("fw/v1.bin", "one")
        .file("fw/secret/key", "key")
        .file("in/x", "x")
        .file("closed/c", "c")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), ["firmware", "inbox"]);
    assert_eq!(ann.list("/firmware").unwrap(), ["v1.bin"]);
    assert_eq!(ann.get("/firmware/secret/key").status, 403);
    assert_eq!(ann.get("/closed/c").status, 403);
    assert_eq!(ann.ftp.download("RETR /closed/c").unwrap().0[0].code, 550);
    assert!(
        ann.tcp
            .get("/closed/c")
            .unwrap()
            .0
            .get("file_size")
            .is_none()
    );
    assert_eq!(ann.put("/firmware/new", b"x"), 403);
    assert_eq!(ann.stor("/firmware/new", b"x"), 553);
    assert_eq!(ann.put("/inbox/new", b"x"), 201);
    for (action, target, code) in [
        ("read", "/firmware/v1.bin", 0),
        ("write", "/firmware/v1.bin", 1),
    ] {
        let told = host.command(&["user", "can", "ann", "files", action, target]);
        assert_eq!(told.code, Some(code), "{told}");
    }
}

#[test]
fn folders_themselves_stay_where_they_are() {
    let host = services(ACCOUNTS)
        .folder("a", "path = \"a\"")
        .folder("b", "path = \"b\"\nat = \"/a/x/b\"")
        .file("a/file", "file")
        .file("a/dir/file", "file")
        .file("b/file", "b")
        .start();
    let mut ann = Doors::open(&host, "ann");
    for command in [
        "RMD /a",
        "RMD /a/x",
        "RMD /a/x/b",
        "DELE /a",
        "MKD /a",
        "MKD /a/x",
        "MKD /",
    ] {
        assert_eq!(ann.ftp.command(command).code, 550, "{command}");
    }
    for (from, to, refusal) in [
        ("/a", "/c", "550 Rename failed. Permission denied"),
        ("/a/x", "/a/y", "550 "),
        ("/a/file", "/a/x/b", "550 Rename failed. Permission denied"),
        (
            "/a/file",
            "/a/x/b/file2",
            "550 Rename failed. The two names are in different folders",
        ),
        (
            "/a/file",
            "/file",
            "550 Rename failed. The two names are in different folders",
        ),
        (
            "/a/dir",
            "/a/x/b/dir",
            "550 Rename failed. The two names are in different folders",
        ),
    ] {
        let begun = ann.ftp.command(format!("RNFR {from}"));
        let told = match begun.code {
            350 => ann.ftp.command(format!("RNTO {to}")),
            _ => begun,
        };
        let text = String::from_utf8_lossy(&told.text).into_owned();
        assert!(text.starts_with(refusal), "{from} {to}: {text}");
    }
    assert_eq!(ann.put("/a", b"x"), 409);
    assert_eq!(ann.stor("/a/x", b"x"), 553);
    assert_eq!(ann.ftp.command("RNFR /a/file").code, 350);
    assert_eq!(ann.ftp.command("RNTO /a/dir/moved").code, 250);
    assert_eq!(ann.read("/a/dir/moved").unwrap(), "file");
    assert_eq!(ann.list("/a").unwrap(), ["dir", "x"]);
}

#[test]
fn without_a_root_there_are_the_folders_alone() {
    let host = services(ACCOUNTS)
        .settings("files", "root = \"\"")
        .settings("ftp", "root = \"\"")
        .settings("tcp-files", "root = \"\"")
        .keys("tcp-files", "folders = [\"a\"]")
        .keys("ftp", "folders = [\"a\"]")
        .keys("files", "folders = [\"a\"]")
        .folder("a", "path = \"a\"")
        .folder("b", "path = \"b\"")
        .file("files/readme.txt", "readme")
        .file("a/file", "file")
        .file("b/file", "file")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/").unwrap(), ["a"]);
    assert_eq!(ann.read("/a/file").unwrap(), "file");
    for missing in ["/readme.txt", "/b/file", "/x"] {
        assert_eq!(ann.read(missing), None, "{missing}");
    }
    assert_eq!(ann.put("/x", b"x"), 403);
    assert_eq!(ann.stor("/x", b"x"), 553);
    assert_eq!(ann.ftp.command("MKD /x").code, 550);
    assert_eq!(ann.put("/a/x", b"x"), 201);
    let answer = ann.get("/a");
    assert_eq!(answer.status, 301, "{}", answer.head);
}
