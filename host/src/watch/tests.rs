use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use super::places::{Names, Places};
use super::{RESCAN, Watched, Watcher};

fn watched(folder: &Path) -> Watched {
    Watched {
        config: folder.join("polyport.toml"),
        accounts: folder.join("accounts.ini"),
        tls: BTreeSet::from([folder.join("cert.pem")]),
        plugins: folder.join("plugins"),
        quiet_time: Duration::from_millis(10),
    }
}

#[test]
fn a_look_sees_text_and_libraries_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let watched = watched(folder.path());
    fs::create_dir(&watched.plugins).unwrap();
    let empty = watched.look();
    fs::write(&watched.config, "a").unwrap();
    let one = watched.look();
    fs::write(folder.path().join("notes.txt"), "x").unwrap();
    fs::write(watched.plugins.join("notes.txt"), "x").unwrap();
    assert_ne!(empty, one);
    assert_eq!(watched.look(), one);
    fs::write(watched.plugins.join("libx.so"), "x").unwrap();
    let two = watched.look();
    assert_ne!(two, one);
    fs::write(folder.path().join("cert.pem"), "x").unwrap();
    assert_ne!(watched.look(), two);
}

fn names<'a>(places: &'a Places, folder: &Path) -> &'a Names {
    let folder = folder.canonicalize().unwrap();
    &places.folders[&folder]
}

#[test]
fn each_link_on_the_way_is_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let watched = watched(here);
    fs::create_dir_all(here.join("deep/..one")).unwrap();
    fs::write(here.join("deep/..one/polyport.toml"), "").unwrap();
    symlink("..one", here.join("deep/..data")).unwrap();
    symlink("deep/..data/polyport.toml", &watched.config).unwrap();
    symlink("loop", here.join("loop")).unwrap();
    symlink("loop/x", &watched.accounts).unwrap();
    let places = Places::of(&watched);
    let contain = |folder: &str, name: &str| {
        let names = names(&places, &here.join(folder));
        names.contain(name.as_ref())
    };
    assert!(contain(".", "polyport.toml") && contain("deep", "..data"));
    assert!(contain("deep/..one", "polyport.toml") && !contain("deep", "..one"));
    assert!(contain(".", "loop"), "one that leads nowhere");
    assert!(contain(".", "cert.pem"), "one that is missing");
    assert!(!contain(".", "notes.txt"));
    let above = names(&places, here.parent().unwrap());
    assert!(above.is_empty(), "only their own end counts there");
    let real = here.join("deep/..one/polyport.toml");
    assert_eq!(places.files, BTreeSet::from([real.canonicalize().unwrap()]));
}

#[test]
fn of_what_is_missing_the_nearest_folder_above_is_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let mut watched = watched(folder.path());
    watched.plugins = folder.path().join("a/b/plugins");
    fs::create_dir(folder.path().join("a")).unwrap();
    let places = Places::of(&watched);
    assert!(names(&places, &folder.path().join("a")).contain("b".as_ref()));
    fs::create_dir_all(&watched.plugins).unwrap();
    let places = Places::of(&watched);
    assert!(names(&places, &watched.plugins).contain("libx.so".as_ref()));
    assert!(names(&places, &folder.path().join("a")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_replaced_by_rename_again_and_again_is_told_each_time_by_an_event() {
    let folder = tempfile::tempdir().unwrap();
    let watched = watched(folder.path());
    fs::write(&watched.config, "0").unwrap();
    let (_watcher, mut changed) = Watcher::start(watched.clone(), watched.look());
    for round in 1..20 {
        let fresh = folder.path().join("fresh");
        fs::write(&fresh, round.to_string()).unwrap();
        fs::rename(&fresh, &watched.config).unwrap();
        let told = tokio::time::timeout(RESCAN, changed.recv()).await.unwrap();
        assert_eq!(told, Some(watched.look()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn other_files_to_follow_are_told_of_unless_their_state_is_known() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, two) = (watched(one.path()), watched(two.path()));
    fs::create_dir_all(two.config.parent().unwrap()).unwrap();
    fs::write(&two.config, "x").unwrap();
    let (watcher, mut changed) = Watcher::start(one.clone(), one.look());
    watcher.follow(two.clone(), two.look());
    let nothing = tokio::time::timeout(Duration::from_millis(200), changed.recv()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    watcher.follow(two.clone(), one.look());
    assert_eq!(changed.recv().await, Some(two.look()));
}
