//! Several plugins link into one program: no two export the same symbol.

use std::collections::BTreeSet;

macro_rules! exported {
    ($($symbol:ident)*) => {{
        // SAFETY: the SDK's `export_plugin!` exports these; nothing but their addresses is taken.
        unsafe extern "C" {
            $(static $symbol: u8;)*
        }
        BTreeSet::from([$((&raw const $symbol).addr(),)*])
    }};
}

use polyport_echo as _;
use polyport_ftp as _;
use polyport_http_files as _;
use polyport_json_api as _;
use polyport_mqtt as _;
use polyport_tcp_files as _;

#[test]
fn the_shipped_plugins_and_the_example_export_symbols_of_their_own() {
    let addresses = exported! {
        polyport_entry_polyport_echo polyport_manifest_polyport_echo
        polyport_entry_polyport_ftp polyport_manifest_polyport_ftp
        polyport_entry_polyport_http_files polyport_manifest_polyport_http_files
        polyport_entry_polyport_json_api polyport_manifest_polyport_json_api
        polyport_entry_polyport_mqtt polyport_manifest_polyport_mqtt
        polyport_entry_polyport_tcp_files polyport_manifest_polyport_tcp_files
    };
    assert_eq!(addresses.len(), 12);
}
