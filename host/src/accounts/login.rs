//! Who is let in: passwords, tokens, certificates, and clients that give nothing.
//!
//! Nobody learns from an answer, nor from its time, whether an account exists before he has given its
//! password, a token of it or its certificate.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::account::Account;
use super::list::AccountList;
use super::rights::{self, Cause, Decision};
use super::scram::{self, Proof};
use super::session::{Caller, Client, Entrance, Session};
use super::token::Token;
use super::verify::{self, Source};
use super::{Accounts, Parsed};

/// Who wants to know how a login went.
pub type Done = Box<dyn FnOnce(Result<Session, Denied>) + Send>;

/// Why a login failed, as far as the client may know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Unknown user, wrong password, disabled: all the same.
    Refused,
    /// Too many logins are waiting to be checked; try again later.
    Busy,
    /// The password was right, but the account is not for this service, network or time.
    NotHere,
    /// The account has as many sessions as it may have.
    TooManySessions,
    /// Passwords are only taken over a secure connection.
    NeedsTls,
}

/// A password to be checked.
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Vec<u8>,
    pub(super) caller: Caller,
}

/// Why a client may not use an account here, and what it is told.
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) denied: Denied,
}

impl Refusal {
    /// Of a login that proved nothing.
    pub(super) fn of_login(reason: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            denied: Denied::Refused,
        }
    }
}

impl Accounts {
    /// What a client gets that gives neither name nor password: the account of its certificate, or
    /// else the anonymous one.
    pub fn identify(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
    ) -> Option<Session> {
        let list = self.list();
        let begin = |account: &Arc<Account>| {
            if refusal(account, entrance.service(), client.address).is_some() {
                return Err(Denied::NotHere);
            }
            Session::begin(self, account, None, entrance, client, false)
        };
        if let Some(account) = list.by_certificate(client.certificate) {
            match begin(account) {
                Ok(session) => return Some(session),
                Err(Denied::TooManySessions) => return None,
                // Somebody who may not be himself here may be nobody, like everybody.
                Err(_) => {}
            }
        }
        begin(list.anonymous()?).ok()
    }

    /// Checks a login and answers by calling `done`: from the pool's thread if a password has to be
    /// computed, else at once. Never blocks the caller.
    ///
    /// A password without a user has to be a token; a user without a password has to have a
    /// certificate of his account; without both it is [`Accounts::identify`].
    pub fn log_in(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
        user: Option<&str>,
        password: Option<&[u8]>,
        done: Done,
    ) {
        let Some(password) = password else {
            return done(match user {
                None => self.identify(entrance, client).ok_or(Denied::Refused),
                Some(user) => self.by_certificate(entrance, client, user),
            });
        };
        if entrance.requires_tls() && !client.secure {
            return done(Err(Denied::NeedsTls));
        }
        let list = self.list();
        let token = list.token(password);
        if let Some(token) = token.filter(|token| user.is_none_or(|user| user == token.account)) {
            return done(self.by_token(&list, token, entrance, client));
        }
        let Some(user) = user else {
            let reason = "there is no such token";
            return done(Err(self.failed(None, entrance, client.address, reason)));
        };
        let login = Login {
            user: user.to_owned(),
            password: password.to_owned(),
            caller: Caller::new(entrance, client),
        };
        if let Some(account) = self.proven(&login) {
            return done(Session::begin(self, &account, None, entrance, client, true));
        }
        let now = Instant::now();
        if let Some(banned) = self.banned.refuses(user, client.address, now) {
            tracing::debug!(user, %banned, "login refused");
            return done(Err(Denied::Refused));
        }
        self.submit(
            client.address,
            Check::Password(login, Arc::clone(self), done),
        );
    }

    /// Has the pool do `check` for a client at `peer`, who is turned away if there is no room for it.
    pub(super) fn submit(&self, peer: Option<IpAddr>, check: Check) {
        if let Some(left) = self.pool.submit(Source::of(peer), check) {
            left.turn_away();
        }
    }

    /// A user without a password. What exists plays no part in the time this takes.
    fn by_certificate(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
        user: &str,
    ) -> Result<Session, Denied> {
        let list = self.list();
        let account = list.by_certificate(client.certificate);
        let Some(account) = account.filter(|account| account.name == user) else {
            let reason = "there is neither a password nor a certificate of this account";
            return Err(self.failed(Some(user), entrance, client.address, reason));
        };
        if let Some(Refusal { reason, denied }) =
            refusal(account, entrance.service(), client.address)
        {
            log_refused(Some(user), entrance, client.address, &reason);
            return Err(denied);
        }
        Session::begin(self, account, None, entrance, client, false)
    }

