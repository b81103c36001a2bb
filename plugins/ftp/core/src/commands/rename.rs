//! RNFR, RNTO.

use crate::control::Control;
use crate::path::VirtualPath;
use crate::reply;
use crate::request::Request;

use super::Pending;

pub(super) fn rnfr(control: &mut Control, argument: &str) {
    if !control.may_write() {
        return;
    }
    // A name that is refused must not leave an earlier one for RNTO.
    if let Some(user) = control.user_mut() {
        user.rename_from = None;
    }
    if let Some(path) = control.resolve(argument) {
        control.ask(Request::Facts(path.clone()), Pending::RenameFrom(path));
    }
}

pub(super) fn ready(control: &mut Control, path: VirtualPath) {
    if let Some(user) = control.user_mut() {
        user.rename_from = Some(path);
    }
    control.reply(&reply::READY_FOR_RNTO);
}

pub(super) fn rnto(control: &mut Control, argument: &str) {
    let Some(from) = control.user_mut().and_then(|user| user.rename_from.take()) else {
        return control.reply(&reply::NEED_RNFR);
    };
    if let Some(to) = control.resolve(argument) {
        control.ask_simple(
            Request::Rename { from, to },
            reply::RENAMED,
            reply::CANNOT_RENAME,
        );
    }
}
