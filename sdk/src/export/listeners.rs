//! `listeners/1`.

use std::time::Duration;

use polyport_abi::RSlice;
use polyport_abi::listeners::Change;
use polyport_abi::plugin::{InstanceHandle, StartListener};

use super::{guard, own, running};
use crate::Plugin;

/// `ListenersV1::change`.
pub extern "C" fn change<P: Plugin>(
    instance: InstanceHandle,
    change: RSlice<'_, u8>,
    deadline_ms: u64,
) -> bool {
    guard(
        || false,
        || {
            let Ok(Change { add, remove }) = serde_json::from_slice(change.as_slice()) else {
                return false;
            };
            let names: Vec<_> = add
                .iter()
                .map(|added| {
                    let StartListener {
                        scheme, address, ..
                    } = &added.listener;
                    (added.place, scheme.clone(), address.clone())
                })
                .collect();
            let add = add
                .iter()
                // SAFETY: the host duplicated these descriptors for the instance, which owns them from here on.
                .map(|added| (added.place, unsafe { own(&added.listener) }))
                .collect();
            // SAFETY: the host passes what `start` of this plugin gave and has not stopped it.
            let instance = unsafe { running::<P>(instance) };
            let deadline = Duration::from_millis(deadline_ms);
            instance.change_listeners(add, names, &remove, deadline)
        },
    )
}
