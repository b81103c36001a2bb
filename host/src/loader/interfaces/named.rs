//! The host's side of `named/1`, whose handles are those of `accounts/2`.

use polyport_abi::accounts::AccountHandle;
use polyport_abi::named::NamedV1;
use polyport_abi::{ROption, RStr};

use super::accounts::hold;
use super::{guard, side};

/// The interface for one instance.
pub(super) fn table(ctx: *const ()) -> NamedV1 {
    NamedV1 { ctx, account }
}

extern "C" fn account(ctx: *const (), login: RStr<'_>) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        let found = side.accounts.named(&side.entrance, login.as_str());
        found.map(hold).into()
    })
}
