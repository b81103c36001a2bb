//! The store on disk by itself: what was appended is there again, through compactions, torn tails and damage.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt;
use polyport_mqtt::Durability;
use polyport_mqtt::store::{DiskStore, Loaded, Settings};
use polyport_mqtt_core::codec::QoS;
use polyport_mqtt_core::message::Message;
use polyport_mqtt_core::store::{Journal, Record, State, Store, read_frames};

fn open(folder: &Path, compact_bytes: u64) -> (DiskStore, Loaded) {
    let settings = Settings {
        durability: Durability::Always,
        flush_interval: Duration::from_secs(1),
        compact_bytes,
    };
    DiskStore::open(folder, settings).unwrap()
}

/// The records of one batch, applied to `expected` as well.
fn batch(expected: &mut State, number: u64) -> Journal {
    let message = Message {
        stored: 3 * number + 2,
        topic: format!("topic/{}", number % 50).into(),
        payload: Bytes::from(vec![number as u8; 100]),
        properties: Box::default(),
        expires: None,
        qos: QoS::AtLeastOnce,
        retain: true,
    };
    let session = 1;
    let delivery = 3 * number + 3;
    let mut journal = Journal::default();
    if number == 0 {
        journal.require(&Record::Session {
            session,
            client_id: "c",
            expiry: u32::MAX,
            will: None,
        });
        journal.require(&Record::Subscribed {
            session,
            filter: "topic/#",
            options: 1,
            identifier: 0,
        });
    }
    journal.require(&Record::Retained {
        message: &message,
        origin: None,
    });
    journal.require(&Record::Message { message: &message });
    journal.require(&Record::Delivery {
        session,
        delivery,
        message: message.stored,
        qos: QoS::AtLeastOnce,
        retain: false,
        identifiers: &[],
        packet_identifier: 0,
    });
    if !number.is_multiple_of(10) {
        journal.note(&Record::Delivered { session, delivery });
    }
    journal.seal();
    assert_eq!(
        read_frames(journal.bytes(), |body| expected.apply(body)),
        journal.bytes().len()
    );
    assert!(expected.finish().is_empty(), "one session of each client");
    journal
}

fn wait_committed(store: &DiskStore, sequence: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.committed() < sequence {
        assert!(Instant::now() < deadline, "not committed");
        std::thread::yield_now();
    }
}

/// Writes an image of `state` when the store wants one, other records between its parts.
fn compact(store: &DiskStore, expected: &mut State, number: &mut u64) -> bool {
    if store.image_due().now_or_never().is_none() {
        return false;
    }
    store.begin_image();
    let image = expected.to_journal();
    { store }.append(&image);
    { store }.append(&batch(expected, *number));
    *number += 1;
    let sequence = store.end_image(image.bytes().len() as u64);
    wait_committed(store, sequence);
    true
}

#[test]
fn compaction_again_and_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = State::default();
    let mut number = 0;
    let mut compacted = 0;
    for round in 0..5 {
        let (store, loaded) = open(folder.path(), 4096);
        assert!(loaded.damage.is_empty(), "{:?}", loaded.damage);
        assert_eq!(loaded.state.sessions, expected.sessions, "round {round}");
        assert_eq!(loaded.state.retained, expected.retained, "round {round}");
        for _ in 0..300 {
            let sequence = { &store }.append(&batch(&mut expected, number));
            number += 1;
            if number.is_multiple_of(7) {
                wait_committed(&store, sequence);
            }
            compacted += u32::from(compact(&store, &mut expected, &mut number));
        }
        store.close().unwrap();
    }
    assert!(compacted > 5, "{compacted} times");
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files <= 8, "{files} files: old logs are not removed");
}

#[test]
fn files_are_for_their_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("store");
    filled(&inside, 3);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    for entry in std::fs::read_dir(&inside).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

#[test]
fn a_store_is_opened_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = open(folder.path(), 1 << 20);
    let settings = Settings {
        durability: Durability::Never,
        flush_interval: Duration::from_secs(1),
        compact_bytes: 1,
    };
    let error = DiskStore::open(folder.path(), settings).unwrap_err();
    assert!(error.to_string().contains("open elsewhere"), "{error}");
    store.close().unwrap();
}

