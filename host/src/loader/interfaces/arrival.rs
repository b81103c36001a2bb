//! Connections that come from another process.

use std::os::fd::BorrowedFd;

use polyport_abi::handover::{NOT_PASSED_FAILED, PASSED, Parcel};
use polyport_abi::limits::AdmissionHandle;

use super::passage::Passing;
use super::{accounts, guard, limits};
use crate::accounts::Session;
use crate::handover::{Taken, Way};
use crate::limits::Admission;

/// Passes a connection on to whoever serves here, with the login and the place of its client: the answer of
/// `handover/1`. `plugin` passed it, from a listener of this name.
pub fn arrive(
    way: &Way,
    (plugin, listener): (&str, Option<&str>),
    parcel: Parcel<'_>,
    session: Option<Session>,
    admission: Option<Admission>,
) -> u32 {
    guard(NOT_PASSED_FAILED, || {
        let account = session.map(accounts::hold);
        let admission = admission.map(|admission| AdmissionHandle {
            admission: Box::into_raw(Box::new(admission)).cast_const().cast(),
        });
        let parcel = Parcel {
            account: account.into(),
            admission: admission.into(),
            ..parcel
        };
        let taken = way.pass(&Passing::new(plugin, listener.map(str::to_owned), parcel));
        if let Some(account) = account {
            // As the instance would that passed it.
            accounts::held(&account).leave();
            accounts::release(account);
        }
        if let (Ok(Taken::Away) | Err(_), Some(admission)) = (taken, admission) {
            limits::release(admission);
        }
        taken.map_or_else(|number| number, |_| PASSED)
    })
}

/// The socket that a parcel lends.
pub(super) fn socket<'a>(parcel: &Parcel<'a>) -> BorrowedFd<'a> {
    // SAFETY: whoever passes a parcel has its socket open as long as the call.
    unsafe { BorrowedFd::borrow_raw(parcel.descriptor) }
}
