//! The store on disk by itself: what was appended is there again, through compactions, torn tails and damage.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
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
    journal.require(&Record::Retained { message: &message });
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
    journal
}

fn wait_committed(store: &DiskStore, sequence: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.committed() < sequence {
        assert!(Instant::now() < deadline, "not committed");
        std::thread::yield_now();
    }
}

#[test]
fn compaction_again_and_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut expected = State::default();
    let mut number = 0;
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
        }
        store.close().unwrap();
    }
    let files = std::fs::read_dir(folder.path()).unwrap().count();
    assert!(files <= 8, "{files} files: old logs are not removed");
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

/// A store with twenty batches in its newest log, and what each prefix of them adds up to.
fn twenty(folder: &Path) -> Vec<State> {
    let (store, _) = open(folder, 1 << 30);
    let mut states = vec![State::default()];
    let mut expected = State::default();
    for number in 0..20 {
        let sequence = { &store }.append(&batch(&mut expected, number));
        wait_committed(&store, sequence);
        states.push(expected.clone());
    }
    store.close().unwrap();
    states
}

#[test]
fn a_torn_tail_is_cut_off_without_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let states = twenty(folder.path());
    let log = newest_log(folder.path());
    let bytes = std::fs::read(&log).unwrap();
    std::fs::write(&log, &bytes[..bytes.len() - 5]).unwrap();
    let (store, loaded) = open(folder.path(), 1 << 30);
    assert!(loaded.damage.is_empty(), "{:?}", loaded.damage);
    // The batch that was torn is not there at all.
    assert_eq!(loaded.state, states[19]);
    store.close().unwrap();
}

#[test]
fn damage_is_reported_and_what_is_whole_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let states = twenty(folder.path());
    let log = newest_log(folder.path());
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&log, &bytes).unwrap();
    let (store, loaded) = open(folder.path(), 1 << 30);
    assert_eq!(loaded.damage.len(), 1);
    assert!(
        loaded.damage[0].contains("unreadable from byte"),
        "{:?}",
        loaded.damage
    );
    assert!(
        states[1..20].contains(&loaded.state),
        "neither a whole batch more nor less"
    );
    let aside = log.with_extension("log.damaged");
    assert!(aside.exists(), "{} is missing", aside.display());
    store.close().unwrap();
}
