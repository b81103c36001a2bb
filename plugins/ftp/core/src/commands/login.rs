//! USER, PASS, REIN.

use crate::control::{Control, Parameters, Session, User, is_anonymous};
use crate::path::VirtualPath;
use crate::reply::{self, Reply};
use crate::request::{Denial, Request, Secured};

use super::Pending;

/// A known and an unknown name get the same reply.
///
/// Who must have TLS and has not is refused before a password is sent.
pub(super) fn user(control: &mut Control, name: String) {
    leave(control);
    let is_anonymous = control.options.anonymous_enable && is_anonymous(&name);
    let demand = control.options.tls.logins;
    match control.secured {
        None if is_anonymous && demand.anonymous => control.reply(&reply::ANONYMOUS_NEED_TLS),
        None if !is_anonymous && demand.accounts => control.reply(&reply::ACCOUNTS_NEED_TLS),
        Some(Secured { certified: true }) if !is_anonymous => control.ask(
            Request::Identify { user: name.clone() },
            Pending::Identify { user: name },
        ),
        _ => named(control, name),
    }
}

pub(super) fn named(control: &mut Control, name: String) {
    control.session = Session::Named { user: name };
    control.reply(&reply::GIVE_PASSWORD);
}

pub(super) fn pass(control: &mut Control, password: Vec<u8>) {
    match std::mem::take(&mut control.session) {
        Session::Named { user } => {
            control.ask(
                Request::Login {
                    user: user.clone(),
                    password,
                },
                Pending::Login { user },
            );
        }
        Session::Anyone => control.reply(&reply::NEED_USER),
        user @ Session::User(_) => {
            control.session = user;
            control.reply(&reply::ALREADY_LOGGED_IN);
        }
    }
}

pub(super) fn rein(control: &mut Control) {
    // RFC 4217 section 11 wants it in clear again, where the next commands could be forged
    if control.secured.is_some() {
        return control.reply(&reply::NO_REIN_OVER_TLS);
    }
    leave(control);
    let banner = control.options.banner.clone();
    reply::write_banner(&mut control.output, &banner);
}

pub(super) fn accepted(control: &mut Control, name: String, directory: VirtualPath, reply: &Reply) {
    control.session = Session::User(User {
        name,
        directory,
        rename_from: None,
    });
    control.login_failures = 0;
    control.reply(reply);
}

pub(super) fn denied(control: &mut Control, denial: Denial) {
    match denial {
        Denial::Busy | Denial::TooManySessions | Denial::NeedsTls => {}
        _ => control.login_failures += 1,
    }
    control.reply(&match denial {
        Denial::Credentials => reply::LOGIN_INCORRECT,
        Denial::NotHere => reply::NOT_HERE,
        Denial::TooManySessions => reply::TOO_MANY_SESSIONS,
        Denial::NeedsTls => reply::ACCOUNTS_NEED_TLS,
        Denial::Busy => reply::LOGIN_LATER,
        Denial::WriteableRoot => reply::WRITEABLE_ROOT,
        Denial::NoFolder => reply::NO_FOLDER,
    });
    if control.login_failures >= control.options.max_login_failures {
        control.end(None::<Reply>);
    }
}

/// All parameters return to their defaults (RFC 959 section 4.1.1).
pub(super) fn leave(control: &mut Control) {
    if let Session::User(_) = control.session {
        control.request(Request::Logout);
        control.session = Session::Anyone;
        control.parameters = Parameters::default();
    }
}
