//! `scram/1`: logins by SCRAM-SHA-256 (RFC 5802, RFC 7677), in which a client proves that it knows its password. What
//! the proof is checked by never leaves the host.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};

use crate::InterfaceTable;
use crate::accounts::AccountHandle;
use crate::accounts2::ClientOrigin;

/// Answers the two messages of a client. Between them the host keeps nothing. The handles are those of
/// `accounts/2`.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ScramV1 {
    /// First argument of the functions.
    pub ctx: *const (),
    /// Answers the first message (`n,,n=alice,r=…`), or one of the `DENIED_` numbers. Never waits.
    pub challenge: extern "C" fn(
        ctx: *const (),
        origin: ClientOrigin<'_>,
        message: RSlice<'_, u8>,
    ) -> RResult<Challenge, u32>,
    /// Checks the last message (`c=…,r=…,p=…`) and calls `done.call(user_data, answer)` once: from the caller's
    /// thread before it returns, or later from the host's pool.
    pub prove: extern "C" fn(
        ctx: *const (),
        request: ProofRequest<'_>,
        user_data: *mut (),
        done: ProofDone,
    ),
}

/// The answer to a first message.
#[repr(C)]
#[derive(StableAbi)]
pub struct Challenge {
    /// The login, as the client gave it: nothing is proved yet.
    pub user: RString,
    /// What the client is sent.
    pub message: RVec<u8>,
    /// What `prove` wants back. Not secret, and good in another process of the host as well.
    pub state: RVec<u8>,
}

/// A last message and where it comes from.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ProofRequest<'a> {
    /// Its connection.
    pub origin: ClientOrigin<'a>,
    /// What the client calls itself, for the rules with `%c`.
    pub client_id: ROption<RStr<'a>>,
    /// What `challenge` gave.
    pub state: RSlice<'a, u8>,
    /// What the client sent.
    pub message: RSlice<'a, u8>,
    /// The session of a client that is logged in and proves who it is once more. The proof has to be of the same
    /// account; no session begins.
    pub current: ROption<AccountHandle>,
}

/// The answer to a right proof.
#[repr(C)]
#[derive(StableAbi)]
pub struct Proven {
    /// The session that begins; none where one goes on.
    pub account: ROption<AccountHandle>,
    /// What the client is sent: the host's own proof.
    pub message: RVec<u8>,
}

/// Called once with the answer to a proof, or one of the `DENIED_` numbers.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy)]
pub struct ProofDone {
    /// The function.
    pub call: extern "C" fn(user_data: *mut (), answer: RResult<Proven, u32>),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for ScramV1 {
    const ID: &'static str = "scram/1";
}

// SAFETY: `ctx` is shared between threads only through the functions here, which the host makes thread-safe.
unsafe impl Send for ScramV1 {}
// SAFETY: as above.
unsafe impl Sync for ScramV1 {}
