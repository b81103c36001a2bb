//! AUTH, PBSZ, PROT, CCC (RFC 2228, RFC 4217).
//!
//! As vsftpd, PROT is taken without PBSZ before it, which RFC 4217 section 8 gives no meaning.

use crate::control::{Control, Session, is_anonymous};
use crate::reply;
use crate::request::{Protection, Request, Secured};

use super::{Pending, login};

/// With anything behind it in clear, AUTH is refused: an attacker on the way could have put it
/// there, to be carried out as if it had come over TLS.
pub(super) fn auth(control: &mut Control, mechanism: &str) {
    if !control.options.tls.offered {
        return control.reply(&reply::NOT_IMPLEMENTED);
    }
    // the names of the drafts that let AUTH decide about the data connections as well
    let protection = match mechanism.to_ascii_uppercase().as_str() {
        "TLS" | "TLS-C" => Protection::Clear,
        "SSL" | "TLS-P" => Protection::Private,
        _ => return control.reply(&reply::BAD_MECHANISM),
    };
    if control.secured.is_some() {
        return control.reply(&reply::ALREADY_SECURE);
    }
    if !control.is_all_read() {
        return control.reply(&reply::MORE_BEHIND_AUTH);
    }
    // RFC 2228 section 3: who was logged in before is not any more
    login::leave(control);
    control.session = Session::Anyone;
    control.reply(&reply::BEGIN_TLS);
    control.ask(Request::Secure, Pending::Secure { protection });
}

pub(super) fn secured(control: &mut Control, secured: Secured, protection: Protection) {
    control.secured = Some(secured);
    control.protection = protection;
    // whatever still came in clear
    control.discard_input();
}

/// TLS has no buffer to agree on (RFC 4217 section 8).
pub(super) fn pbsz(control: &mut Control, size: &str) {
    let reply = match size {
        _ if control.secured.is_none() => reply::PBSZ_NEEDS_TLS,
        size if size.parse::<u32>().is_ok() => reply::BUFFER_SIZE,
        _ => reply::BAD_BUFFER_SIZE,
    };
    control.reply(&reply);
}

pub(super) fn prot(control: &mut Control, level: &str) {
    if control.secured.is_none() {
        return control.reply(&reply::PROT_NEEDS_TLS);
    }
    let reply = match level.to_ascii_uppercase().as_str() {
        "C" if control.needs_private_data() => reply::CLEAR_REFUSED,
        "C" => {
            control.protection = Protection::Clear;
            reply::PROTECTION_CLEAR
        }
        "P" => {
            control.protection = Protection::Private;
            reply::PROTECTION_PRIVATE
        }
        "S" | "E" => reply::PROTECTION_UNSUPPORTED,
        _ => reply::BAD_PROTECTION,
    };
    control.reply(&reply);
}

/// Commands in clear could be forged; address translators that read them have EPSV.
pub(super) fn ccc(control: &mut Control) {
    control.reply(match control.secured {
        Some(_) => &reply::CCC_REFUSED,
        None => &reply::CCC_UNPROTECTED,
    });
}

impl Control {
    /// Whether who is logged in may have no data connection in clear.
    pub(super) fn needs_private_data(&self) -> bool {
        let demand = self.options.tls.data;
        match &self.session {
            Session::User(user) if self.secured.is_some() => {
                if self.options.anonymous_enable && is_anonymous(&user.name) {
                    demand.anonymous
                } else {
                    demand.accounts
                }
            }
            _ => false,
        }
    }
}
