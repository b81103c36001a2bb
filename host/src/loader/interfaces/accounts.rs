//! The host's side of `accounts/1`.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::accounts::{
    self as abi, AccountHandle, Changed, DENIED_BUSY, DENIED_REFUSED, LoginDone, LoginRequest,
};
use polyport_abi::{ROption, RResult, RSlice, RStr, RVec};

use super::{HostSide, guard, side};
use crate::accounts::{Account, Action, Denied};

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

/// An account and the instance that it logged in at.
struct Held {
    account: Arc<Account>,
    side: &'static HostSide,
}

fn hold(account: Arc<Account>, side: &'static HostSide) -> AccountHandle {
    AccountHandle {
        account: Arc::into_raw(Arc::new(Held { account, side })).cast(),
    }
}

fn held(handle: &AccountHandle) -> &Held {
    // SAFETY: handles are made by `hold` and used by the plugin only while it holds them.
    unsafe { &*handle.account.cast::<Held>() }
}

pub(super) extern "C" fn login(
    ctx: *const (),
    request: LoginRequest<'_>,
    user_data: *mut (),
    done: LoginDone,
) {
    struct Answer(*mut (), LoginDone);
    // SAFETY: the pointer is the plugin's own and goes back to it once, from whichever thread.
    unsafe impl Send for Answer {}
    impl Answer {
        fn give(self, answer: RResult<AccountHandle, u32>) {
            (self.1.call)(self.0, answer);
        }
    }

    let answer = Answer(user_data, done);
    guard((), || {
        let side = side(ctx);
        let done = move |checked: Result<Arc<Account>, Denied>| {
            answer.give(match checked {
                Ok(account) => RResult::ROk(hold(account, side)),
                Err(Denied::Busy) => RResult::RErr(DENIED_BUSY),
                Err(Denied::Refused) => RResult::RErr(DENIED_REFUSED),
            });
        };
        side.accounts.verify_async(
            request.user.as_str(),
            request.password.as_slice(),
            &side.service,
            address(&request.peer),
            Box::new(done),
        );
    });
}

pub(super) extern "C" fn anonymous(ctx: *const (), peer: RStr<'_>) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        side.accounts
            .anonymous(&side.service, address(&peer))
            .map(|account| hold(account, side))
            .into()
    })
}

pub(super) extern "C" fn describe(account: AccountHandle) -> RVec<u8> {
    guard(RVec::new(), || {
        let account = &held(&account).account;
        let json =
            serde_json::json!({ "name": account.name, "id": account.id, "home": account.home });
        json.to_string().into_bytes().into()
    })
}

pub(super) extern "C" fn allows(
    account: AccountHandle,
    action: u32,
    target: RSlice<'_, u8>,
) -> bool {
    guard(false, || {
        let held = held(&account);
        let (Some(action), Ok(target)) =
            (action_of(action), std::str::from_utf8(target.as_slice()))
        else {
            return false;
        };
        let Held { account, side } = held;
        side.accounts.allows(account, &side.service, action, target)
    })
}

pub(super) extern "C" fn is_current(account: AccountHandle) -> bool {
    guard(false, || {
        let held = held(&account);
        held.side.accounts.is_current(&held.account)
    })
}

pub(super) extern "C" fn retain(account: AccountHandle) {
    // SAFETY: the plugin holds the handle, so the count is at least one.
    unsafe { Arc::increment_strong_count(account.account.cast::<Held>()) }
}

pub(super) extern "C" fn release(account: AccountHandle) {
    guard((), || {
        // SAFETY: gives back one count that `hold` or `retain` took.
        drop(unsafe { Arc::from_raw(account.account.cast::<Held>()) });
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

fn address(peer: &RStr<'_>) -> Option<IpAddr> {
    peer.as_str().parse().ok()
}

fn action_of(number: u32) -> Option<Action> {
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
