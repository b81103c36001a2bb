//! STAT without a path, HELP.

use crate::command::VERBS;
use crate::control::Control;
use crate::reply;
use crate::request::{Protection, Representation};

/// The status of the server, and of the transfer if one runs (RFC 959 section 4.1.3).
pub(super) fn stat(control: &mut Control) {
    let peer = control
        .options
        .peer
        .map_or_else(|| "local socket".to_owned(), |peer| peer.to_string());
    let mut lines = vec![
        format!("    Connected to {peer}"),
        format!("    Logged in as {}", control.user().unwrap_or("nobody")),
        format!(
            "    TYPE: {}, STRU: F, MODE: S",
            match control.parameters.representation {
                Representation::Ascii => "ASCII",
                Representation::Image => "BINARY",
            }
        ),
        format!(
            "    Session timeout in seconds is {}",
            control.options.idle_timeout.as_secs()
        ),
    ];
    if control.secured.is_some() {
        lines.push("    Control connection is encrypted".to_owned());
        lines.push(match control.protection {
            Protection::Private => "    Data connections will be encrypted".to_owned(),
            Protection::Clear => "    Data connections will be plain text".to_owned(),
        });
    }
    lines.push(match &control.transfer {
        Some(transfer) => format!(
            "    Data connection open: {}, {} bytes so far",
            transfer.what, transfer.octets
        ),
        None => "    No data connection".to_owned(),
    });
    reply::write_block(
        &mut control.output,
        211,
        "FTP server status:",
        lines,
        "End of status",
    );
}

pub(super) fn help(control: &mut Control) {
    let lines = VERBS.chunks(12).map(|verbs| verbs.join(" "));
    reply::write_block(
        &mut control.output,
        214,
        "The following commands are recognized.",
        lines,
        "Help OK.",
    );
}
