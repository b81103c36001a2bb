//! The host's side of `accounts/1`, whose handles are sessions.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::accounts::{
    self as abi, AccountHandle, Changed, DENIED_BUSY, DENIED_REFUSED, LoginDone, LoginRequest,
};
use polyport_abi::accounts2::{
    ACTION_SUBSCRIBE_SOME, DENIED_NEEDS_TLS, DENIED_NOT_HERE, DENIED_TOO_MANY_SESSIONS,
};
use polyport_abi::{ROption, RResult, RSlice, RStr, RVec};

use super::{guard, side};
use crate::accounts::{Action, Client, Denied, Session};

/// Who wants to hear that accounts changed.
#[derive(Default)]
pub struct Watchers {
    list: Mutex<Vec<(usize, Changed)>>,
}

impl Watchers {
    /// Tells all of them.
    pub fn notify(&self) {
        for (user_data, changed) in self.lock().iter() {
            (changed.call)(*user_data as *const ());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Changed)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn hold(session: Session) -> AccountHandle {
    AccountHandle {
        account: Arc::into_raw(Arc::new(session)).cast(),
    }
}

pub(super) fn held(handle: &AccountHandle) -> &Session {
    // SAFETY: handles are made by `hold` and used by the plugin only while it holds them.
    unsafe { &*handle.account.cast::<Session>() }
}

/// The session behind a handle, held on to.
pub(super) fn shared(handle: &AccountHandle) -> Arc<Session> {
    retain(*handle);
    // SAFETY: takes the count that was just added.
    unsafe { Arc::from_raw(handle.account.cast::<Session>()) }
}

/// One more holder of a session, for an instance that takes its place. Dropped, it is none.
pub struct Share(AccountHandle);

impl Share {
    pub(super) fn of(handle: AccountHandle) -> Self {
        retain(handle);
        held(&handle).share();
        Self(handle)
    }

    /// The instance has it.
    pub fn give(self) {
        std::mem::forget(self);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        held(&self.0).leave();
        release(self.0);
    }
}

/// Where the answer to a login goes.
pub(super) struct Answer(*mut (), LoginDone);

// SAFETY: the pointer is the plugin's own and goes back to it once, from whichever thread.
unsafe impl Send for Answer {}

impl Answer {
    pub(super) fn to(user_data: *mut (), done: LoginDone) -> Self {
        Self(user_data, done)
    }

    pub(super) fn give(self, answer: Result<Session, u32>) {
        let answer = match answer {
            Ok(session) => RResult::ROk(hold(session)),
            Err(number) => RResult::RErr(number),
        };
        (self.1.call)(self.0, answer);
    }
}

/// The number of a refusal in `accounts/2`.
pub(super) fn number_of(denied: Denied) -> u32 {
    match denied {
        Denied::Refused => DENIED_REFUSED,
        Denied::Busy => DENIED_BUSY,
        Denied::NotHere => DENIED_NOT_HERE,
        Denied::TooManySessions => DENIED_TOO_MANY_SESSIONS,
        Denied::NeedsTls => DENIED_NEEDS_TLS,
    }
}

pub(super) extern "C" fn login(
    ctx: *const (),
    request: LoginRequest<'_>,
    user_data: *mut (),
    done: LoginDone,
) {
    let answer = Answer::to(user_data, done);
    guard((), || {
        let side = side(ctx);
        let done = move |checked: Result<Session, Denied>| {
            // Of the numbers it knows.
            answer.give(checked.map_err(|denied| match denied {
                Denied::Busy | Denied::TooManySessions => DENIED_BUSY,
                Denied::Refused | Denied::NotHere | Denied::NeedsTls => DENIED_REFUSED,
            }));
        };
        side.accounts.log_in(
            &side.entrance,
            &client(&request.peer),
            Some(request.user.as_str()),
            Some(request.password.as_slice()),
            Box::new(done),
        );
    });
}

pub(super) extern "C" fn anonymous(ctx: *const (), peer: RStr<'_>) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        let found = side.accounts.identify(&side.entrance, &client(&peer));
        found.map(hold).into()
    })
}

pub(super) extern "C" fn describe(account: AccountHandle) -> RVec<u8> {
    guard(RVec::new(), || {
        let account = &held(&account).account;
        let limits = &account.allowance;
        let json = serde_json::json!({
            "name": account.name,
            "id": account.id,
            "home": account.home,
            "rate_up": limits.rate_up,
            "rate_down": limits.rate_down,
            "quota": limits.quota,
        });
        json.to_string().into_bytes().into()
    })
}

pub(super) extern "C" fn allows(
    account: AccountHandle,
    action: u32,
    target: RSlice<'_, u8>,
) -> bool {
    guard(false, || {
        let Ok(target) = std::str::from_utf8(target.as_slice()) else {
            return false;
        };
        let session = held(&account);
        match action_of(action) {
            Some(action) => session.allows(action, target),
            None => action == ACTION_SUBSCRIBE_SOME && session.allows_some(target),
        }
    })
}

pub(super) extern "C" fn is_current(account: AccountHandle) -> bool {
    guard(false, || held(&account).is_current())
}

pub(super) extern "C" fn retain(account: AccountHandle) {
    // SAFETY: the plugin holds the handle, so the count is at least one.
    unsafe { Arc::increment_strong_count(account.account.cast::<Session>()) }
}

pub(super) extern "C" fn release(account: AccountHandle) {
    guard((), || {
        // SAFETY: gives back one count that `hold` or `retain` took.
        drop(unsafe { Arc::from_raw(account.account.cast::<Session>()) });
    });
}

pub(super) extern "C" fn watch(ctx: *const (), user_data: *const (), changed: Changed) {
    side(ctx)
        .watchers
        .lock()
        .push((user_data as usize, changed));
}

pub(super) extern "C" fn unwatch(ctx: *const (), user_data: *const ()) {
    side(ctx)
        .watchers
        .lock()
        .retain(|(other, _)| *other != user_data as usize);
}

/// All that a plugin of `accounts/1` tells of a client. One without an address came by a Unix socket.
fn client(peer: &RStr<'_>) -> Client<'static> {
    let address: Option<IpAddr> = peer.as_str().parse().ok();
    Client {
        address,
        secure: address.is_none(),
        certificate: &[],
        id: None,
    }
}

pub(super) fn action_of(number: u32) -> Option<Action> {
    Some(match number {
        abi::ACTION_LIST => Action::List,
        abi::ACTION_READ => Action::Read,
        abi::ACTION_WRITE => Action::Write,
        abi::ACTION_CREATE => Action::Create,
        abi::ACTION_DELETE => Action::Delete,
        abi::ACTION_SHARE => Action::Share,
        abi::ACTION_PUBLISH => Action::Publish,
        abi::ACTION_SUBSCRIBE => Action::Subscribe,
        _ => return None,
    })
}
