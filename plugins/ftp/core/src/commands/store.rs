//! STOR, APPE, STOU.

use std::time::Instant;

use crate::control::Control;
use crate::path::VirtualPath;
use crate::reply::{self, Reply};
use crate::request::{Failure, Opened, Placement, Representation, Request};

use super::Pending;

pub(super) fn stor(control: &mut Control, argument: &str) {
    let placement = match control.parameters.restart {
        0 => Placement::Replace,
        offset => Placement::At(offset),
    };
    store(control, "STOR", argument, placement);
}

pub(super) fn appe(control: &mut Control, argument: &str) {
    store(control, "APPE", argument, Placement::Append);
}

pub(super) fn stou(control: &mut Control) {
    store(control, "STOU", "", Placement::Unique);
}

fn store(control: &mut Control, verb: &'static str, argument: &str, placement: Placement) {
    if !control.options.write_enable {
        return control.reply(&reply::STORE_DISABLED);
    }
    let Some(path) = control.resolve(argument) else {
        return;
    };
    let Some((endpoint, _)) = control.take_endpoint() else {
        return;
    };
    let representation = control.parameters.representation;
    let pending = Pending::Store {
        verb,
        name: argument.to_owned(),
    };
    // the position would have to be counted in a form the file no longer has
    if representation == Representation::Ascii && matches!(placement, Placement::At(_)) {
        return control.fail(pending, &Failure::AsciiResume);
    }
    if placement != Placement::Unique && path == VirtualPath::root() {
        return control.fail(pending, &Failure::NotAFile);
    }
    control.ask(
        Request::Store {
            path,
            placement,
            representation,
            endpoint,
            protection: control.protection,
        },
        pending,
    );
}

pub(super) fn opened(control: &mut Control, now: Instant, verb: &str, name: &str, opened: &Opened) {
    match &opened.name {
        // RFC 1123 section 4.1.2.9
        Some(name) => control.reply(&Reply::new(150, format!("FILE: {name}"))),
        None => control.reply(&reply::SEND_DATA),
    }
    let what = format!("{verb} {}", opened.name.as_deref().unwrap_or(name));
    control.begin_transfer(now, what, reply::TRANSFER_COMPLETE, opened);
}