    /// Somebody who has a token. No ban keeps him out: tokens are not guessed.
    fn by_token(
        self: &Arc<Self>,
        list: &AccountList,
        token: &Arc<Token>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
    ) -> Result<Session, Denied> {
        let user = Some(token.account.as_str());
        let Some(account) = list
            .get(&token.account)
            .filter(|_| token.is_valid(SystemTime::now()))
        else {
            return Err(self.failed(user, entrance, client.address, "the token is expired"));
        };
        if let Some(Refusal { reason, denied }) =
            refusal(account, entrance.service(), client.address)
        {
            self.failed(user, entrance, client.address, &reason);
            return Err(denied);
        }
        Session::begin(
            self,
            account,
            Some(Arc::clone(token)),
            entrance,
            client,
            true,
        )
    }

    /// The account, if this very password was right before and nothing else speaks against it.
    pub(super) fn proven(&self, login: &Login) -> Option<Arc<Account>> {
        let list = self.list();
        let account = list.get(&login.user)?;
        let caller = &login.caller;
        let proven = account.is_proven(&self.key, &login.password)
            && refusal(account, caller.entrance.service(), caller.address).is_none();
        proven.then(|| Arc::clone(account))
    }

    /// The whole check of a password. A refusal takes the same time whatever its reason is.
    pub(super) fn check(self: &Arc<Self>, login: &Login) -> Result<Session, Denied> {
        let caller = &login.caller;
        if let Some(account) = self.proven(login) {
            return caller.begin(self, &account); // proven while this one was waiting
        }
        if self
            .banned
            .refuses(&login.user, caller.address, Instant::now())
            .is_some()
        {
            return Err(Denied::Refused); // banned while this one was waiting
        }
        let list: Parsed = self.list();
        let account = list.get(&login.user);
        let secret = account.and_then(|account| account.secret.as_ref());
        let right = secret.is_some_and(|secret| secret.matches(&login.password));
        let Refusal { reason, denied } = match account {
            None => Refusal::of_login("there is no such account"),
            Some(account) if account.secret.is_none() => {
                Refusal::of_login("the account has no password")
            }
            Some(_) if !right => Refusal::of_login("the password is wrong"),
            Some(account) => match refusal(account, caller.entrance.service(), caller.address) {
                Some(refusal) => refusal,
                None => {
                    account.prove(&self.key, &login.password);
                    self.banned.succeeded(&login.user);
                    return caller.begin(self, account);
                }
            },
        };
        list.dummy().spend_rest(secret, &login.password);
        self.failed(Some(&login.user), &caller.entrance, caller.address, &reason);
        Err(denied)
    }

    /// Logs and counts a login that failed.
    pub(super) fn failed(
        &self,
        user: Option<&str>,
        entrance: &Entrance,
        peer: Option<IpAddr>,
        reason: &str,
    ) -> Denied {
        log_refused(user, entrance, peer, reason);
        for banned in self.banned.failed(user, peer, Instant::now()) {
            tracing::warn!(%banned, "banned: too many failed logins");
        }
        Denied::Refused
    }
}

fn log_refused(user: Option<&str>, entrance: &Entrance, peer: Option<IpAddr>, reason: &str) {
    let peer = peer.map_or_else(
        || "unix".to_owned(),
        |address| address.to_canonical().to_string(),
    );
    let service = entrance.service();
    tracing::info!(user, service, peer, reason, "login refused");
}

/// Why a client at `peer` may not use `account` in `service`, if so.
pub(super) fn refusal(account: &Account, service: &str, peer: Option<IpAddr>) -> Option<Refusal> {
    let (reason, denied) = match rights::decide_service(account, service, SystemTime::now()) {
        Decision::Denied(cause @ Cause::Disabled) => (cause.to_string(), Denied::Refused),
        Decision::Denied(cause) => (cause.to_string(), Denied::NotHere),
        Decision::Allowed(_) if !account.admits(peer) => (
            "the account is not for this network".to_owned(),
            Denied::NotHere,
        ),
        Decision::Allowed(_) => return None,
    };
    Some(Refusal { reason, denied })
}

/// One job of the pool.
pub(super) enum Check {
    /// A password.
    Password(Login, Arc<Accounts>, Done),
    /// A proof that somebody knows one.
    Proof(Box<Proof>, Arc<Accounts>, scram::Done),
}

impl Check {
    /// There is no room for it.
    pub(super) fn turn_away(self) {
        match self {
            Self::Password(.., done) => done(Err(Denied::Busy)),
            Self::Proof(.., done) => done(Err(Denied::Busy)),
        }
    }
}

impl verify::Job for Check {
    fn run(self) {
        match self {
            Self::Password(login, accounts, done) => done(accounts.check(&login)),
            Self::Proof(proof, accounts, done) => done(accounts.check_proof(&proof)),
        }
    }
}
