//! USER, PASS, REIN.

use crate::control::{Control, Parameters, Session, User};
use crate::path::VirtualPath;
use crate::reply::{self, Reply};
use crate::request::{Denial, Request};

use super::Pending;

/// A known and an unknown name get the same reply.
pub(super) fn user(control: &mut Control, name: String) {
    leave(control);
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
    leave(control);
    let banner = control.options.banner.clone();
    reply::write_banner(&mut control.output, &banner);
}

pub(super) fn accepted(control: &mut Control, name: String, directory: VirtualPath) {
    control.session = Session::User(User {
        name,
        directory,
        rename_from: None,
    });
    control.login_failures = 0;
    control.reply(&reply::LOGGED_IN);
}

pub(super) fn denied(control: &mut Control, denial: Denial) {
    if denial != Denial::Busy {
        control.login_failures += 1;
    }
    control.reply(&match denial {
        Denial::Credentials => reply::LOGIN_INCORRECT,
        Denial::Busy => reply::LOGIN_LATER,
        Denial::WriteableRoot => reply::WRITEABLE_ROOT,
        Denial::NoFolder => reply::NO_FOLDER,
    });
    if control.login_failures >= control.options.max_login_failures {
        control.end(None::<Reply>);
    }
}

/// All parameters return to their defaults (RFC 959 section 4.1.1).
fn leave(control: &mut Control) {
    if let Session::User(_) = control.session {
        control.request(Request::Logout);
        control.session = Session::Anyone;
        control.parameters = Parameters::default();
    }
}
