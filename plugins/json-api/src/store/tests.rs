//! The store on real files, alone and with a second one on the same file.

use std::path::Path;

use super::*;

fn options(folder: &Path) -> Options {
    Options {
        path: folder.join("documents.sqlite"),
        durability: Durability::Never,
        busy_timeout: Duration::from_secs(10),
        readers: 2,
        max_bytes: None,
        check_bytes: u64::MAX,
    }
}

fn put(id: &str, body: impl Into<Bytes>) -> Write {
    Write {
        collection: "c".to_owned(),
        id: id.to_owned(),
        body: Some(body.into()),
        conditions: Vec::new(),
    }
}

fn remove(id: &str) -> Write {
    Write {
        body: None,
        ..put(id, "")
    }
}

async fn stored(store: &Store, write: Write) -> Revision {
    match store.write(write).await.unwrap() {
        Outcome::Stored { revision, .. } => revision,
        other => panic!("expected Stored, got {other:?}"),
    }
}

fn range(after: Option<&str>, limit: usize) -> Range {
    Range {
        after: after.map(str::to_owned),
        limit,
        bodies: true,
        max_bytes: usize::MAX,
    }
}

#[tokio::test]
async fn bytes_come_back_as_they_went_in_also_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let bodies: [&[u8]; 3] = [b" {\"b\": 5.7865,\r\n\"a\":1e2}\n", b"", &[0, 255, 10]];
    let store = Store::open(&options(folder.path())).unwrap();
    for (number, body) in bodies.iter().enumerate() {
        stored(&store, put(&number.to_string(), body.to_vec())).await;
    }
    store.close().await;
    let store = Store::open(&options(folder.path())).unwrap();
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(
            store.get("c", &number.to_string()).unwrap().unwrap().body,
            body.to_vec()
        );
    }
    assert_eq!(store.get("c", "3").unwrap(), None);
    assert_eq!(store.get("d", "0").unwrap(), None);
}

#[tokio::test]
async fn a_revision_is_never_used_twice() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    let first = stored(&store, put("a", "1")).await;
    assert_eq!(store.write(remove("a")).await, Ok(Outcome::Removed));
    assert_eq!(store.collections(None, 10).await.unwrap(), []);
    let second = stored(&store, put("a", "1")).await;
    assert!(second > first);
    let age = SystemTime::now().duration_since(second.time()).unwrap();
    assert!(age < Duration::from_secs(60), "{age:?}");
}

#[tokio::test]
async fn a_change_happens_only_if_its_conditions_hold() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    let revision = stored(&store, put("a", "1")).await;
    let other = Revision(revision.0 - 1);
    let (before, now) = (revision.time() - Duration::from_secs(5), revision.time());
    for (condition, holds_for_a, holds_for_none) in [
        (Condition::Exists, true, false),
        (Condition::Absent, false, true),
        (Condition::IsOneOf(vec![other, revision]), true, false),
        (Condition::IsOneOf(vec![other]), false, false),
        (Condition::IsNoneOf(vec![other]), true, true),
        (Condition::IsNoneOf(vec![revision]), false, true),
        (Condition::NotChangedSince(now), true, false),
        (Condition::NotChangedSince(before), false, false),
    ] {
        for (id, current, holds) in [
            ("a", Some(revision), holds_for_a),
            ("b", None, holds_for_none),
        ] {
            assert_eq!(condition.holds(current), holds, "{condition:?} {id}");
            if !holds {
                let write = Write {
                    conditions: vec![condition.clone()],
                    ..put(id, "2")
                };
                let refused = Outcome::Refused {
                    condition: condition.clone(),
                    current,
                };
                assert_eq!(store.write(write).await, Ok(refused));
            }
        }
    }
    assert_eq!(store.get("c", "a").unwrap().unwrap().body, "1");
    assert_eq!(
        store.write(remove("b")).await,
        Ok(Outcome::Refused {
            condition: Condition::Exists,
            current: None
        })
    );
    let write = Write {
        conditions: vec![Condition::IsOneOf(vec![revision])],
        ..remove("a")
    };
    assert_eq!(store.write(write).await, Ok(Outcome::Removed));
}

