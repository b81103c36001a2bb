//! LIST, NLST, MLSD, and STAT with a path.

use std::time::Instant;

use crate::command::ListArgument;
use crate::control::Control;
use crate::reply;
use crate::request::{ListStyle, Listing, Opened, Request};

use super::Pending;

pub(super) fn list(control: &mut Control, argument: ListArgument) {
    transfer(control, argument, |_| ListStyle::Long);
}

pub(super) fn nlst(control: &mut Control, argument: ListArgument) {
    transfer(control, argument, |prefix| ListStyle::Names { prefix });
}

pub(super) fn mlsd(control: &mut Control, argument: &str) {
    let style = ListStyle::Facts(control.parameters.facts);
    let Some(path) = control.resolve(argument) else {
        return;
    };
    if let Some((endpoint, _)) = control.take_endpoint() {
        let listing = Listing {
            path,
            pattern: None,
            hidden: true,
            style,
        };
        let protection = control.protection;
        control.ask(
            Request::List {
                listing,
                endpoint,
                protection,
            },
            Pending::List,
        );
    }
}

pub(super) fn stat(control: &mut Control, argument: ListArgument) {
    if let Some(listing) = listing(control, argument, |_| ListStyle::Long) {
        control.ask(Request::Show(listing), Pending::Show);
    }
}

fn transfer(
    control: &mut Control,
    argument: ListArgument,
    style: impl FnOnce(String) -> ListStyle,
) {
    let Some(listing) = listing(control, argument, style) else {
        return;
    };
    if let Some((endpoint, _)) = control.take_endpoint() {
        let protection = control.protection;
        control.ask(
            Request::List {
                listing,
                endpoint,
                protection,
            },
            Pending::List,
        );
    }
}

/// A last name with `*` or `?` in it is a pattern, as in a shell.
fn listing(
    control: &mut Control,
    argument: ListArgument,
    style: impl FnOnce(String) -> ListStyle,
) -> Option<Listing> {
    let ListArgument { hidden, path } = argument;
    let (directory, last) = path
        .rsplit_once('/')
        .map_or(("", path.as_str()), |(directory, last)| {
            (if directory.is_empty() { "/" } else { directory }, last)
        });
    let is_pattern = last.contains(['*', '?']);
    let directory = if is_pattern { directory } else { &path };
    let prefix = match directory {
        "" => String::new(),
        directory if directory.ends_with('/') => directory.to_owned(),
        directory => format!("{directory}/"),
    };
    let pattern = is_pattern.then(|| last.to_owned());
    Some(Listing {
        hidden: hidden || last.starts_with('.') && is_pattern,
        path: control.resolve(directory)?,
        pattern,
        style: style(prefix),
    })
}

pub(super) fn opened(control: &mut Control, now: Instant, opened: &Opened) {
    control.reply(&reply::LISTING_FOLLOWS);
    control.begin_transfer(now, "listing".to_owned(), reply::LISTING_SENT, opened);
}

pub(super) fn show(control: &mut Control, lines: &[u8]) {
    let lines = lines
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    reply::write_block(
        &mut control.output,
        213,
        "Status follows:",
        lines,
        "End of status",
    );
}
