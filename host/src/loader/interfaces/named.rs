//! The host's side of `named/1`, whose handles are those of `accounts/2`.

use polyport_abi::accounts::AccountHandle;
use polyport_abi::named::NamedV1;
use polyport_abi::{ROption, RSlice, RStr};

use super::accounts::{action_of, hold};
use super::{guard, side};

/// The interface for one instance.
pub(super) fn table(ctx: *const ()) -> NamedV1 {
    NamedV1 {
        ctx,
        account,
        allows,
    }
}

extern "C" fn account(ctx: *const (), login: RStr<'_>) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        let found = side.accounts.named(&side.entrance, login.as_str());
        found.map(hold).into()
    })
}

extern "C" fn allows(
    ctx: *const (),
    login: RStr<'_>,
    client_id: RStr<'_>,
    action: u32,
    target: RSlice<'_, u8>,
) -> bool {
    guard(false, || {
        let side = side(ctx);
        let target = std::str::from_utf8(target.as_slice());
        let (Ok(target), Some(action)) = (target, action_of(action)) else {
            return false;
        };
        let client_id = client_id.as_str();
        side.accounts
            .named_allows(&side.entrance, login.as_str(), client_id, action, target)
    })
}