#[tokio::test]
async fn lists_are_paged_by_id_and_bounded_in_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    for id in ["b", "a", "d", "c"] {
        stored(&store, put(id, vec![b'1'; 10])).await;
    }
    let last = stored(
        &store,
        Write {
            collection: "d".to_owned(),
            ..put("x", "1")
        },
    )
    .await;
    let ids = |listing: &Listing| {
        listing
            .entries
            .iter()
            .map(|(id, _)| id.clone())
            .collect::<Vec<_>>()
            .join("")
    };
    let list = |range| store.list("c".to_owned(), range, |_| true);

    let page = list(range(None, 3)).await.unwrap().unwrap();
    assert_eq!(
        (ids(&page).as_str(), page.more, page.total),
        ("abc", true, 4)
    );
    assert!(
        page.entries
            .iter()
            .all(|(_, document)| document.body.len() == 10)
    );
    let page = list(range(Some("c"), 3)).await.unwrap().unwrap();
    assert_eq!((ids(&page).as_str(), page.more), ("d", false));
    let page = list(Range {
        max_bytes: 25,
        ..range(None, 3)
    })
    .await
    .unwrap()
    .unwrap();
    assert_eq!((ids(&page).as_str(), page.more), ("ab", true));
    let page = list(Range {
        max_bytes: 1,
        ..range(None, 3)
    })
    .await
    .unwrap()
    .unwrap();
    assert_eq!((ids(&page).as_str(), page.more), ("a", true));
    let page = list(Range {
        bodies: false,
        ..range(None, 9)
    })
    .await
    .unwrap()
    .unwrap();
    assert!(
        page.entries
            .iter()
            .all(|(_, document)| document.body.is_empty())
    );
    assert_eq!(
        store
            .list("e".to_owned(), range(None, 9), |_| true)
            .await
            .unwrap(),
        None
    );

    let collections = store.collections(None, 9).await.unwrap();
    assert_eq!(collections.len(), 2);
    let d = Collection {
        name: "d".to_owned(),
        documents: 1,
        revision: last,
    };
    assert_eq!(
        store.collections(Some("c".to_owned()), 9).await.unwrap(),
        [d]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_stores_on_one_new_file_work_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let opening = [options(folder.path()), options(folder.path())]
        .map(|options| tokio::task::spawn_blocking(move || Store::open(&options).unwrap()));
    let mut stores = Vec::new();
    for store in opening {
        stores.push(Arc::new(store.await.unwrap()));
    }
    let mut writes = Vec::new();
    for number in 0..200 {
        let store = Arc::clone(&stores[number % 2]);
        writes.push(tokio::spawn(async move {
            stored(&store, put(&format!("{number:03}"), "1")).await
        }));
    }
    let mut revisions = Vec::new();
    for write in writes {
        revisions.push(write.await.unwrap());
    }
    revisions.sort_unstable();
    revisions.dedup();
    assert_eq!(
        revisions.len(),
        200,
        "every change has a revision of its own"
    );
    for store in &stores {
        let listing = store
            .list("c".to_owned(), range(None, 999), |_| true)
            .await
            .unwrap()
            .unwrap();
        assert_eq!((listing.total, listing.entries.len()), (200, 200));
    }
    // One process closes while another goes on.
    let mut stores = stores
        .into_iter()
        .map(|store| Arc::into_inner(store).unwrap());
    let (one, other) = (stores.next().unwrap(), stores.next().unwrap());
    one.close().await;
    stored(&other, put("later", "1")).await;
    assert_eq!(other.get("c", "000").unwrap().unwrap().body, "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_competing_conditional_changes_one_wins() {
    let folder = tempfile::tempdir().unwrap();
    let stores = [(); 2].map(|()| Arc::new(Store::open(&options(folder.path())).unwrap()));
    let revision = stored(&stores[0], put("a", "0")).await;
    let mut writes = Vec::new();
    for number in 0..50 {
        let store = Arc::clone(&stores[number % 2]);
        let conditions = vec![Condition::IsOneOf(vec![revision])];
        let write = Write {
            conditions,
            ..put("a", number.to_string())
        };
        writes.push(tokio::spawn(
            async move { store.write(write).await.unwrap() },
        ));
    }
    let mut stored = 0;
    for write in writes {
        stored += usize::from(matches!(write.await.unwrap(), Outcome::Stored { .. }));
    }
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn changes_that_wait_together_share_a_commit() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path());
    let store = Arc::new(Store::open(&options).unwrap());
    stored(&store, put("first", "1")).await;
    let before = commits(&options.path);
    let other = rusqlite::Connection::open(&options.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let writes: Vec<_> = (0..100)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { stored(&store, put(&number.to_string(), "1")).await })
        })
        .collect();
    // One turn of this single-threaded runtime, and all of them are in the queue.
    tokio::task::yield_now().await;
    other.execute_batch("ROLLBACK").unwrap();
    for write in writes {
        write.await.unwrap();
    }
    let commits = commits(&options.path) - before;
    assert!(
        (1..=2).contains(&commits),
        "{commits} commits for 100 changes"
    );
}

