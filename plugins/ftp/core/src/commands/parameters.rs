//! TYPE, REST, PASV, EPSV, PORT, EPRT.

use std::net::SocketAddr;

use crate::address::NetworkProtocol;
use crate::command::ExtendedPassive;
use crate::control::{Control, ipv4, is_own_address};
use crate::reply::{self, Reply};
use crate::request::{Endpoint, Protection, Representation, Request};

use super::Pending;

pub(super) fn set_type(control: &mut Control, representation: Representation) {
    control.parameters.representation = representation;
    control.reply(match representation {
        Representation::Ascii => &reply::ASCII,
        Representation::Image => &reply::BINARY,
    });
}

/// The position holds until the next transfer: clients put PASV and TYPE in between.
pub(super) fn rest(control: &mut Control, offset: u64) {
    control.parameters.restart = offset;
    control.reply(&Reply::new(
        350,
        format!("Restart position accepted ({offset})."),
    ));
}

pub(super) fn pasv(control: &mut Control) {
    if control.parameters.epsv_all {
        return control.reply(&reply::ONLY_EPSV);
    }
    listen(control, NetworkProtocol::Ipv4, false);
}

pub(super) fn epsv(control: &mut Control, argument: ExtendedPassive) {
    let protocol = match argument {
        ExtendedPassive::All => {
            control.parameters.epsv_all = true;
            return control.reply(&reply::EPSV_ALL_OK);
        }
        ExtendedPassive::Default => usable(control).unwrap_or(NetworkProtocol::Ipv4),
        ExtendedPassive::Protocol(protocol) => protocol,
    };
    listen(control, protocol, true);
}

fn listen(control: &mut Control, protocol: NetworkProtocol, extended: bool) {
    let reply = match usable(control) {
        _ if !control.options.pasv_enable => reply::PASV_DISABLED,
        None => reply::NO_NETWORK,
        Some(usable) if usable == protocol => {
            control.parameters.endpoint = None;
            return control.ask(Request::Listen(protocol), Pending::Listen { extended });
        }
        Some(usable) if extended => reply::bad_protocol(Some(usable)),
        Some(_) => reply::NEED_EPSV,
    };
    control.reply(&reply);
}

pub(super) fn listening(control: &mut Control, address: SocketAddr, extended: bool) {
    control.parameters.endpoint = Some(Endpoint::Passive);
    let told = control.options.pasv_address.or(ipv4(address.ip()));
    control.reply(&match told {
        Some(told) if !extended => reply::passive(told, address.port()),
        _ => reply::extended_passive(address.port()),
    });
}

pub(super) fn port(control: &mut Control, address: SocketAddr) {
    active(control, address, &reply::PORT_OK, &reply::ILLEGAL_PORT);
}

pub(super) fn eprt(control: &mut Control, address: SocketAddr) {
    active(control, address, &reply::EPRT_OK, &reply::ILLEGAL_EPRT);
}

fn active(control: &mut Control, address: SocketAddr, accepted: &Reply, illegal: &Reply) {
    if control.parameters.epsv_all {
        control.reply(&reply::ONLY_EPSV);
    } else if !control.options.port_enable {
        control.reply(&reply::PORT_DISABLED);
    } else if !is_own_address(address, control.options.peer) {
        control.parameters.endpoint = None;
        control.reply(illegal);
    } else {
        control.parameters.endpoint = Some(Endpoint::Active(address));
        control.reply(accepted);
    }
}

pub(super) fn unknown_protocol(control: &Control) -> Reply {
    reply::bad_protocol(usable(control))
}

/// The protocol data connections can use: that of the control connection.
fn usable(control: &Control) -> Option<NetworkProtocol> {
    control.options.local.map(NetworkProtocol::of)
}

impl Control {
    /// Takes what a transfer uses up, or replies why there can be none: no data port, or one in
    /// clear where that is not allowed.
    pub(super) fn take_endpoint(&mut self) -> Option<(Endpoint, u64)> {
        let restart = std::mem::take(&mut self.parameters.restart);
        if self.protection == Protection::Clear && self.needs_private_data() {
            self.reply(&reply::DATA_NEEDS_TLS);
            return None;
        }
        match self.parameters.endpoint.take() {
            Some(endpoint) => Some((endpoint, restart)),
            None => {
                self.reply(&reply::NO_DATA_PORT);
                None
            }
        }
    }
}