/// The newest log, which everything since the start is in.
fn newest_log(folder: &Path) -> std::path::PathBuf {
    let logs = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    logs.filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .unwrap()
}

/// A store with so many batches in its newest log, and what each prefix of them adds up to.
fn filled(folder: &Path, batches: u64) -> Vec<State> {
    let (store, _) = open(folder, 1 << 30);
    let mut states = vec![State::default()];
    let mut expected = State::default();
    for number in 0..batches {
        let sequence = { &store }.append(&batch(&mut expected, number));
        wait_committed(&store, sequence);
        states.push(expected.clone());
    }
    store.close().unwrap();
    states
}

/// Opens a store whose only log is `bytes`, adds nothing, and opens it once more.
fn reopened(bytes: &[u8]) -> (Loaded, Loaded, bool) {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("00000001.log");
    std::fs::write(&log, bytes).unwrap();
    let once = || {
        let settings = Settings {
            durability: Durability::Never,
            flush_interval: Duration::from_secs(1),
            compact_bytes: 1 << 30,
        };
        let (store, loaded) = DiskStore::open(folder.path(), settings).unwrap();
        store.close().unwrap();
        loaded
    };
    let loaded = once();
    let aside = log.with_extension("log.damaged").exists();
    (loaded, once(), aside)
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_off_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let states = filled(folder.path(), 6);
    let bytes = std::fs::read(newest_log(folder.path())).unwrap();
    let mut last = 0;
    for length in 0..bytes.len() {
        let (loaded, again, _) = reopened(&bytes[..length]);
        assert!(loaded.damage.is_empty(), "{length}: {:?}", loaded.damage);
        assert!(again.damage.is_empty(), "{length}: {:?}", again.damage);
        // The batch that was torn is not there at all, those before are, and stay.
        let at = states.iter().rposition(|state| *state == loaded.state);
        let at = at.unwrap_or_else(|| panic!("{length}: no whole batch more or less"));
        assert!(at == last || at == last + 1, "{length}: {at} after {last}");
        last = at;
        assert_eq!(again.state, loaded.state, "{length}");
    }
    assert_eq!(last, 5);
}

#[test]
fn a_bit_flipped_anywhere_is_reported_and_what_is_whole_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let states = filled(folder.path(), 6);
    let bytes = std::fs::read(newest_log(folder.path())).unwrap();
    let mut frames = vec![16];
    while let Some(length) = bytes
        .get(frames[frames.len() - 1]..)
        .and_then(<[u8]>::first_chunk)
    {
        let length = u32::from_le_bytes(*length) as usize;
        frames.push(frames[frames.len() - 1] + 8 + length);
    }
    assert_eq!(frames.len(), 7);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let (loaded, _, aside) = reopened(&damaged);
        let whole = frames.iter().rposition(|frame| *frame <= at).unwrap_or(0);
        // Without the length of the damaged frame nobody knows where the next one begins.
        let lengthless = at < 16 || (frames[whole]..frames[whole] + 4).contains(&at);
        let expected = match lengthless {
            true => states[whole].clone(),
            false => {
                let mut state = State::default();
                let sound = frames.windows(2).enumerate();
                for (_, frame) in sound.filter(|(number, _)| *number != whole) {
                    read_frames(&bytes[frame[0]..frame[1]], |record| state.apply(record));
                }
                assert_eq!(state.finish(), [""; 0]);
                state
            }
        };
        assert_eq!(loaded.state, expected, "byte {at}");
        // A length that leads beyond the end is what a write leaves that was cut short.
        let as_if_torn = (frames[5]..frames[5] + 4).contains(&at);
        if !as_if_torn {
            assert_eq!(loaded.damage.len(), 1, "byte {at}");
            assert!(aside, "byte {at}: no copy");
        }
    }
}

