//! SIZE, MDTM, MLST, MFMT.

use crate::calendar::Utc;
use crate::control::Control;
use crate::listing::{Entry, Kind, facts_line};
use crate::reply::{self, Reply};
use crate::request::Request;

use super::Pending;

/// The size in bytes of the file as it is stored, in TYPE A as well: that is what clients
/// compare with, and counting line ends would read the whole file.
pub(super) fn size(control: &mut Control, argument: &str) {
    if let Some(path) = control.resolve(argument) {
        control.ask(Request::Facts(path), Pending::Size);
    }
}

pub(super) fn size_of(control: &mut Control, entry: &Entry) {
    control.reply(&match entry.kind {
        Kind::File => Reply::new(213, entry.size.to_string()),
        _ => reply::NOT_PLAIN_FILE,
    });
}

pub(super) fn mdtm(control: &mut Control, argument: &str) {
    if let Some(path) = control.resolve(argument) {
        control.ask(Request::Facts(path), Pending::Mdtm);
    }
}

pub(super) fn modified(control: &mut Control, entry: &Entry) {
    control.reply(&Reply::new(213, Utc::from_unix(entry.modified).time_val()));
}

pub(super) fn mlst(control: &mut Control, argument: &str) {
    if let Some(path) = control.resolve(argument) {
        control.ask(Request::Facts(path), Pending::Mlst);
    }
}

/// The entry's name is its full path here (RFC 3659 section 7.2).
pub(super) fn details(control: &mut Control, entry: &Entry) {
    let mut line = Vec::new();
    facts_line(control.parameters.facts, entry, &mut line);
    let line = line.strip_suffix(b"\r\n").unwrap_or(&line);
    reply::write_block(&mut control.output, 250, "Listing follows:", [line], "End");
}

pub(super) fn mfmt(control: &mut Control, time: i64, argument: &str) {
    if !control.may_write() {
        return;
    }
    if let Some(path) = control.resolve(argument) {
        let done = Reply::new(
            213,
            format!("Modify={}; {argument}", Utc::from_unix(time).time_val()),
        );
        control.ask_simple(
            Request::SetModified { path, time },
            done,
            reply::CANNOT_SET_TIME,
        );
    }
}
