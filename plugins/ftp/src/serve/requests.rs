//! Carries out what the engine asks for: logins, files, the beginning of transfers.

use std::io;
use std::sync::Arc;

use polyport_ftp_core::{
    Answer, Denial, Endpoint, Failure, Protection, Request, Stopped, VirtualPath, is_anonymous,
};
use polyport_sdk::accounts::{Account, Denied, Login as AccountLogin};
use polyport_sdk::net::Peer;
use tokio::net::TcpListener;
use tracing::{debug, info};

use super::transfer::{Job, Running};
use super::{DATA, Login, Session, Wait, blocking, data};
use crate::files::Files;
use crate::folders::Place;

impl Session {
    /// Carries out a request; none for those without an answer.
    pub(super) async fn carry_out(&mut self, request: Request) -> Option<Answer> {
        let answer = match request {
            Request::Login { user, password } => {
                logged_in(self.log_in(&user, Some(&password)).await)
            }
            Request::Identify { user } => logged_in(self.log_in(&user, None).await),
            Request::Logout => {
                self.login = None;
                self.listener = None;
                return None;
            }
            Request::Abort => {
                if let Some(transfer) = &self.transfer {
                    transfer.abort();
                }
                return None;
            }
            request => {
                let done = self.carry_out_as_user(request).await;
                done.unwrap_or_else(Answer::Failed)
            }
        };
        Some(answer)
    }

    async fn carry_out_as_user(&mut self, request: Request) -> Result<Answer, Failure> {
        let Some(login) = &self.login else {
            return Err(Failure::Forbidden);
        };
        let files = login.files.clone();
        if !files.account().is_current() {
            self.revoke();
            return Err(Failure::Forbidden);
        }
        Ok(match request {
            Request::Listen(_) => {
                self.listener = None;
                let listener = self
                    .listen()
                    .map_err(|error| Failure::Other(error.to_string()))?;
                let address = listener
                    .local_addr()
                    .map_err(|error| Failure::Other(error.to_string()))?;
                self.listener = Some(listener);
                Answer::Listening(address)
            }
            Request::Enter(path) => done(move || files.enter(&path)).await?,
            Request::Facts(path) => {
                Answer::Entry(Box::new(blocking(move || files.facts(&path)).await?))
            }
            Request::Show(listing) => Answer::Listing(blocking(move || files.show(listing)).await?),
            Request::MakeDirectory(path) => done(move || files.make_directory(&path)).await?,
            Request::RemoveDirectory(path) => done(move || files.remove_directory(&path)).await?,
            Request::Delete(path) => done(move || files.delete(&path)).await?,
            Request::Rename { from, to } => done(move || files.rename(&from, &to)).await?,
            Request::SetModified { path, time } => {
                done(move || files.set_modified(&path, time)).await?
            }
            Request::List {
                listing,
                endpoint,
                protection,
            } => {
                let what = format!("listing {}", shown(&listing.path));
                let lines = blocking(move || files.list(listing)).await?;
                self.begin(what, endpoint, protection, Job::Lines(Box::new(lines)))
            }
            Request::Retrieve {
                path,
                offset,
                representation,
                endpoint,
                protection,
            } => {
                let what = format!("download {}", shown(&path));
                let (source, opened) =
                    blocking(move || files.retrieve(&path, offset, representation)).await?;
                self.begin(what, endpoint, protection, Job::Download(source));
                Answer::Opened(opened)
            }
            Request::Store {
                path,
                placement,
                representation,
                endpoint,
                protection,
            } => {
                let what = format!("upload {}", shown(&path));
                let ascii = files.ascii;
                let (sink, opened) =
                    blocking(move || files.store(&path, placement, representation)).await?;
                let representation = opened.representation;
                self.begin(
                    what,
                    endpoint,
                    protection,
                    Job::Upload {
                        sink,
                        representation,
                        ascii,
                        strict_end: self.service.config.strict_ssl_read_eof,
                    },
                );
                Answer::Opened(opened)
            }
            // answered before
            Request::Login { .. }
            | Request::Identify { .. }
            | Request::Secure
            | Request::Logout
            | Request::Abort => Answer::Done,
        })
    }

