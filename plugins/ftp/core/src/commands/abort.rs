//! ABOR.

use crate::control::Control;
use crate::reply;
use crate::request::Request;

/// 426 and 226 follow when the transfer has ended; without one, 225 (RFC 959 section 5.4).
pub(crate) fn abor(control: &mut Control) {
    match &mut control.transfer {
        Some(transfer) => {
            transfer.aborted = true;
            control.request(Request::Abort);
        }
        None => {
            control.parameters.restart = 0;
            control.reply(&reply::NO_TRANSFER);
        }
    }
}
