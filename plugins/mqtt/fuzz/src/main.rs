//! The targets beneath libFuzzer: `POLYPORT_FUZZ_TARGET` names the one to run.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<fn(&[u8])> = OnceLock::new();

fn chosen() -> fn(&[u8]) {
    let name = std::env::var("POLYPORT_FUZZ_TARGET").unwrap_or_default();
    polyport_mqtt_fuzz::target(&name)
        .unwrap_or_else(|| panic!("POLYPORT_FUZZ_TARGET: no target {name:?}"))
}

fuzz_target!(|data: &[u8]| TARGET.get_or_init(chosen)(data));
