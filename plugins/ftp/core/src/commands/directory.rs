//! CWD, CDUP, PWD, MKD, RMD, DELE.

use crate::control::Control;
use crate::path::VirtualPath;
use crate::reply;
use crate::request::Request;

use super::Pending;

pub(super) fn cwd(control: &mut Control, argument: &str) {
    if let Some(path) = control.resolve(argument) {
        control.ask(Request::Enter(path.clone()), Pending::Enter(path));
    }
}

pub(super) fn entered(control: &mut Control, path: VirtualPath) {
    if let Some(user) = control.user_mut() {
        user.directory = path;
    }
    control.reply(&reply::DIRECTORY_CHANGED);
}

pub(super) fn pwd(control: &mut Control) {
    if let Some(path) = control.resolve("") {
        control.reply(&reply::quoted_path(path.as_str(), ""));
    }
}

pub(super) fn mkd(control: &mut Control, argument: &str) {
    if !control.may_write() {
        return;
    }
    if let Some(path) = control.resolve(argument) {
        let done = reply::quoted_path(path.as_str(), " created");
        control.ask_simple(Request::MakeDirectory(path), done, reply::CANNOT_MAKE);
    }
}

pub(super) fn rmd(control: &mut Control, argument: &str) {
    if !control.may_write() {
        return;
    }
    if let Some(path) = control.resolve(argument) {
        control.ask_simple(
            Request::RemoveDirectory(path),
            reply::DIRECTORY_REMOVED,
            reply::CANNOT_REMOVE,
        );
    }
}

pub(super) fn dele(control: &mut Control, argument: &str) {
    if !control.may_write() {
        return;
    }
    if let Some(path) = control.resolve(argument) {
        control.ask_simple(Request::Delete(path), reply::DELETED, reply::CANNOT_DELETE);
    }
}
