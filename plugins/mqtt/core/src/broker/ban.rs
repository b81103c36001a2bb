//! Bans: a client that is banned is answered 0x8A (3.x: 5) to its CONNECT before it is asked who it is; an account
//! that is, once it is known.

use super::{Broker, Phase};
use crate::bans::{Ban, Kind};
use crate::codec::ReasonCode;
use crate::store::Record;
use crate::time::Time;

/// Why a connection is closed.
const BANNED: &str = "banned by the operator";

impl Broker {
    /// Lets nobody of this name in from now on. A client is closed at once (DISCONNECT 0x8A; its will is published,
    /// its session stays); whether it was connected. Of an account they are closed by [`Broker::close_banned`].
    pub fn ban(&mut self, kind: Kind, name: &str, ban: Ban, now: Time) -> bool {
        self.now = now;
        if self.settings.persistence {
            let ban = &ban;
            self.journal.require(&Record::Banned { kind, name, ban });
        }
        if let Some(until) = ban.until {
            self.timers.ban(until);
        }
        self.bans.insert(kind, name, ban);
        let session = self.clients.get(name).filter(|_| kind == Kind::Client);
        let session = session.and_then(|key| self.sessions.get(*key));
        match session.and_then(|session| session.connection) {
            Some(id) => {
                self.close(id, ReasonCode::Banned, BANNED);
                true
            }
            None => false,
        }
    }

    /// Closes the connections of an account among so many places from one on: how many, and the place to go on from.
    pub fn close_banned(
        &mut self,
        account: &str,
        from: u32,
        places: u32,
        now: Time,
    ) -> (usize, Option<u32>) {
        self.now = now;
        let (connections, next) = self.connections.page(from, places);
        let of_account = connections.filter(|(_, connection)| {
            matches!(connection.phase, Phase::Connected(_))
                && !connection.local
                && connection.authorizer.account() == Some(account)
        });
        let of_account: Vec<_> = of_account.map(|(id, _)| id).collect();
        for id in &of_account {
            self.close(*id, ReasonCode::Banned, BANNED);
        }
        (of_account.len(), next)
    }

    /// Lets somebody in again; whether there was a ban.
    pub fn unban(&mut self, kind: Kind, name: &str, now: Time) -> bool {
        self.now = now;
        self.bans.forget(now);
        let lifted = self.bans.remove(kind, name);
        if lifted && self.settings.persistence {
            self.journal.require(&Record::Unbanned { kind, name });
        }
        lifted
    }

    /// The bans behind one, or all.
    pub fn bans(
        &self,
        last: Option<(Kind, &str)>,
        now: Time,
    ) -> impl Iterator<Item = (Kind, &str, &Ban)> {
        let bans = self.bans.behind(last);
        bans.filter(move |(_, _, ban)| !ban.is_over(now))
    }

    pub(super) fn is_banned(&self, kind: Kind, name: &str) -> bool {
        self.bans.holds(kind, name, self.now)
    }

    /// Takes over what a store kept or another broker left.
    pub(super) fn restore_ban(&mut self, kind: Kind, name: &str, ban: Ban) {
        if ban.is_over(self.now) {
            return;
        }
        if let Some(until) = ban.until {
            self.timers.ban(until);
        }
        self.bans.insert(kind, name, ban);
    }

    pub(super) fn ban_due(&mut self) {
        self.bans.forget(self.now);
    }
}
