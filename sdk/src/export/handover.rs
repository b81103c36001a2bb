//! The functions of `handover/1`.

use std::os::fd::{BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};

use polyport_abi::handover::{
    self as abi, FreezeDone, NOT_PASSED_FAILED, NOT_PASSED_VERSION, PASSED, Parcel,
};
use polyport_abi::plugin::InstanceHandle;
use polyport_abi::{HostQuery, RResult, RSlice, RString};

use super::{guard, running, start_with};
use crate::Plugin;
use crate::handover::{Arrival, Estate, Succession, given};

/// `HandoverV1::start`.
pub extern "C" fn start<P: Plugin>(
    host: HostQuery,
    request: RSlice<'_, u8>,
) -> RResult<InstanceHandle, RString> {
    start_with::<P>(host, request, Succession::successor())
}

/// `HandoverV1::inherit`.
pub extern "C" fn inherit<P: Plugin>(instance: InstanceHandle, estate: abi::Estate) {
    guard(
        || (),
        || {
            // SAFETY: the host passes what `start` of this plugin gave and has not stopped it.
            let instance = unsafe { running::<P>(instance) };
            let owned = |descriptor: i32| {
                // SAFETY: whoever has an estate owns its descriptors.
                unsafe { OwnedFd::from_raw_fd(descriptor) }
            };
            instance.inherit(Estate {
                version: estate.version,
                state: estate.state.into_vec(),
                files: estate.descriptors.into_iter().map(owned).collect(),
            });
        },
    );
}

/// `HandoverV1::activate`.
pub extern "C" fn activate<P: Plugin>(instance: InstanceHandle) {
    guard(
        || (),
        || {
            // SAFETY: as for `inherit`.
            let instance = unsafe { running::<P>(instance) };
            instance.activate();
        },
    );
}

/// The host's way to be answered.
struct Done {
    user_data: *mut (),
    done: FreezeDone,
}

// SAFETY: the contract lets the answer come from any thread.
unsafe impl Send for Done {}

impl Done {
    fn answer(self, answer: Result<Estate, String>) {
        let answer = match answer {
            Ok(estate) => RResult::ROk(abi::Estate {
                version: estate.version,
                state: estate.state.into(),
                descriptors: estate
                    .files
                    .into_iter()
                    .map(IntoRawFd::into_raw_fd)
                    .collect(),
            }),
            Err(error) => RResult::RErr(error.into()),
        };
        (self.done.call)(self.user_data, answer);
    }
}

/// `HandoverV1::freeze`.
pub extern "C" fn freeze<P: Plugin>(
    instance: InstanceHandle,
    user_data: *mut (),
    done: FreezeDone,
) {
    let done = Done { user_data, done };
    guard(
        || (),
        || {
            // SAFETY: as for `inherit`.
            let instance = unsafe { running::<P>(instance) };
            instance.freeze(move |answer| done.answer(answer));
        },
    );
}

/// `HandoverV1::thaw`.
pub extern "C" fn thaw<P: Plugin>(instance: InstanceHandle) {
    guard(
        || (),
        || {
            // SAFETY: as for `inherit`.
            let instance = unsafe { running::<P>(instance) };
            instance.thaw();
        },
    );
}

/// `HandoverV1::adopt`.
pub extern "C" fn adopt<P: Plugin>(instance: InstanceHandle, parcel: Parcel<'_>) -> u32 {
    guard(
        || NOT_PASSED_FAILED,
        || {
            // SAFETY: as for `inherit`.
            let instance = unsafe { running::<P>(instance) };
            if !P::HANDOVER.takes(parcel.version) {
                return NOT_PASSED_VERSION;
            }
            // SAFETY: the host has it open for the call.
            let lent = unsafe { BorrowedFd::borrow_raw(parcel.descriptor) };
            let (Ok(socket), Ok(about)) = (
                lent.try_clone_to_owned(),
                serde_json::from_slice(parcel.about.as_slice()),
            ) else {
                return NOT_PASSED_FAILED;
            };
            let claims = instance.claims(parcel.account.is_some(), parcel.admission.is_some());
            if !claims {
                return NOT_PASSED_FAILED;
            }
            // What is claimed is ours from here on: nothing may fail any more.
            let (account, admission) =
                instance.claim(given(parcel.account), given(parcel.admission));
            instance.adopt(Arrival {
                version: parcel.version,
                listener: parcel.listener,
                socket,
                about,
                unread: parcel.unread.to_vec(),
                unsent: parcel.unsent.to_vec(),
                state: parcel.state.to_vec(),
                account,
                admission,
            });
            PASSED
        },
    )
}
