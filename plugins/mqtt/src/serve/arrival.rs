//! Connections on their way: from a listener or the instance before to the engine, and to the next instance.

use std::sync::Arc;

use polyport_mqtt_core::{ConnectionId, LoginRefusal};
use polyport_sdk::accounts::Account;
use polyport_sdk::handover::{Crossing, Luggage};
use polyport_sdk::limits::Limits;
use polyport_sdk::net::{Origin, Stream};
use polyport_sdk::{Connection, Context, Error};

use super::Attached;
use super::link::{Beginning, Link, Login, Remains, Transport};
use crate::engine::{Client, Engine, Standing};
use crate::luggage::{self, Passed};
use crate::outbound::Outbound;
use crate::{config, login};

/// What a listener is called in commands and limits: its scheme and address; empty if it is gone.
pub(crate) fn listener_name(context: &Context, listener: u32) -> String {
    let known = context.listener(listener);
    known.map_or_else(String::new, |(scheme, address)| {
        format!("{scheme}://{address}")
    })
}

/// A connection that no engine has taken yet.
pub(super) struct Arrival {
    stream: Stream,
    origin: Origin,
    listener: u32,
    /// The way to the next instance, until that was tried.
    crossing: Option<Crossing>,
    passed: Passed,
    unread: Vec<u8>,
    unsent: Vec<u8>,
    account: Option<Account>,
}

impl Arrival {
    pub(super) fn new(connection: Connection) -> Result<Arrival, Error> {
        let listener = connection.listener();
        let Connection {
            stream,
            origin,
            inherited,
            crossing,
            ..
        } = connection;
        let mut arrival = Arrival {
            stream,
            origin,
            listener,
            crossing: Some(crossing),
            passed: Passed::Fresh,
            unread: Vec::new(),
            unsent: Vec::new(),
            account: None,
        };
        if let Some(inherited) = inherited {
            let passed = Passed::decode(&inherited.state);
            arrival.passed =
                passed.map_err(|error| Error::Operator(format!("hand-over: {error}")))?;
            arrival.unread = inherited.unread;
            arrival.unsent = inherited.unsent;
            arrival.account = inherited.account;
        }
        Ok(arrival)
    }

    /// To the next instance, as it came; back if that does not take it.
    pub(super) fn pass_on(mut self) -> Result<(), Box<Arrival>> {
        let Some(crossing) = self.crossing.take() else {
            return Err(Box::new(self));
        };
        let luggage = Luggage {
            unread: &self.unread,
            unsent: &self.unsent,
            state: &self.passed.encode(),
            account: self.account.as_ref(),
        };
        match self.stream.go(crossing, &self.origin, luggage) {
            Ok(()) => Ok(()),
            Err(refused) => {
                self.stream = refused.stream;
                Err(Box::new(self))
            }
        }
    }

    /// The engine takes it; none if it has to be looked at again where the engine stands.
    pub(super) fn join(
        &self,
        engine: &Engine,
        context: &Context,
        outbound: &Arc<Outbound>,
        limits: &Limits,
    ) -> Result<Option<ConnectionId>, Error> {
        let client = Client {
            peer: self.origin.peer().into(),
            listener: self.listener,
            crosses: self.crossing.is_some(),
            core: polyport_sdk::cores::current(),
        };
        let listener = listener_name(context, self.listener);
        let Passed::Open { number, login } = &self.passed else {
            let limits = config::connection_limits(limits);
            return Ok(engine.open(outbound, client, &listener, limits));
        };
        let lost = || Error::Peer("a connection that was passed is not known any more".into());
        if engine.standing() == Standing::Retired && self.crossing.is_none() {
            return Err(lost());
        }
        let begun = !matches!(login, Some(luggage::Login::Accepted));
        let account = self.account.clone().filter(|_| begun);
        let rights = account.map(login::rights);
        let unsent = self.unsent.len();
        match engine.attach(*number, rights, outbound, client, &listener, unsent) {
            Some(id) => id.map(Some).ok_or_else(lost),
            None => Ok(None),
        }
    }

    /// It begins to work.
    pub(super) fn link(
        self,
        context: &Context,
        engines: (Attached, Arc<Outbound>),
    ) -> Link<Stream> {
        let mut account = self.account;
        let login = match self.passed {
            Passed::Open {
                login: Some(login), ..
            } => Some(match login {
                luggage::Login::Asked(request) => Login::Again(request),
                luggage::Login::Accepted => {
                    Login::Answered(account.take().ok_or(LoginRefusal::NotAuthorized))
                }
                luggage::Login::Refused(refusal) => Login::Answered(Err(refusal)),
            }),
            _ => None,
        };
        let beginning = Beginning {
            unread: self.unread,
            unsent: self.unsent,
            login,
            account,
            begun: true,
        };
        let client = (self.stream, self.origin);
        Link::new(context, client, engines, self.crossing, beginning)
    }
}

impl<S: Transport> Link<S> {
    /// To the next instance; back, and told to end, if that does not take it.
    pub(super) fn cross(mut self) -> Result<(), Box<Link<S>>> {
        let Some(crossing) = self.crossing.take() else {
            return Err(Box::new(self));
        };
        let Some(number) = self.attached.engine.connection_number(self.attached.id) else {
            return Err(Box::new(self));
        };
        if !crossing.leads_on() {
            self.attached.engine.dismiss(self.attached.id);
            return Err(Box::new(self));
        }
        let Remains {
            unread,
            unsent,
            login,
            account,
        } = self.remains();
        let luggage = Luggage {
            unread: &unread,
            unsent: &unsent,
            state: &Passed::Open { number, login }.encode(),
            account: account.as_ref(),
        };
        match self.stream.go(crossing, &self.origin, luggage) {
            Ok(()) => Ok(()),
            Err(refused) => {
                self.stream = refused.stream;
                self.put_back(unsent);
                self.attached.engine.dismiss(self.attached.id);
                Err(Box::new(self))
            }
        }
    }
}
