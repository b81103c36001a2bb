//! A plugin of today in a host of tomorrow: one that offers an interface more, lacks some, has one with
//! another layout, and asks the plugin for an interface that it does not have.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::sync::Mutex;
use std::time::{Duration, Instant};

use abi_stable::StableAbi;
use polyport_abi::control::{ControlV1, STATE_DEGRADED, STATE_READY, STATE_STOPPED};
use polyport_abi::log::LogV1;
use polyport_abi::plugin::{PluginV1, StartRequest};
use polyport_abi::{
    HostQuery, Interface, InterfaceError, InterfaceTable, ROption, RResult, RStr, find, offer,
};

/// An interface that the plugin has never heard of.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
struct TeleportV1 {
    freeze: extern "C" fn() -> u64,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for TeleportV1 {
    const ID: &'static str = "teleport/1";
}

/// `log/1` with one field less than it has.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
struct OtherLogV1 {
    level: u64,
}

// SAFETY: deliberately wrong: the layouts differ, which the plugin must notice before it uses the table.
unsafe impl InterfaceTable for OtherLogV1 {
    const ID: &'static str = LogV1::ID;
}

static REPORTS: Mutex<Vec<(u32, String)>> = Mutex::new(Vec::new());
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());
static LOG: OtherLogV1 = OtherLogV1 { level: 5 };
static TELEPORT: TeleportV1 = TeleportV1 { freeze };

extern "C" fn freeze() -> u64 {
    0
}

extern "C" fn report(_: *const (), state: u32, reason: RStr<'_>) {
    REPORTS
        .lock()
        .unwrap()
        .push((state, reason.as_str().to_owned()));
}

extern "C" fn interface(_: *const (), id: RStr<'_>) -> ROption<Interface> {
    ASKED.lock().unwrap().push(id.as_str().to_owned());
    let control: &'static ControlV1 = Box::leak(Box::new(ControlV1 {
        ctx: std::ptr::null(),
        report,
    }));
    ROption::RSome(match id.as_str() {
        ControlV1::ID => offer(control),
        LogV1::ID => offer(&LOG),
        TeleportV1::ID => offer(&TELEPORT),
        _ => return ROption::RNone,
    })
}

fn await_report(state: u32) -> String {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some((_, reason)) = REPORTS
            .lock()
            .unwrap()
            .iter()
            .find(|(found, _)| *found == state)
        {
            return reason.clone();
        }
        assert!(
            Instant::now() < deadline,
            "no report of {state}: {:?}",
            REPORTS.lock().unwrap()
        );
        std::thread::yield_now();
    }
}

#[test]
fn an_older_plugin_loads_and_a_wrong_layout_fails_that_id_alone() {
    let library = polyport_testkit::library("polyport-echo");
    // SAFETY: it is the example plugin, built from this tree; it stays mapped.
    let library = Box::leak(Box::new(
        unsafe { libloading::Library::new(&library) }.unwrap(),
    ));
    // SAFETY: the symbol is the entry that `export_plugin!` exports; only its address is taken.
    let entry = unsafe { library.get::<*const ()>(b"polyport_entry_polyport_echo") }.unwrap();
    // SAFETY: as above, and the library stays mapped.
    let root = unsafe { polyport_abi::load::root(*entry) }.unwrap();
    let host = HostQuery {
        ctx: std::ptr::null(),
        interface,
    };

    let none = find::<TeleportV1>((root.interface())(host, TeleportV1::ID.into()));
    assert_eq!(
        none.err(),
        Some(InterfaceError::Missing { id: "teleport/1" })
    );
    let plugin = find::<PluginV1>((root.interface())(host, PluginV1::ID.into())).unwrap();

    let folder = tempfile::tempdir().unwrap();
    let request = StartRequest {
        instance: "x".into(),
        state_dir: folder.path().into(),
        base_dir: folder.path().into(),
        threads: 1,
        listeners: vec![],
        settings: serde_json::json!({}),
    };
    let request = serde_json::to_vec(&request).unwrap();
    let RResult::ROk(instance) = (plugin.start)(host, request.as_slice().into()) else {
        panic!("an older plugin did not start in a newer host");
    };
    await_report(STATE_READY);
    let reason = await_report(STATE_DEGRADED);
    assert!(
        reason.starts_with("interface log/1: layouts differ: "),
        "{reason}"
    );
    assert_eq!(reason.lines().count(), 1);
    let asked = ASKED.lock().unwrap().clone();
    assert!(
        asked.iter().any(|id| id == "accounts/1"),
        "it went on without the log: {asked:?}"
    );
    assert!(
        asked.iter().all(|id| id != "teleport/1"),
        "it never heard of that: {asked:?}"
    );
    (plugin.drain)(instance, 1000, "the test".into());
    await_report(STATE_STOPPED);
    (plugin.stop)(instance);
}
