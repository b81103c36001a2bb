//! In a host that has `accounts/1` alone.

use std::sync::Mutex;

use polyport_abi::accounts::{AccountsV1, LoginRequest};
use polyport_abi::{Interface, InterfaceTable, ROption, RSlice, RStr, RVec, offer};

use super::*;
use crate::net::Peer;

/// What the old host was asked.
static ASKED: Mutex<Vec<String>> = Mutex::new(Vec::new());

static OLD: AccountsV1 = AccountsV1 {
    ctx: std::ptr::null(),
    login,
    anonymous,
    describe,
    allows,
    is_current,
    retain: ignore,
    release: ignore,
    watch,
    unwatch,
};

const HANDLE: AccountHandle = AccountHandle {
    account: std::ptr::null(),
};

fn note(what: String) {
    ASKED.lock().unwrap().push(what);
}

extern "C" fn interface(_: *const (), id: RStr<'_>) -> ROption<Interface> {
    if id.as_str() == AccountsV1::ID {
        ROption::RSome(offer(&OLD))
    } else {
        ROption::RNone
    }
}

extern "C" fn login(_: *const (), request: LoginRequest<'_>, user_data: *mut (), done: LoginDone) {
    let right = request.password.as_slice() == b"secret";
    note(format!("login {} from {}", request.user, request.peer));
    (done.call)(
        user_data,
        if right {
            RResult::ROk(HANDLE)
        } else {
            RResult::RErr(abi::DENIED_REFUSED)
        },
    );
}

extern "C" fn anonymous(_: *const (), peer: RStr<'_>) -> ROption<AccountHandle> {
    note(format!("anonymous from {peer}"));
    ROption::RSome(HANDLE)
}

extern "C" fn describe(_: AccountHandle) -> RVec<u8> {
    br#"{"name":"alice","id":"a","home":null}"#.to_vec().into()
}

extern "C" fn allows(_: AccountHandle, action: u32, _: RSlice<'_, u8>) -> bool {
    action == abi::ACTION_READ
}

extern "C" fn is_current(_: AccountHandle) -> bool {
    true
}

extern "C" fn ignore(_: AccountHandle) {}

extern "C" fn watch(_: *const (), _: *const (), _: Changed) {}

extern "C" fn unwatch(_: *const (), _: *const ()) {}

#[tokio::test]
async fn an_older_host_is_asked_what_it_knows() {
    let accounts = Accounts::new(HostQuery {
        ctx: std::ptr::null(),
        interface,
    });
    let origin = Origin::new(Peer::Ip("10.0.0.1:4000".parse().unwrap()));
    let login = Login {
        client_id: Some("d1"),
        ..Login::with_password("alice", b"secret")
    };
    let account = accounts.login(&origin, login).await.unwrap();
    assert_eq!((account.name(), account.home()), ("alice", None));
    assert!(account.allows(Action::Read, "/x") && !account.allows(Action::Write, "/x"));
    // It neither counts nor limits.
    assert!(account.pace().is_none() && account.quota().is_none() && account.charge(1 << 40));
    assert!(account.resting().resume().is_ok() && !accounts.requires_tls());
    let wrong = accounts
        .login(&origin, Login::with_password("alice", b"x"))
        .await;
    assert_eq!(wrong.unwrap_err(), Denied::Refused);
    assert!(
        accounts
            .identify(&Origin::new(Peer::Unix), Some("d1"))
            .is_some()
    );
    assert!(accounts.login(&origin, Login::default()).await.is_ok());
    // Of a token or a certificate alone it knows nothing.
    for login in [
        Login {
            password: Some(b"secret"),
            ..Login::default()
        },
        Login {
            user: Some("alice"),
            ..Login::default()
        },
    ] {
        let refused = accounts.login(&origin, login).await;
        assert_eq!(refused.unwrap_err(), Denied::Refused);
    }
    assert_eq!(
        *ASKED.lock().unwrap(),
        [
            "login alice from 10.0.0.1",
            "login alice from 10.0.0.1",
            "anonymous from ",
            "anonymous from 10.0.0.1"
        ]
    );
}

#[test]
fn a_password_is_not_shown() {
    let shown = format!("{:?}", Login::with_password("alice", b"secret"));
    assert!(
        shown.contains("alice") && !shown.contains("secret") && !shown.contains("115"),
        "{shown}"
    );
}