    /// Without a password it is the certificate that has to be of the account.
    async fn log_in(&mut self, user: &str, password: Option<&[u8]>) -> Result<VirtualPath, Denial> {
        let config = &self.service.config;
        let accounts = self.service.context.accounts();
        let anonymous = if is_anonymous(user) && config.anonymous_enable {
            accounts.identify(&self.origin.clone().without_certificate(), None)
        } else {
            None
        };
        let (account, is_anonymous) = match anonymous {
            Some(account) => (account, true),
            None => {
                let account = match password {
                    Some(password) => {
                        let login = AccountLogin::with_password(user, password);
                        accounts.login(&self.origin, login).await.map_err(denial)
                    }
                    // no failed login if it is of another account: a password may follow
                    None => accounts
                        .identify(&self.origin, None)
                        .filter(|account| account.name() == user)
                        .ok_or(Denial::Credentials),
                };
                // asked nevertheless, so that the answer takes as long as for others
                let account = account.and_then(|account| {
                    if config.denies(user) {
                        Err(Denial::Credentials)
                    } else {
                        Ok(account)
                    }
                });
                let account = account.inspect_err(|why| {
                    info!("{}: login as {user:?} refused: {why:?}", self.peer)
                })?;
                (account, false)
            }
        };
        let name = account.name().to_owned();
        let start = self.admit(account, is_anonymous).await?;
        info!("{}: {name} logged in", self.peer);
        Ok(start)
    }

    /// Opens what an account sees.
    pub(super) async fn admit(
        &mut self,
        account: Account,
        anonymous: bool,
    ) -> Result<VirtualPath, Denial> {
        let (service, found) = (Arc::clone(&self.service), account.clone());
        let place = blocking(move || match anonymous {
            true => service.folders.anonymous(&found),
            false => service.folders.of(&found),
        });
        let Place { view, start, root } = place.await?;
        let revoked: Wait = Box::pin(async move { account.revoked().await });
        let files = Files {
            view,
            ascii: self.service.config.ascii,
        };
        self.login = Some(Login {
            files,
            anonymous,
            root,
            revoked: Some(revoked),
        });
        Ok(start)
    }

    fn listen(&self) -> io::Result<TcpListener> {
        match self.local {
            Peer::Ip(local) => data::listen(local.ip(), self.service.config.passive_ports()),
            Peer::Unix => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Starts a transfer beside the control connection.
    fn begin(
        &mut self,
        what: String,
        endpoint: Endpoint,
        protection: Protection,
        job: Job,
    ) -> Answer {
        debug!("{}: {what} begins", self.peer);
        let limit = self.service.config.accept_timeout();
        let listener = self.listener.take();
        let (peer, local) = (self.peer, self.local);
        let context = self.service.context.clone();
        let guard = self.data_guard();
        let pacer = self.stream.pacer().sibling();
        pacer.pace_for(self.login.as_ref().map(|login| login.files.account()));
        let connect = async move {
            let wait = async {
                match (endpoint, listener, peer.ip(), local.ip()) {
                    (Endpoint::Passive, Some(listener), Some(peer), _) => {
                        data::accept(listener, peer).await
                    }
                    (Endpoint::Active(address), _, _, Some(local)) => {
                        data::connect(local, address).await
                    }
                    _ => Err(io::ErrorKind::NotConnected.into()),
                }
            };
            let stream = match tokio::time::timeout(limit, wait).await {
                Ok(Ok(stream)) => context.stream(stream, DATA).with_pacer(pacer),
                Ok(Err(error)) => return Err(Stopped::NoConnection(error.to_string())),
                Err(_) => {
                    let limit = limit.as_secs();
                    let why = format!("none within {limit} seconds");
                    return Err(Stopped::NoConnection(why));
                }
            };
            match (protection, guard) {
                (Protection::Clear, _) => Ok(stream),
                (Protection::Private, Some(guard)) => guard.accept(stream).await,
                (Protection::Private, None) => {
                    Err(Stopped::NoTls("the service has no certificate".into()))
                }
            }
        };
        let opened = job.opened();
        self.transfer = Some(Running::start(what, job, connect));
        opened
    }
}

async fn done(
    call: impl FnOnce() -> Result<(), Failure> + Send + 'static,
) -> Result<Answer, Failure> {
    blocking(call).await.map(|()| Answer::Done)
}

fn logged_in(done: Result<VirtualPath, Denial>) -> Answer {
    match done {
        Ok(start) => Answer::LoggedIn(start),
        Err(denial) => Answer::Denied(denial),
    }
}

fn denial(denied: Denied) -> Denial {
    match denied {
        Denied::Refused => Denial::Credentials,
        Denied::Busy => Denial::Busy,
        Denied::NotHere => Denial::NotHere,
        Denied::TooManySessions => Denial::TooManySessions,
        Denied::NeedsTls => Denial::NeedsTls,
    }
}

/// A path for the log: nothing in it can act on a terminal.
fn shown(path: &VirtualPath) -> impl std::fmt::Display {
    path.as_str().escape_debug()
}
