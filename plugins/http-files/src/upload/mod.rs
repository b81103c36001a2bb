//! Uploads: whole or not at all, by accounts with the right.

mod form;
mod origin;
mod post;
mod put;
mod sink;

use polyport_sdk::accounts::Action;
use polyport_sdk::files::{Jail, Replace};
use polyport_sdk::http::{Caller, Problem};
use polyport_sdk::metrics::Number;

/// Where uploads of one request go, and whose they are.
#[derive(Clone, Copy, Debug)]
pub struct Receiver<'a> {
    /// The root.
    pub jail: &'a Jail,
    /// Who sends.
    pub caller: &'a Caller,
    /// Whether names that begin with a dot are taken.
    pub hidden: bool,
    /// Counts the files that are complete.
    pub received: Number,
}

impl Receiver<'_> {
    /// Refuses who may upload nothing here, before anything is looked at or sent.
    ///
    /// # Errors
    /// 401 or 403.
    fn admit(&self, target: &str) -> Result<(), Problem> {
        let may = |action| self.caller.allows(action, target);
        if may(Action::Create) || may(Action::Write) {
            Ok(())
        } else {
            Err(self.caller.refusal())
        }
    }
}

/// What an upload to a name may do there, by the caller's rights.
///
/// # Errors
/// 401 or 403 where it may do nothing; 404 where it may only replace and nothing is there.
fn replacing(caller: &Caller, target: &str, exists: bool) -> Result<Replace, Problem> {
    match (
        caller.allows(Action::Create, target),
        caller.allows(Action::Write, target),
    ) {
        (true, true) => Ok(Replace::Allowed),
        (true, false) if exists => Err(caller.refusal()),
        (true, false) => Ok(Replace::Forbidden),
        (false, true) if exists => Ok(Replace::Allowed),
        (false, _) => Err(caller.refusal()),
    }
}
