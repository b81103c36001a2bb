//! What each command does: one file per verb or small family.
//!
//! A command replies at once, or asks for something and leaves a [`Pending`] that owns what is
//! needed to go on when the [`Answer`] arrives.

pub(crate) mod abort;
mod directory;
mod facts;
mod features;
mod list;
mod login;
mod parameters;
mod rename;
mod retrieve;
mod security;
mod status;
mod store;

use std::time::Instant;

use crate::command::{BadCommand, Command};
use crate::control::{Control, Session, User};
use crate::path::{BadPath, VirtualPath};
use crate::reply::{self, Reply};
use crate::request::{Answer, Denial, Failure, Protection, Request};

/// A command that waits for its answer.
#[derive(Debug)]
pub(crate) enum Pending {
    Login {
        user: String,
    },
    Identify {
        user: String,
    },
    Secure {
        protection: Protection,
    },
    Enter(VirtualPath),
    /// Success is one reply, failure another with the reason behind it.
    Simple {
        done: Reply,
        failed: Reply,
    },
    Listen {
        extended: bool,
    },
    Size,
    Mdtm,
    Mlst,
    Show,
    RenameFrom(VirtualPath),
    List,
    Retrieve {
        name: String,
    },
    Store {
        verb: &'static str,
        name: String,
    },
}

/// Carries out one command.
pub(crate) fn execute(control: &mut Control, command: Command) {
    match command {
        Command::User(name) => return login::user(control, name),
        Command::Pass(password) => return login::pass(control, password),
        Command::Quit => return control.quit(),
        Command::Rein => return login::rein(control),
        Command::Noop => return control.reply(&reply::NOOP_OK),
        Command::Syst => return control.reply(&reply::SYSTEM),
        Command::Help => return status::help(control),
        Command::Feat => return features::feat(control),
        Command::OptsUtf8 => return control.reply(&reply::UTF8_ALWAYS),
        Command::OptsMlst(facts) => return features::opts_mlst(control, &facts),
        Command::Auth(mechanism) => return security::auth(control, &mechanism),
        Command::Pbsz(size) => return security::pbsz(control, &size),
        Command::Prot(level) => return security::prot(control, &level),
        Command::Ccc => return security::ccc(control),
        _ => {}
    }
    if !matches!(control.session, Session::User(_)) {
        return control.reply(&reply::NEED_LOGIN);
    }
    match command {
        Command::Cwd(path) => directory::cwd(control, &path),
        Command::Cdup => directory::cwd(control, ".."),
        Command::Pwd => directory::pwd(control),
        Command::Mkd(path) => directory::mkd(control, &path),
        Command::Rmd(path) => directory::rmd(control, &path),
        Command::Dele(path) => directory::dele(control, &path),
        Command::Rnfr(path) => rename::rnfr(control, &path),
        Command::Rnto(path) => rename::rnto(control, &path),
        Command::Type(representation) => parameters::set_type(control, representation),
        Command::ModeStream => control.reply(&reply::MODE_STREAM),
        Command::StruFile => control.reply(&reply::STRUCTURE_FILE),
        Command::Allo => control.reply(&reply::ALLO_IGNORED),
        Command::Rest(offset) => parameters::rest(control, offset),
        Command::Pasv => parameters::pasv(control),
        Command::Epsv(argument) => parameters::epsv(control, argument),
        Command::Port(address) => parameters::port(control, address),
        Command::Eprt(address) => parameters::eprt(control, address),
        Command::Retr(path) => retrieve::retr(control, &path),
        Command::Stor(path) => store::stor(control, &path),
        Command::Appe(path) => store::appe(control, &path),
        Command::Stou => store::stou(control),
        Command::List(argument) => list::list(control, argument),
        Command::Nlst(argument) => list::nlst(control, argument),
        Command::Mlsd(path) => list::mlsd(control, &path),
        Command::Mlst(path) => facts::mlst(control, &path),
        Command::Size(path) => facts::size(control, &path),
        Command::Mdtm(path) => facts::mdtm(control, &path),
        Command::Mfmt { time, path } => facts::mfmt(control, time, &path),
        Command::Stat(None) => status::stat(control),
        Command::Stat(Some(argument)) => list::stat(control, argument),
        Command::Abor => abort::abor(control),
        Command::User(_)
        | Command::Pass(_)
        | Command::Quit
        | Command::Rein
        | Command::Noop
        | Command::Syst
        | Command::Help
        | Command::Feat
        | Command::OptsUtf8
        | Command::OptsMlst(_)
        | Command::Auth(_)
        | Command::Pbsz(_)
        | Command::Prot(_)
        | Command::Ccc => {} // answered above
    }
}