#[test]
fn a_tail_too_long_to_be_looked_through_is_kept_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let states = filled(folder.path(), 6);
    let mut bytes = std::fs::read(newest_log(folder.path())).unwrap();
    // A frame of 16 MiB of which 2 MiB are there.
    bytes.extend_from_slice(&[0, 0, 0, 1]);
    bytes.resize(bytes.len() + (2 << 20), b'x');
    let (loaded, _, aside) = reopened(&bytes);
    assert_eq!(loaded.state, states[states.len() - 1]);
    assert_eq!(loaded.damage.len(), 1);
    assert!(aside);
}

#[test]
fn damage_goes_with_the_next_image_and_is_reported_no_more() {
    let folder = tempfile::tempdir().unwrap();
    filled(folder.path(), 20);
    let log = newest_log(folder.path());
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&log, &bytes).unwrap();
    let (store, loaded) = open(folder.path(), 1 << 30);
    assert_eq!(loaded.damage.len(), 1);
    assert!(loaded.damage[0].contains("unreadable from byte"));
    let (mut state, mut number) = (loaded.state, 20);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !compact(&store, &mut state, &mut number) {
        assert!(Instant::now() < deadline, "no image is wanted");
        std::thread::yield_now();
    }
    store.close().unwrap();
    let (store, loaded) = open(folder.path(), 1 << 30);
    assert!(loaded.damage.is_empty(), "{:?}", loaded.damage);
    assert_eq!(loaded.state.sessions, state.sessions);
    store.close().unwrap();
    assert!(!log.exists());
    assert!(log.with_extension("log.damaged").exists());
}

/// Runs the named test once more, with a file system of 32 MiB at the folder in `STORE_ON`, which is its own.
fn on_a_small_disk(test: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let script =
        "mount -t tmpfs -o size=32M tmpfs \"$STORE_ON\" && exec \"$0\" --exact \"$1\" --nocapture";
    let ran = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env("STORE_ON", folder.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    let denied = ["unshare: ", "mount: "]
        .iter()
        .any(|by| output.starts_with(by));
    assert!(ran.status.success() || denied, "{output}");
    !denied
}

#[test]
fn a_full_disk_holds_acknowledgements_back_until_there_is_room_and_a_read_only_one_is_told_of() {
    let Some(disk) = std::env::var_os("STORE_ON").map(PathBuf::from) else {
        let test = "a_full_disk_holds_acknowledgements_back_until_there_is_room_and_a_read_only_one_is_told_of";
        if !on_a_small_disk(test) {
            eprintln!("not tried: this system lets nobody mount");
        }
        return;
    };
    let (folder, ballast) = (disk.join("store"), disk.join("ballast"));
    let (store, _) = open(&folder, 1 << 30);
    std::fs::write(&ballast, vec![1; (31 << 20) + (700 << 10)]).unwrap();
    let mut expected = State::default();
    let mut sequence = 0;
    for number in 0..2500 {
        sequence = { &store }.append(&batch(&mut expected, number));
    }
    // Half a megabyte does not fit beside the ballast.
    let until = Instant::now() + Duration::from_millis(500);
    while Instant::now() < until {
        assert!(
            { &store }.committed() < sequence,
            "acknowledged what is nowhere"
        );
        std::thread::yield_now();
    }
    let (mut number, mut appended) = (2500, 0);
    while !store.is_behind() {
        let batch = batch(&mut expected, number);
        sequence = { &store }.append(&batch);
        number += 1;
        appended += batch.bytes().len();
        assert!(appended < 20 << 20);
    }
    assert!(appended > 15 << 20, "{appended}");
    std::fs::remove_file(&ballast).unwrap();
    wait_committed(&store, sequence);
    assert!(!store.is_behind());
    store.close().unwrap();
    let (store, loaded) = open(&folder, 1 << 30);
    assert!(loaded.damage.is_empty(), "{:?}", loaded.damage);
    assert_eq!(loaded.state, expected);
    store.close().unwrap();

    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(&disk)
        .status();
    assert!(remounted.unwrap().success());
    let settings = Settings {
        durability: Durability::Always,
        flush_interval: Duration::from_secs(1),
        compact_bytes: 1 << 30,
    };
    let error = DiskStore::open(&folder, settings).unwrap_err();
    assert!(error.to_string().contains("Read-only"), "{error}");
}
