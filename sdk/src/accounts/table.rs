//! The host's accounts, in the newest of their interfaces that it offers.

use std::net::IpAddr;

use polyport_abi::accounts::{self as abi, AccountHandle, AccountsV1, Changed, LoginDone};
use polyport_abi::accounts2::{self as abi2, AccountsV2, ClientOrigin};
use polyport_abi::{HostQuery, ROption, RVec};

use super::{Denied, Login};
use crate::net::Origin;

/// The functions of `accounts/2`, or in an older host those of `accounts/1`.
#[derive(Clone, Copy)]
pub(super) enum Table {
    First(&'static AccountsV1),
    Second(&'static AccountsV2),
}

macro_rules! either {
    ($table:expr, $of:ident => $call:expr) => {
        match $table {
            Table::First($of) => $call,
            Table::Second($of) => $call,
        }
    };
}

impl Table {
    pub(super) fn of(host: HostQuery) -> Option<Self> {
        if let Ok(table) = crate::export::host_interface::<AccountsV2>(host) {
            return Some(Self::Second(table));
        }
        let table = crate::export::host_interface::<AccountsV1>(host).ok()?;
        Some(Self::First(table))
    }

    /// Hands a login over to the host; false if an older one cannot take it, and then `user_data` was not
    /// taken either.
    pub(super) fn login(
        self,
        origin: &Origin,
        login: Login<'_>,
        user_data: *mut (),
        done: LoginDone,
    ) -> bool {
        match self {
            Self::Second(table) => {
                let request = abi2::LoginRequest {
                    origin: client_origin(origin),
                    user: login.user.map(Into::into).into(),
                    password: login.password.map(Into::into).into(),
                    client_id: login.client_id.map(Into::into).into(),
                };
                (table.login)(table.ctx, request, user_data, done);
                true
            }
            Self::First(table) => {
                let (Some(user), Some(password)) = (login.user, login.password) else {
                    return false;
                };
                let peer = address_text(origin);
                let request = abi::LoginRequest {
                    peer: peer.as_str().into(),
                    user: user.into(),
                    password: password.into(),
                };
                (table.login)(table.ctx, request, user_data, done);
                true
            }
        }
    }

    pub(super) fn identify(
        self,
        origin: &Origin,
        client_id: Option<&str>,
    ) -> Option<AccountHandle> {
        let found = match self {
            Self::Second(table) => {
                let client_id = client_id.map(Into::into).into();
                (table.identify)(table.ctx, client_origin(origin), client_id)
            }
            Self::First(table) => {
                (table.anonymous)(table.ctx, address_text(origin).as_str().into())
            }
        };
        match found {
            ROption::RSome(handle) => Some(handle),
            ROption::RNone => None,
        }
    }

    /// An older host has no such services.
    pub(super) fn requires_tls(self) -> bool {
        match self {
            Self::First(_) => false,
            Self::Second(table) => (table.requires_tls)(table.ctx),
        }
    }

    pub(super) fn describe(self, handle: AccountHandle) -> RVec<u8> {
        either!(self, table => (table.describe)(handle))
    }

    pub(super) fn allows(self, handle: AccountHandle, action: u32, target: &[u8]) -> bool {
        either!(self, table => (table.allows)(handle, action, target.into()))
    }

    pub(super) fn is_current(self, handle: AccountHandle) -> bool {
        either!(self, table => (table.is_current)(handle))
    }

    pub(super) fn release(self, handle: AccountHandle) {
        either!(self, table => (table.release)(handle));
    }

    /// Whether the session may count once more, and now does.
    pub(super) fn enter(self, handle: AccountHandle) -> Result<(), Denied> {
        match self {
            Self::First(_) => Ok(()),
            Self::Second(table) => match (table.enter)(handle) {
                0 => Ok(()),
                number => Err(Denied::from_number(number)),
            },
        }
    }

    pub(super) fn leave(self, handle: AccountHandle) {
        if let Self::Second(table) = self {
            (table.leave)(handle);
        }
    }

    /// Nanoseconds.
    pub(super) fn pace(self, handle: AccountHandle, direction: u32, bytes: u64) -> u64 {
        match self {
            Self::First(_) => 0,
            Self::Second(table) => (table.pace)(handle, direction, bytes),
        }
    }

    pub(super) fn charge(self, handle: AccountHandle, bytes: i64) -> bool {
        match self {
            Self::First(_) => true,
            Self::Second(table) => (table.charge)(handle, bytes),
        }
    }

    pub(super) fn watch(self, user_data: *const (), changed: Changed) {
        either!(self, table => (table.watch)(table.ctx, user_data, changed));
    }

    pub(super) fn unwatch(self, user_data: *const ()) {
        either!(self, table => (table.unwatch)(table.ctx, user_data));
    }
}

pub(super) fn client_origin(origin: &Origin) -> ClientOrigin<'_> {
    let address = origin.peer().ip().map(|address| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    });
    ClientOrigin {
        address: address.into(),
        secure: origin.is_secure(),
        certificate: origin.certificate().unwrap_or_default().into(),
    }
}

fn address_text(origin: &Origin) -> String {
    let address = origin.peer().ip();
    address
        .map(|address| address.to_string())
        .unwrap_or_default()
}
