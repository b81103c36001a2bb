//! `accounts/2`: as [`accounts/1`](crate::accounts), with all that a client's connection proves: whether it is
//! secure, its certificate, the id that the client gives itself. A login is a session that the host counts.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr, RVec};

use crate::InterfaceTable;
use crate::accounts::{AccountHandle, Changed, LoginDone};

/// Checks logins and rights for the instance's service, and counts sessions and bytes.
///
/// The handles are those of `accounts/1`, each for one session. A session counts from the answer that gives
/// its handle until `leave` was called as often as `enter`, plus once for that answer.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct AccountsV2 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// Checks a login and calls `done.call(user_data, answer)` once: from the caller's thread before it returns,
    /// or later from the host's pool.
    pub login: extern "C" fn(
        ctx: *const (),
        request: LoginRequest<'_>,
        user_data: *mut (),
        done: LoginDone,
    ),
    /// The account of a client that gives neither name nor password: that of its certificate, or else the
    /// anonymous one, if there is one for its address. Never waits.
    pub identify: extern "C" fn(
        ctx: *const (),
        origin: ClientOrigin<'_>,
        client_id: ROption<RStr<'_>>,
    ) -> ROption<AccountHandle>,
    /// Whether the service takes passwords over secure connections only: a protocol that is told the name first
    /// need not let the password be sent.
    pub requires_tls: extern "C" fn(ctx: *const ()) -> bool,
    /// JSON of an account: `name` (login), `id` (section), `home` (absolute path or null), `rate_up` and
    /// `rate_down` (bytes a second or null), `quota` (bytes or null).
    pub describe: extern "C" fn(account: AccountHandle) -> RVec<u8>,
    /// As in `accounts/1`, and for [`ACTION_SUBSCRIBE_SOME`].
    pub allows: extern "C" fn(account: AccountHandle, action: u32, target: RSlice<'_, u8>) -> bool,
    /// Whether the session may go on: the account and the token it logged in with are as they were, neither
    /// removed, changed, disabled nor expired.
    pub is_current: extern "C" fn(account: AccountHandle) -> bool,
    /// One more holder of the handle.
    pub retain: extern "C" fn(account: AccountHandle),
    /// One holder less; the last frees it.
    pub release: extern "C" fn(account: AccountHandle),
    /// The session counts once more; 0, or [`DENIED_TOO_MANY_SESSIONS`] if it may not.
    pub enter: extern "C" fn(account: AccountHandle) -> u32,
    /// The session counts once less.
    pub leave: extern "C" fn(account: AccountHandle),
    /// Takes `bytes` off the account's share of a [`UP`] or [`DOWN`] stream, all of its sessions together;
    /// nanoseconds to wait before any more pass. 0 without such a limit.
    pub pace: extern "C" fn(account: AccountHandle, direction: u32, bytes: u64) -> u64,
    /// Counts bytes that were stored beneath the account's home, or with a negative number freed; false if
    /// they were not counted because the account's quota would be exceeded.
    pub charge: extern "C" fn(account: AccountHandle, bytes: i64) -> bool,
    /// As in `accounts/1`.
    pub watch: extern "C" fn(ctx: *const (), user_data: *const (), changed: Changed),
    /// As in `accounts/1`.
    pub unwatch: extern "C" fn(ctx: *const (), user_data: *const ()),
}

/// What a connection proves of its client.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ClientOrigin<'a> {
    /// Its IPv6 address, or its IPv4 address mapped into one (`::ffff:10.0.0.1`); none for a Unix socket.
    pub address: ROption<[u8; 16]>,
    /// Whether nobody on the way can overhear it.
    pub secure: bool,
    /// The certificate that it proved to own, in DER; empty without.
    pub certificate: RSlice<'a, u8>,
}

/// What a client says of itself to be let in, and where it comes from.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct LoginRequest<'a> {
    /// Its connection.
    pub origin: ClientOrigin<'a>,
    /// The login name as sent. Without a password, the client's certificate has to be of that account.
    pub user: ROption<RStr<'a>>,
    /// The password as sent: the account's, or one of its tokens. Without a user it has to be a token.
    pub password: ROption<RSlice<'a, u8>>,
    /// What the client calls itself, for the rules with `%c`.
    pub client_id: ROption<RStr<'a>>,
}

/// Beside those of `accounts/1`: the password was right, but the account is not for this service, this
/// network or this time.
pub const DENIED_NOT_HERE: u32 = 3;
/// The account has as many sessions as it may have.
pub const DENIED_TOO_MANY_SESSIONS: u32 = 4;
/// A password is only taken over a secure connection.
pub const DENIED_NEEDS_TLS: u32 = 5;

/// Receive some of the topics that a topic filter stands for. Whoever goes by this has to ask for
/// [`ACTION_SUBSCRIBE`](crate::accounts::ACTION_SUBSCRIBE) of a topic before he hands on what is published to it.
pub const ACTION_SUBSCRIBE_SOME: u32 = 9;

/// From the client to the server.
pub const UP: u32 = 0;
/// From the server to the client.
pub const DOWN: u32 = 1;

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for AccountsV2 {
    const ID: &'static str = "accounts/2";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for AccountsV2 {}
// SAFETY: as above.
unsafe impl Sync for AccountsV2 {}
