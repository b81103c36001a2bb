//! `accounts/1`: who a client is and what it may do, decided by the host.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RVec};

use crate::InterfaceTable;

/// Checks logins and rights for the instance's service.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AccountsV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// Checks a password on the host's pool and calls `done.call(user_data, answer)` once, from any thread.
    pub login: extern "C" fn(
        ctx: *const (),
        request: LoginRequest<'_>,
        user_data: *mut (),
        done: LoginDone,
    ),
    /// The account of a client that gives no name, if there is one for its address.
    pub anonymous: extern "C" fn(ctx: *const (), peer: RStr<'_>) -> ROption<AccountHandle>,
    /// JSON of an account: `name` (login), `id` (section), `home` (absolute path or null).
    pub describe: extern "C" fn(account: AccountHandle) -> RVec<u8>,
    /// Whether the account may do one of the `ACTION_` numbers to a path or topic (UTF-8).
    pub allows: extern "C" fn(account: AccountHandle, action: u32, target: RSlice<'_, u8>) -> bool,
    /// Whether the account is still as it was at login: not removed, changed, disabled or expired.
    pub is_current: extern "C" fn(account: AccountHandle) -> bool,
    /// One more holder of the handle.
    pub retain: extern "C" fn(account: AccountHandle),
    /// One holder less; the last frees it.
    pub release: extern "C" fn(account: AccountHandle),
    /// Calls `changed.call(user_data)` from any thread each time that accounts changed or one expired.
    pub watch: extern "C" fn(ctx: *const (), user_data: *const (), changed: Changed),
    /// Ends every watch with this `user_data`; none of its calls is under way afterwards.
    pub unwatch: extern "C" fn(ctx: *const (), user_data: *const ()),
}

/// Called once with the answer to a login: the account, or one of the `DENIED_` numbers.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct LoginDone {
    /// The function.
    pub call: extern "C" fn(user_data: *mut (), answer: RResult<AccountHandle, u32>),
}

/// Called when accounts changed.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct Changed {
    /// The function.
    pub call: extern "C" fn(user_data: *const ()),
}

/// An account as it was at login. Counted by `retain` and `release`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AccountHandle {
    /// The host's own; opaque to the plugin.
    pub account: *const (),
}

// SAFETY: the host makes what it points at thread-safe.
unsafe impl Send for AccountHandle {}
// SAFETY: as above.
unsafe impl Sync for AccountHandle {}

/// Name, password and where they come from.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LoginRequest<'a> {
    /// The client's IP address, or empty for a Unix socket.
    pub peer: RStr<'a>,
    /// The login name as sent.
    pub user: RStr<'a>,
    /// The password as sent.
    pub password: RSlice<'a, u8>,
}

/// Wrong password, unknown user, disabled, expired, not for this service, or not from this address: the
/// client is not told which.
pub const DENIED_REFUSED: u32 = 1;
/// Too many logins wait; the client should try again later.
pub const DENIED_BUSY: u32 = 2;

/// See the names in a folder.
pub const ACTION_LIST: u32 = 1;
/// Read a file or document.
pub const ACTION_READ: u32 = 2;
/// Replace or change one that exists.
pub const ACTION_WRITE: u32 = 3;
/// Make one that does not exist.
pub const ACTION_CREATE: u32 = 4;
/// Remove one.
pub const ACTION_DELETE: u32 = 5;
/// Make a link for others.
pub const ACTION_SHARE: u32 = 6;
/// Publish to a topic.
pub const ACTION_PUBLISH: u32 = 7;
/// Subscribe to a topic filter.
pub const ACTION_SUBSCRIBE: u32 = 8;

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for AccountsV1 {
    const ID: &'static str = "accounts/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for AccountsV1 {}
// SAFETY: as above.
unsafe impl Sync for AccountsV1 {}
