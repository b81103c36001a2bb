//! `named/1`: accounts by their login, for what a service does in an account's name because its settings say so, and
//! for what stands there of what an account once did.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr};

use crate::InterfaceTable;
use crate::accounts::AccountHandle;

/// Sessions of accounts that nobody logs in to. The handles are those of `accounts/2`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct NamedV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// A session of the account with this login; none if there is no such account, or not for this service, or if
    /// it has as many sessions as it may have. Never waits.
    pub account: extern "C" fn(ctx: *const (), login: RStr<'_>) -> ROption<AccountHandle>,
    /// Whether the account with this login, or the anonymous one by its name, may do one of the `ACTION_` numbers of
    /// `accounts/1` now, as a client that calls itself so. False if there is no such account for this service.
    pub allows: extern "C" fn(
        ctx: *const (),
        login: RStr<'_>,
        client_id: RStr<'_>,
        action: u32,
        target: RSlice<'_, u8>,
    ) -> bool,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for NamedV1 {
    const ID: &'static str = "named/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for NamedV1 {}
// SAFETY: as above.
unsafe impl Sync for NamedV1 {}