/// How many commits the write-ahead log holds: frames that tell the database's size (SQLite's file
/// format, section 4.1).
fn commits(path: &Path) -> usize {
    let log = std::fs::read(path.with_extension("sqlite-wal")).unwrap();
    log[32..]
        .chunks(24 + 4096)
        .filter(|frame| frame[4..8] != [0; 4])
        .count()
}

#[tokio::test]
async fn a_full_database_refuses_and_keeps_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&Options {
        max_bytes: Some(200_000),
        ..options(folder.path())
    })
    .unwrap();
    stored(&store, put("a", vec![b'1'; 50_000])).await;
    let large = store.write(put("b", vec![b'1'; 500_000]));
    let small = store.write(put("c", "1"));
    let (large, small) = tokio::join!(large, small);
    assert_eq!(large, Err(StoreError::Full));
    assert!(matches!(small, Ok(Outcome::Stored { .. })), "{small:?}");
    assert_eq!(store.get("c", "a").unwrap().unwrap().body.len(), 50_000);
    assert_eq!(store.get("c", "b").unwrap(), None);
    assert_eq!(store.write(remove("a")).await, Ok(Outcome::Removed));
    stored(&store, put("b", vec![b'1'; 50_000])).await;
}

fn refusal(folder: &Path) -> String {
    Store::open(&options(folder)).unwrap_err().to_string()
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = options(folder.path()).path;
    std::fs::write(&path, "hello, I am no database").unwrap();
    assert_eq!(
        refusal(folder.path()),
        format!(
            "database {path:?}: expected an SQLite database, got a file that begins with \"hello, I am no d\""
        )
    );
    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    drop(other);
    assert_eq!(
        refusal(folder.path()),
        format!(
            "database {path:?}: expected a database of the json-api plugin, got another program's (application id 0)"
        )
    );
}

#[tokio::test]
async fn a_file_of_a_later_layout_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(&options(folder.path())).unwrap().close().await;
    let later = rusqlite::Connection::open(options(folder.path()).path).unwrap();
    later.pragma_update(None, "user_version", 2).unwrap();
    drop(later);
    let text = refusal(folder.path());
    assert!(
        text.ends_with("expected layout 1, got layout 2: the file was made by a later polyport"),
        "{text}"
    );
}

#[tokio::test]
async fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    for number in 0..200 {
        stored(&store, put(&number.to_string(), vec![b'1'; 1000])).await;
    }
    store.close().await;
    let path = options(folder.path()).path;
    let mut bytes = std::fs::read(&path).unwrap();
    let whole = bytes.clone();
    for page in bytes.chunks_mut(4096).skip(3).step_by(3) {
        page.fill(0xaa);
    }
    std::fs::write(&path, &bytes).unwrap();
    assert!(
        refusal(folder.path()).contains("got a damaged one ("),
        "{}",
        refusal(folder.path())
    );
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert!(
        refusal(folder.path()).contains("got a damaged one ("),
        "{}",
        refusal(folder.path())
    );
    std::fs::write(&path, &whole).unwrap();
    assert!(Store::open(&options(folder.path())).is_ok());
}

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = refusal(&folder.path().join("missing"));
    assert!(
        text.contains("missing/documents.sqlite") && text.contains("No such file"),
        "{text}"
    );
}

#[test]
fn others_cannot_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&options(folder.path())).unwrap();
    for name in [
        "documents.sqlite",
        "documents.sqlite-wal",
        "documents.sqlite-shm",
    ] {
        let mode = folder
            .path()
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    drop(store);
}
