//! Attacks on the jail, and what it is for.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;
use std::{fs, thread};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::*;

const SECRET: &str = "outside";

/// `secret` and `jail/` with `a.txt` and `folder/b.txt`.
struct Place {
    outside: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), SECRET).unwrap();
        fs::create_dir_all(outside.path().join("jail/folder")).unwrap();
        fs::write(outside.path().join("jail/a.txt"), "a").unwrap();
        fs::write(outside.path().join("jail/folder/b.txt"), "bb").unwrap();
        Self { outside }
    }

    fn root(&self) -> std::path::PathBuf {
        self.outside.path().join("jail")
    }

    fn jail(&self, symlinks: Symlinks) -> Jail {
        Jail::open(&self.root(), symlinks).unwrap()
    }

    fn both(&self) -> [Jail; 2] {
        [self.jail(Symlinks::Never), self.jail(Symlinks::Inside)]
    }
}

fn path(text: impl AsRef<[u8]>) -> ClientPath {
    ClientPath::parse(text).unwrap()
}

fn content(jail: &Jail, name: &str) -> Result<String, Error> {
    let (mut file, _) = jail.open_file(&path(name))?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

fn names(jail: &Jail, name: &str) -> Vec<String> {
    let mut names: Vec<_> = jail
        .read_dir(&path(name))
        .unwrap()
        .map(|entry| entry.unwrap().name.into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_and_folders_are_read() {
    let place = Place::new();
    for jail in place.both() {
        assert_eq!(content(&jail, "/folder/b.txt").unwrap(), "bb");
        if let Some((_, metadata)) = jail.open_file_cached(&path("/folder/b.txt")) {
            assert_eq!(metadata.len, 2);
        }
        assert!(jail.open_file_cached(&path("folder")).is_none());
        assert_eq!(names(&jail, "/"), ["a.txt", "folder"]);
        let metadata = jail.metadata(&path("folder/b.txt")).unwrap();
        assert!(metadata.is_file());
        assert_eq!(metadata.len, 2);
        assert!(jail.metadata(&ClientPath::root()).unwrap().is_dir());
        assert!(matches!(
            jail.open_file(&path("folder")),
            Err(Error::IsADirectory)
        ));
        assert!(matches!(
            jail.read_dir(&path("a.txt")),
            Err(Error::NotADirectory)
        ));
        assert!(matches!(jail.metadata(&path("none")), Err(Error::NotFound)));
        assert!(matches!(
            jail.metadata(&path("a.txt/x")),
            Err(Error::NotADirectory)
        ));
        let long = "x".repeat(300);
        assert!(matches!(
            jail.metadata(&path(long)),
            Err(Error::InvalidPath)
        ));
    }
}

#[test]
fn dots_lead_nowhere() {
    let place = Place::new();
    for jail in place.both() {
        for attempt in [
            "../secret",
            "/../secret",
            "folder/../../secret",
            "..\\secret",
            "./.././secret",
        ] {
            assert!(
                content(&jail, attempt).unwrap_err().is_not_found(),
                "{attempt}"
            );
        }
        assert_eq!(names(&jail, "../.."), ["a.txt", "folder"]);
    }
}

#[test]
fn links_are_followed_inside_and_nowhere_else() {
    let place = Place::new();
    symlink("folder/b.txt", place.root().join("in")).unwrap();
    symlink("../jail/a.txt", place.root().join("out-and-in")).unwrap();
    symlink("../secret", place.root().join("out")).unwrap();
    symlink(
        place.outside.path().join("secret"),
        place.root().join("absolute"),
    )
    .unwrap();
    symlink("..", place.root().join("up")).unwrap();
    symlink("loop", place.root().join("loop")).unwrap();
    symlink("folder", place.root().join("way")).unwrap();

    let inside = place.jail(Symlinks::Inside);
    assert_eq!(content(&inside, "in").unwrap(), "bb");
    assert_eq!(content(&inside, "way/b.txt").unwrap(), "bb");
    assert_eq!(names(&inside, "/"), ["a.txt", "folder", "in", "way"]);
    let never = place.jail(Symlinks::Never);
    for (jail, name) in [
        (&never, "in"),
        (&never, "way/b.txt"),
        (&never, "way"),
        (&inside, "loop"),
        (&inside, "up/jail/a.txt"),
        (&inside, "out-and-in"),
    ] {
        assert!(content(jail, name).unwrap_err().is_not_found(), "{name}");
        assert!(
            jail.metadata(&path(name)).unwrap_err().is_not_found(),
            "{name}"
        );
    }
    assert_eq!(names(&never, "/"), ["a.txt", "folder"]);
    for jail in place.both() {
        for name in ["out", "absolute", "up/secret"] {
            assert!(jail.open_file_cached(&path(name)).is_none(), "{name}");
            assert!(
                jail.open_file(&path(name)).unwrap_err().is_not_found(),
                "{name}"
            );
            assert!(
                jail.append(&path(name)).unwrap_err().is_not_found(),
                "{name}"
            );
            assert!(
                jail.resume(&path(name), 0).unwrap_err().is_not_found(),
                "{name}"
            );
            assert!(
                jail.upload(&path(name), Replace::Allowed)
                    .unwrap_err()
                    .is_not_found()
            );
        }
        assert!(jail.read_dir(&path("up")).unwrap_err().is_not_found());
        assert!(jail.create_dir(&path("up/new")).unwrap_err().is_not_found());
        assert!(
            jail.rename(&path("a.txt"), &path("up/a.txt"))
                .unwrap_err()
                .is_not_found()
        );
        assert!(
            jail.remove_file(&path("up/secret"))
                .unwrap_err()
                .is_not_found()
        );
    }
    assert_eq!(
        fs::read_to_string(place.outside.path().join("secret")).unwrap(),
        SECRET
    );
}

#[test]
fn links_are_followed_anywhere_where_the_operator_wants_it() {
    let place = Place::new();
    let secret = place.outside.path().join("secret");
    symlink("../secret", place.root().join("out")).unwrap();
    symlink(&secret, place.root().join("absolute")).unwrap();
    symlink(place.outside.path(), place.root().join("up")).unwrap();
    symlink("/dev/zero", place.root().join("zero")).unwrap();
    symlink("/proc/self/status", place.root().join("status")).unwrap();
    symlink("/proc/self/root", place.root().join("root")).unwrap();
    symlink("/sys", place.root().join("sys")).unwrap();
    mknodat(
        CWD,
        place.outside.path().join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let jail = place.jail(Symlinks::Follow);
    for name in ["out", "absolute", "up/secret"] {
        assert_eq!(content(&jail, name).unwrap(), SECRET, "{name}");
    }
    for name in [
        "zero",
        "status",
        "root",
        "root/etc/passwd",
        "sys",
        "sys/kernel/notes",
        "up/fifo",
    ] {
        assert!(jail.metadata(&path(name)).is_err(), "{name}");
        assert!(jail.open_file(&path(name)).is_err(), "{name}");
        assert!(jail.open_file_cached(&path(name)).is_none(), "{name}");
        assert!(jail.read_dir(&path(name)).is_err(), "{name}");
        assert!(jail.append(&path(name)).is_err(), "{name}");
    }
    assert_eq!(
        names(&jail, "/"),
        ["a.txt", "absolute", "folder", "out", "up"]
    );
    let mut upload = jail.upload(&path("up/new"), Replace::Forbidden).unwrap();
    upload.write_all(b"x").unwrap();
    upload.commit().unwrap();
    assert!(place.outside.path().join("new").exists());
}

#[test]
fn a_link_swapped_in_during_the_walk_never_leads_out() {
    let place = Place::new();
    fs::create_dir(place.outside.path().join("folder")).unwrap();
    fs::write(place.outside.path().join("folder/b.txt"), SECRET).unwrap();
    symlink("..", place.root().join("link")).unwrap();
    fs::create_dir_all(place.root().join("swap/folder")).unwrap();
    fs::write(place.root().join("swap/folder/b.txt"), "bb").unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let (a, b) = (place.root().join("swap"), place.root().join("link"));
            while !stop.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &a, CWD, &b, exchange).unwrap();
            }
        });
        let mut read = 0;
        for jail in place.both() {
            for _ in 0..5000 {
                match content(&jail, "swap/folder/b.txt") {
                    Ok(text) => {
                        assert_eq!(text, "bb");
                        read += 1;
                    }
                    Err(error) => assert!(error.is_not_found(), "{error:?}"),
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(read > 0, "the race was never won: the test proves nothing");
    });
}

#[test]
fn special_files_are_never_served_and_never_waited_for() {
    let place = Place::new();
    mknodat(
        CWD,
        place.root().join("fifo"),
        FileType::Fifo,
        Mode::from_raw_mode(0o666),
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(place.root().join("socket")).unwrap();
    for jail in place.both() {
        for name in ["fifo", "socket"] {
            assert!(jail.open_file_cached(&path(name)).is_none(), "{name}");
            assert!(
                matches!(jail.open_file(&path(name)), Err(Error::NotRegular)),
                "{name}"
            );
            assert!(
                matches!(jail.append(&path(name)), Err(Error::NotRegular)),
                "{name}"
            );
            assert!(
                matches!(jail.metadata(&path(name)), Err(Error::NotRegular)),
                "{name}"
            );
            assert!(matches!(
                jail.upload(&path(name), Replace::Allowed),
                Err(Error::NotRegular)
            ));
        }
        assert_eq!(names(&jail, "/"), ["a.txt", "folder"]);
    }
    let slash = Jail::open(Path::new("/"), Symlinks::Inside).unwrap();
    assert!(matches!(
        slash.open_file(&path("/dev/null")),
        Err(Error::NotRegular)
    ));
    assert!(matches!(
        slash.open_file(&path("/proc/self/status")),
        Err(Error::NotRegular)
    ));
    assert!(
        slash
            .open_file(&path("/proc/self/root/etc/passwd"))
            .is_err()
    );
    assert!(slash.read_dir(&path("/proc")).is_err());
    assert!(Jail::open(Path::new("/proc/self"), Symlinks::Inside).is_err());
}

#[test]
fn an_upload_appears_whole_or_not_at_all() {
    let place = Place::new();
    fs::set_permissions(
        place.root().join("a.txt"),
        fs::Permissions::from_mode(0o640),
    )
    .unwrap();
    for jail in place.both() {
        let before = content(&jail, "a.txt").unwrap();
        let mut upload = jail.upload(&path("a.txt"), Replace::Allowed).unwrap();
        upload.write_all(b"half").unwrap();
        assert_eq!(content(&jail, "a.txt").unwrap(), before);
        assert_eq!(names(&jail, "/"), ["a.txt", "folder"]);
        drop(upload);
        assert_eq!(content(&jail, "a.txt").unwrap(), before);
        assert_eq!(
            fs::read_dir(place.root()).unwrap().count(),
            2,
            "the temporary file is gone"
        );

        let mut upload = jail.upload(&path("a.txt"), Replace::Allowed).unwrap();
        upload.write_all(b"whole").unwrap();
        assert_eq!(upload.commit().unwrap().len, 5);
        assert_eq!(content(&jail, "a.txt").unwrap(), "whole");
        assert_eq!(jail.metadata(&path("a.txt")).unwrap().mode, 0o640);
    }
}

#[test]
fn an_upload_that_must_be_new_replaces_nothing() {
    let place = Place::new();
    let jail = place.jail(Symlinks::Inside);
    assert!(matches!(
        jail.upload(&path("a.txt"), Replace::Forbidden),
        Err(Error::Exists)
    ));
    assert!(matches!(
        jail.upload(&path("folder"), Replace::Allowed),
        Err(Error::IsADirectory)
    ));
    assert!(matches!(
        jail.upload(&path("no/x"), Replace::Allowed),
        Err(Error::NotFound)
    ));
    let mut late = jail.upload(&path("new"), Replace::Forbidden).unwrap();
    late.write_all(b"late").unwrap();
    let mut first = jail.upload(&path("new"), Replace::Forbidden).unwrap();
    first.write_all(b"first").unwrap();
    first.commit().unwrap();
    assert!(matches!(late.commit(), Err(Error::Exists)));
    assert_eq!(content(&jail, "new").unwrap(), "first");
    let part = jail.upload(&path("new"), Replace::Allowed).unwrap();
    assert!(matches!(part.commit_if_new(), Err(Error::Exists)));
}

#[test]
fn what_a_crash_left_is_swept_and_what_is_written_is_not() {
    let place = Place::new();
    let jail = place.jail(Symlinks::Inside);
    let stale = place
        .root()
        .join("folder")
        .join(format!("{}1", super::path::UPLOAD_PREFIX));
    fs::write(&stale, "left").unwrap();
    let mut upload = jail.upload(&path("folder/c"), Replace::Allowed).unwrap();
    upload.write_all(b"c").unwrap();
    assert_eq!(jail.sweep().unwrap(), 1);
    assert!(!stale.exists());
    upload.commit().unwrap();
    assert_eq!(content(&jail, "folder/c").unwrap(), "c");
}

#[test]
fn a_broken_upload_is_resumed_at_its_end_or_before() {
    let place = Place::new();
    let jail = place.jail(Symlinks::Inside);
    fs::write(place.root().join("part"), "0123xx").unwrap();
    let mut file = jail.resume(&path("part"), 4).unwrap();
    file.write_all(b"456").unwrap();
    let (mut file, metadata) = jail.append(&path("part")).unwrap();
    assert_eq!(metadata.len, 7);
    file.write_all(b"7").unwrap();
    assert_eq!(content(&jail, "part").unwrap(), "01234567");
    assert!(matches!(
        jail.resume(&path("part"), 9),
        Err(Error::PastEnd { len: 8 })
    ));
    assert!(matches!(
        jail.resume(&path("none"), 0),
        Err(Error::NotFound)
    ));
    jail.append(&path("none")).unwrap();
    assert_eq!(content(&jail, "none").unwrap(), "");
}

#[test]
fn names_are_changed_made_and_removed() {
    let place = Place::new();
    for jail in place.both() {
        jail.create_dir(&path("new")).unwrap();
        assert!(matches!(jail.create_dir(&path("new")), Err(Error::Exists)));
        jail.rename(&path("a.txt"), &path("new/b.txt")).unwrap();
        assert!(matches!(
            jail.remove_dir(&path("new")),
            Err(Error::NotEmpty)
        ));
        assert!(matches!(
            jail.remove_dir(&path("new/b.txt")),
            Err(Error::NotADirectory)
        ));
        assert!(matches!(
            jail.remove_file(&path("new")),
            Err(Error::IsADirectory)
        ));
        assert!(matches!(
            jail.rename_new(&path("new/b.txt"), &path("folder/b.txt")),
            Err(Error::Exists)
        ));
        jail.rename_new(&path("new/b.txt"), &path("a.txt")).unwrap();
        jail.remove_dir(&path("new")).unwrap();
        assert!(matches!(
            jail.remove_file(&path("new")),
            Err(Error::NotFound)
        ));
        let time = UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 5);
        jail.set_modified(&path("a.txt"), time).unwrap();
        assert_eq!(jail.metadata(&path("a.txt")).unwrap().modified, time);
        assert!(matches!(
            jail.remove_dir(&ClientPath::root()),
            Err(Error::Denied)
        ));
        assert!(matches!(
            jail.rename(&ClientPath::root(), &path("x")),
            Err(Error::Denied)
        ));
    }
}

#[test]
fn a_jail_in_the_jail_has_a_root_of_its_own() {
    let place = Place::new();
    let home = place
        .jail(Symlinks::Inside)
        .open_beneath(&path("folder"))
        .unwrap();
    assert_eq!(names(&home, "/"), ["b.txt"]);
    assert!(content(&home, "../a.txt").unwrap_err().is_not_found());
    symlink("../a.txt", place.root().join("folder/out")).unwrap();
    assert!(content(&home, "out").unwrap_err().is_not_found());
}

#[test]
fn a_sweep_never_takes_an_upload_that_begins() {
    let place = Place::new();
    let jail = place.jail(Symlinks::Inside);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                jail.sweep().unwrap();
            }
        });
        for number in 0..300 {
            let name = path(format!("up{number}"));
            let mut upload = jail.upload(&name, Replace::Forbidden).unwrap();
            upload.write_all(b"x").unwrap();
            upload.commit().unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(names(&jail, "/").len(), 302);
}
