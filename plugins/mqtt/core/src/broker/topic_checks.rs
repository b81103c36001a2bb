//! Topics of a subscription that stands for some which may not be received: each is asked for, and
//! the answer kept. Rights do not change while a connection lasts: an account that changes ends it.

use std::cell::RefCell;
use std::collections::HashMap;

use super::connection::Connection;
use super::session::Session;
use crate::authorizer::Authorizer;
use crate::slab::Slab;

/// Answers kept; beyond that all are asked for anew.
const KEPT: usize = 1024;

/// Answers of one connection's authorizer.
#[derive(Debug, Default)]
pub(super) struct TopicChecks {
    known: RefCell<HashMap<Box<str>, bool, foldhash::fast::RandomState>>,
}

impl TopicChecks {
    pub(super) fn may_receive(&self, authorizer: &dyn Authorizer, topic: &str) -> bool {
        let mut known = self.known.borrow_mut();
        if let Some(&allowed) = known.get(topic) {
            return allowed;
        }
        if known.len() >= KEPT {
            known.clear();
        }
        let allowed = authorizer.may_receive(topic);
        known.insert(topic.into(), allowed);
        allowed
    }
}

/// Whether a session may receive what is published to `topic`. For one without a connection that is
/// found out when its client comes back.
pub(super) fn may_receive(session: &Session, connections: &Slab<Connection>, topic: &str) -> bool {
    session.topic_checks.is_none() || {
        let connection = session.connection.and_then(|id| connections.get(id));
        connection.is_none_or(|connection| may_receive_on(session, connection, topic))
    }
}

/// The same, on the session's connection. For one whose socket has not come yet that is found out when it comes.
pub(super) fn may_receive_on(session: &Session, connection: &Connection, topic: &str) -> bool {
    let checks = session
        .topic_checks
        .as_ref()
        .filter(|_| connection.is_here());
    checks.is_none_or(|checks| checks.may_receive(&*connection.authorizer, topic))
}
