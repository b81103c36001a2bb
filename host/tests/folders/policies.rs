//! Links, hidden names and what is no file, each as its folder has it.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use polyport_testkit::Host;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use super::doors::Doors;
use super::{ACCOUNTS, services};

/// Links of every kind, and all that is no file.
fn fill(folder: &Path, outside: &Path) {
    fs::create_dir_all(folder.join("sub")).unwrap();
    fs::write(folder.join("sub/file"), "inside").unwrap();
    symlink("sub/file", folder.join("in")).unwrap();
    symlink("sub", folder.join("way")).unwrap();
    symlink(outside, folder.join("out")).unwrap();
    symlink("/proc/self/status", folder.join("proc")).unwrap();
    symlink("/proc/self/root", folder.join("procroot")).unwrap();
    symlink("/sys/kernel", folder.join("sys")).unwrap();
    symlink("/dev/null", folder.join("null")).unwrap();
    symlink("loop", folder.join("loop")).unwrap();
    let node = |name: &str, kind, device| {
        mknodat(
            CWD,
            folder.join(name),
            kind,
            Mode::from_raw_mode(0o666),
            device,
        )
    };
    node("fifo", FileType::Fifo, 0).unwrap();
    // Needs root; elsewhere the link to /dev/null has to do.
    if rustix::process::geteuid().is_root() {
        node("zero", FileType::CharacterDevice, makedev(1, 5)).unwrap();
    }
    drop(UnixListener::bind(folder.join("socket")).unwrap());
}

#[test]
fn each_folder_has_its_rule_about_links_and_none_serves_what_is_no_file() {
    let host = services(ACCOUNTS)
        .folder("never", "path = \"never\"\nsymlinks = \"never\"")
        .folder("inside", "path = \"inside\"")
        .folder("follow", "path = \"follow\"\nsymlinks = \"follow\"")
        .file("outside/secret", "secret")
        .file("never/x", "x")
        .file("inside/x", "x")
        .file("follow/x", "x")
        .prepare();
    for folder in ["never", "inside", "follow"] {
        fill(&host.path().join(folder), &host.path().join("outside"));
    }
    let mut host = host;
    host.start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/never").unwrap(), ["sub", "x"]);
    assert_eq!(ann.list("/inside").unwrap(), ["in", "sub", "way", "x"]);
    assert_eq!(
        ann.list("/follow").unwrap(),
        ["in", "out", "sub", "way", "x"]
    );
    let followed = |ann: &mut Doors, path: &str| ann.read(path).is_some();
    for (folder, [inside, out]) in [
        ("never", [false; 2]),
        ("inside", [true, false]),
        ("follow", [true; 2]),
    ] {
        for (path, there) in [
            ("in", inside),
            ("way/file", inside),
            ("out/secret", out),
            ("sub/file", true),
        ] {
            let path = format!("/{folder}/{path}");
            assert_eq!(followed(&mut ann, &path), there, "{path}");
        }
        for path in [
            "proc",
            "procroot",
            "procroot/etc/passwd",
            "sys",
            "sys/notes",
            "null",
            "loop",
            "fifo",
            "zero",
            "socket",
        ] {
            let path = format!("/{folder}/{path}");
            refused(&mut ann, &path);
        }
    }
    // Who follows may write there as well, where rights allow it; who does not may not.
    assert_eq!(ann.put("/follow/out/new", b"new"), 201);
    assert_eq!(ann.put("/inside/out/new2", b"new"), 404);
    assert!(host.path().join("outside/new").exists());
    assert!(!host.path().join("outside/new2").exists());
    assert_eq!(
        fs::read_dir(host.path().join("outside")).unwrap().count(),
        2
    );
}

/// What is no file is opened by nobody, for reading or writing.
fn refused(ann: &mut Doors, path: &str) {
    let got = ann.get(path).status;
    assert!(matches!(got, 403 | 404), "GET {path}: {got}");
    let put = ann.put(path, b"x");
    assert!(matches!(put, 403 | 404 | 409), "PUT {path}: {put}");
    for command in ["RETR", "APPE", "SIZE", "MLST", "MDTM"] {
        let replies = match command {
            "RETR" => ann.ftp.download(format!("RETR {path}")).unwrap().0,
            "APPE" => ann.ftp.upload(format!("APPE {path}"), b"x").unwrap(),
            other => vec![ann.ftp.command(format!("{other} {path}"))],
        };
        let code = replies.last().unwrap().code;
        assert!(matches!(code, 550 | 553), "{command} {path}: {code}");
    }
    let (header, _) = ann.tcp.get(path).unwrap();
    assert!(header.get("file_size").is_none(), "{path}: {header}");
}

#[test]
fn hidden_names_are_there_for_nobody_or_for_all() {
    let host = services(ACCOUNTS)
        .folder("closed", "path = \"closed\"")
        .folder("open", "path = \"open\"\nhidden = true")
        .file("closed/.secret", "s")
        .file("closed/.git/config", "s")
        .file("closed/seen", "seen")
        .file("open/.secret", "s")
        .file("open/.git/config", "s")
        .file("open/seen", "seen")
        .start();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.list("/closed").unwrap(), ["seen"]);
    assert_eq!(ann.list("/open").unwrap(), [".git", ".secret", "seen"]);
    for name in [".secret", ".git/config"] {
        assert_eq!(ann.read(&format!("/closed/{name}")), None, "{name}");
        assert_eq!(ann.read(&format!("/open/{name}")).unwrap(), "s", "{name}");
    }
    assert_eq!(ann.list("/closed/.git"), None);
    // They cannot be made, changed, moved or removed, whether there is one or not.
    for name in [".secret", ".other"] {
        assert_eq!(ann.put(&format!("/closed/{name}"), b"x"), 403, "{name}");
        assert_eq!(ann.stor(&format!("/closed/{name}"), b"x"), 553, "{name}");
        for command in ["DELE", "SIZE", "MLST", "RNFR", "MKD", "RMD", "CWD"] {
            let told = ann.ftp.command(format!("{command} /closed/{name}"));
            assert_eq!(told.code, 550, "{command} {name}");
        }
    }
    assert_eq!(ann.ftp.command("RNFR /closed/seen").code, 350);
    assert_eq!(ann.ftp.command("RNTO /closed/.gone").code, 550);
    assert_eq!(ann.put("/open/.new", b"x"), 201);
    assert_eq!(fs::read_dir(host.path().join("closed")).unwrap().count(), 3);
}

#[test]
fn a_disk_that_is_full_keeps_the_old_file() {
    let host: Host = services(ACCOUNTS)
        .folder("small", "path = \"small\"")
        .file("small/x", "x")
        .start();
    let small = host.path().join("small");
    let place = small.to_str().unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none", place])
        .status();
    // Only root may mount; CI is root.
    if !mount.is_ok_and(|status| status.success()) {
        assert!(
            !rustix::process::geteuid().is_root(),
            "root could not mount a tmpfs"
        );
        return;
    }
    struct Unmount<'a>(&'a str);
    impl Drop for Unmount<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount")
                .arg("-l")
                .arg(self.0)
                .status();
        }
    }
    let _unmount = Unmount(place);
    let mut host = host;
    host.restart();
    let mut ann = Doors::open(&host, "ann");
    assert_eq!(ann.put("/small/file", b"old"), 201);
    let large = vec![b'x'; 200 * 1024];
    assert_eq!(ann.put("/small/file", &large), 507);
    assert_eq!(ann.stor("/small/file", &large), 452);
    assert_eq!(ann.read("/small/file").unwrap(), "old");
    assert_eq!(fs::read_dir(&small).unwrap().count(), 1);
}
