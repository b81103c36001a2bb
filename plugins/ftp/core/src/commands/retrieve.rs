//! RETR.

use std::time::Instant;

use crate::control::Control;
use crate::reply;
use crate::request::{Opened, Request};

use super::Pending;

pub(super) fn retr(control: &mut Control, argument: &str) {
    let Some(path) = control.resolve(argument) else {
        return;
    };
    if let Some((endpoint, offset)) = control.take_endpoint() {
        let representation = control.parameters.representation;
        control.ask(
            Request::Retrieve {
                path,
                offset,
                representation,
                endpoint,
                protection: control.protection,
            },
            Pending::Retrieve {
                name: argument.to_owned(),
            },
        );
    }
}

pub(super) fn opened(control: &mut Control, now: Instant, name: &str, opened: &Opened) {
    control.reply(&reply::opening(opened.representation, name, opened.size));
    control.begin_transfer(
        now,
        format!("RETR {name}"),
        reply::TRANSFER_COMPLETE,
        opened,
    );
}