/// Goes on with what waited for `answer`.
pub(crate) fn finish(control: &mut Control, now: Instant, pending: Pending, answer: Answer) {
    match (pending, answer) {
        (Pending::Login { user }, Answer::LoggedIn(directory)) => {
            login::accepted(control, user, directory, &reply::LOGGED_IN);
        }
        (Pending::Identify { user }, Answer::LoggedIn(directory)) => {
            login::accepted(control, user, directory, &reply::CERTIFIED);
        }
        // the certificate stands for somebody else: a password may help
        (Pending::Identify { user }, Answer::Denied(Denial::Credentials)) => {
            login::named(control, user);
        }
        (Pending::Login { .. } | Pending::Identify { .. }, Answer::Denied(denial)) => {
            login::denied(control, denial);
        }
        (Pending::Secure { protection }, Answer::Secured(secured)) => {
            security::secured(control, secured, protection);
        }
        (Pending::Enter(path), Answer::Done) => directory::entered(control, path),
        (Pending::Simple { done, .. }, Answer::Done) => control.reply(&done),
        (Pending::Listen { extended }, Answer::Listening(address)) => {
            parameters::listening(control, address, extended);
        }
        (Pending::Size, Answer::Entry(entry)) => facts::size_of(control, &entry),
        (Pending::Mdtm, Answer::Entry(entry)) => facts::modified(control, &entry),
        (Pending::Mlst, Answer::Entry(entry)) => facts::details(control, &entry),
        (Pending::Show, Answer::Listing(lines)) => list::show(control, &lines),
        (Pending::RenameFrom(path), Answer::Entry(_)) => rename::ready(control, path),
        (Pending::List, Answer::Opened(opened)) => list::opened(control, now, &opened),
        (Pending::Retrieve { name }, Answer::Opened(opened)) => {
            retrieve::opened(control, now, &name, &opened);
        }
        (Pending::Store { verb, name }, Answer::Opened(opened)) => {
            store::opened(control, now, verb, &name, &opened);
        }
        (pending, Answer::Failed(failure)) => control.reply(&failed(pending).because(&failure)),
        // an answer of another kind is an error of whoever drives this, not of the client
        _ => control.reply(&reply::LOCAL_ERROR),
    }
}

fn failed(pending: Pending) -> Reply {
    match pending {
        Pending::Login { .. } | Pending::Identify { .. } | Pending::Secure { .. } => {
            reply::LOCAL_ERROR
        }
        Pending::Enter(_) => reply::CANNOT_ENTER,
        Pending::Simple { failed, .. } => failed,
        Pending::Listen { .. } => reply::CANNOT_LISTEN,
        Pending::Size => reply::CANNOT_SIZE,
        Pending::Mdtm => reply::CANNOT_MDTM,
        Pending::Mlst => reply::CANNOT_FACTS,
        Pending::Show | Pending::List => reply::CANNOT_LIST,
        Pending::RenameFrom(_) => reply::CANNOT_RNFR,
        Pending::Retrieve { .. } => reply::CANNOT_OPEN,
        Pending::Store { .. } => reply::CANNOT_STORE,
    }
}

/// Replies to a line that is no command.
pub(crate) fn refuse(control: &mut Control, bad: &BadCommand) {
    let reply = match bad {
        BadCommand::UnknownVerb => reply::UNKNOWN,
        BadCommand::TooLong => reply::LINE_TOO_LONG,
        BadCommand::UnknownSite => reply::UNKNOWN_SITE,
        BadCommand::NotImplemented => reply::NOT_IMPLEMENTED,
        BadCommand::Usage(usage) => Reply::new(501, format!("Syntax: {usage}")),
        BadCommand::UnknownOption => reply::UNKNOWN_OPTION,
        BadCommand::NotUtf8 => reply::NOT_UTF8,
        BadCommand::UnknownType => reply::BAD_TYPE,
        BadCommand::UnknownMode => reply::BAD_MODE,
        BadCommand::UnknownStructure => reply::BAD_STRUCTURE,
        BadCommand::IllegalPort => reply::ILLEGAL_PORT,
        BadCommand::IllegalEprt => reply::ILLEGAL_EPRT,
        BadCommand::UnknownProtocol => parameters::unknown_protocol(control),
    };
    control.reply(&reply);
}

impl Control {
    /// The login; commands that need one are dispatched only with it.
    fn user_mut(&mut self) -> Option<&mut User> {
        match &mut self.session {
            Session::User(user) => Some(user),
            _ => None,
        }
    }

    /// Resolves an argument against the current directory, or replies why it is no path.
    fn resolve(&mut self, argument: &str) -> Option<VirtualPath> {
        let directory = self
            .user_mut()
            .map(|user| user.directory.clone())
            .unwrap_or_default();
        match directory.join(argument) {
            Ok(path) => Some(path),
            Err(BadPath::Nul | BadPath::TooLong) => {
                self.reply(&reply::BAD_NAME);
                None
            }
        }
    }

    /// Whether files may be changed; replies if not.
    fn may_write(&mut self) -> bool {
        if !self.options.write_enable {
            self.reply(&reply::WRITE_DISABLED);
        }
        self.options.write_enable
    }

    /// Asks for something that is either done or not.
    fn ask_simple(&mut self, request: Request, done: Reply, failed: Reply) {
        self.ask(request, Pending::Simple { done, failed });
    }

    /// Refuses on grounds that need no answer from outside.
    fn fail(&mut self, pending: Pending, failure: &Failure) {
        self.reply(&failed(pending).because(failure));
    }
}
