//! The host's side of `accounts/2`: what it has beyond `accounts/1`.

use std::net::{IpAddr, Ipv6Addr};

use polyport_abi::accounts::{AccountHandle, LoginDone};
use polyport_abi::accounts2::{
    AccountsV2, ClientOrigin, DENIED_TOO_MANY_SESSIONS, DOWN, LoginRequest, UP,
};
use polyport_abi::{ROption, RStr};

use super::accounts::{self, Answer, held, hold, number_of};
use super::{guard, side};
use crate::accounts::{Client, Direction, Session};

/// The interface for one instance.
pub(super) fn table(ctx: *const ()) -> AccountsV2 {
    AccountsV2 {
        ctx,
        login,
        identify,
        requires_tls,
        describe: accounts::describe,
        allows: accounts::allows,
        is_current: accounts::is_current,
        retain: accounts::retain,
        release: accounts::release,
        enter,
        leave,
        pace,
        charge,
        watch: accounts::watch,
        unwatch: accounts::unwatch,
    }
}

extern "C" fn login(
    ctx: *const (),
    request: LoginRequest<'_>,
    user_data: *mut (),
    done: LoginDone,
) {
    let answer = Answer::to(user_data, done);
    guard((), || {
        let side = side(ctx);
        let client = client(&request.origin, &request.client_id);
        let user = request.user.as_ref().into_option().map(RStr::as_str);
        let password = request.password.as_ref().into_option();
        let password = password.map(|password| password.as_slice());
        let done = move |checked: Result<Session, _>| answer.give(checked.map_err(number_of));
        side.accounts
            .log_in(&side.entrance, &client, user, password, Box::new(done));
    });
}

extern "C" fn identify(
    ctx: *const (),
    origin: ClientOrigin<'_>,
    client_id: ROption<RStr<'_>>,
) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        let client = client(&origin, &client_id);
        let found = side.accounts.identify(&side.entrance, &client);
        found.map(hold).into()
    })
}

extern "C" fn requires_tls(ctx: *const ()) -> bool {
    guard(true, || side(ctx).entrance.requires_tls())
}

extern "C" fn enter(account: AccountHandle) -> u32 {
    guard(DENIED_TOO_MANY_SESSIONS, || {
        if held(&account).enter() {
            0
        } else {
            DENIED_TOO_MANY_SESSIONS
        }
    })
}

extern "C" fn leave(account: AccountHandle) {
    guard((), || held(&account).leave());
}

extern "C" fn pace(account: AccountHandle, direction: u32, bytes: u64) -> u64 {
    guard(0, || match direction {
        UP => held(&account).pace(Direction::Up, bytes),
        DOWN => held(&account).pace(Direction::Down, bytes),
        _ => 0,
    })
}

extern "C" fn charge(account: AccountHandle, bytes: i64) -> bool {
    guard(false, || held(&account).charge(bytes))
}

pub(super) fn client<'a>(origin: &'a ClientOrigin<'_>, id: &'a ROption<RStr<'_>>) -> Client<'a> {
    let address = origin.address.into_option();
    Client {
        address: address.map(|address| IpAddr::V6(Ipv6Addr::from(address)).to_canonical()),
        secure: origin.secure,
        certificate: origin.certificate.as_slice(),
        id: id.as_ref().into_option().map(RStr::as_str),
    }
}
