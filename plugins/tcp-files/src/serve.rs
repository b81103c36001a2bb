//! Talks to one client. The only file with sockets.

use std::fs::File;
use std::io::{self, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use polyport_sdk::accounts::{Account, Login};
use polyport_sdk::files::{ClientPath, View};
use polyport_sdk::handover::{Crossing, Inherited, Luggage};
use polyport_sdk::net::{Origin, Stream};
use polyport_sdk::{Connection, Error, limits, live};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};
use tracing::info;

use crate::protocol::{BadRequest, Reader, Request};
use crate::reply::{self, Status};
use crate::{Current, TcpFiles, handover};

/// Bytes of a file read and sent at a time.
const BLOCK: usize = 1 << 20;
/// Bytes of the stream read at a time.
const INPUT: usize = 4096;

/// Serves one client to its end.
pub(crate) async fn client(plugin: Arc<TcpFiles>, connection: Connection) -> Result<(), Error> {
    let mut draining = std::pin::pin!(connection.draining());
    let limits = connection.limits();
    let mut client = Client {
        // Bounded by the same number as the key.
        reader: Reader::new(u32::try_from(limits.max_packet).unwrap_or(u32::MAX)),
        login_by: Instant::now() + limits.login_timeout,
        limits: connection.current_limits(),
        current: plugin.current.reader(),
        who: None,
        stream: connection.stream,
        crossing: connection.crossing,
        origin: connection.origin,
        login_failures: 0,
        plugin,
    };
    client
        .begin(connection.inherited, limits.login_timeout)
        .await?;
    client.keep_to_rates();
    let mut input = vec![0; INPUT];
    loop {
        if !client.answer_requests().await? {
            return Ok(());
        }
        let patience = client.patience();
        let account = client.who.as_ref().map(|who| who.account().clone());
        let read = tokio::select! {
            () = &mut draining => {
                client.leave();
                return Ok(());
            }
            () = revoked(account.as_ref()) => return Ok(()),
            read = timeout(patience, client.stream.read(&mut input)) => read,
        };
        match read {
            Ok(Ok(0)) if client.reader.is_within_a_request() => {
                return Err(Error::Peer("the client went away within a request".into()));
            }
            Ok(Ok(0)) | Err(_) => return Ok(()),
            Ok(Ok(read)) => {
                client.take_changes();
                client.reader.feed(&input[..read]);
            }
            Ok(Err(error)) => return Err(gone(error)),
        }
    }
}

struct Client {
    plugin: Arc<TcpFiles>,
    current: live::Reader<Current>,
    origin: Origin,
    stream: Stream,
    crossing: Crossing,
    reader: Reader,
    limits: limits::Current,
    /// When one without an account is sent away.
    login_by: Instant,
    who: Option<View>,
    login_failures: u32,
}

impl TcpFiles {
    async fn anonymous(&self, origin: &Origin) -> Option<View> {
        let account = self.context.accounts().identify(origin, None)?;
        self.view_of(account).await
    }

    async fn login(&self, origin: &Origin, user: &str, password: &str) -> Option<View> {
        let peer = origin.peer();
        let account = match self
            .context
            .accounts()
            .login(origin, Login::with_password(user, password.as_bytes()))
            .await
        {
            Ok(account) => account,
            Err(denied) => {
                info!("{peer}: login as {user:?}: {denied}");
                return None;
            }
        };
        info!("{peer}: {} logged in", account.name());
        self.view_of(account).await
    }

    /// What the account sees; none where its folder cannot be opened.
    async fn view_of(&self, account: Account) -> Option<View> {
        let view = self.current.get().tree.view(&account);
        let opened = view.clone();
        let found = tokio::task::spawn_blocking(move || opened.check()).await;
        matches!(found, Ok(Ok(()))).then_some(view)
    }
}

impl Client {
    /// Goes on where the instance before left it, if it had it.
    async fn begin(
        &mut self,
        inherited: Option<Box<Inherited>>,
        login_timeout: Duration,
    ) -> Result<(), Error> {
        if let Some(mut inherited) = inherited {
            (self.login_failures, self.login_by) = handover::read(&inherited, login_timeout)?;
            self.reader.feed(&inherited.unread);
            if let Some(account) = inherited.account.take() {
                self.who = self.plugin.view_of(account).await;
                return Ok(());
            }
        }
        self.who = self.plugin.anonymous(&self.origin).await;
        Ok(())
    }

    /// Passes the connection on, if somebody takes it. Otherwise it is closed: the protocol has no farewell.
    fn leave(self) {
        if let Ok(state) = handover::state(self.login_failures, self.login_by) {
            let luggage = Luggage {
                unread: self.reader.rest(),
                state: &state,
                account: self.who.as_ref().map(View::account),
                ..Luggage::default()
            };
            drop(self.crossing.pass(self.stream, &self.origin, luggage));
        }
    }

    /// Whoever it is now has rates of its own, or none.
    fn keep_to_rates(&self) {
        let account = self.who.as_ref().map(View::account);
        self.stream.pacer().pace_for(account);
    }

    /// Settings that changed hold from the next request on.
    fn take_changes(&mut self) {
        if let Some(current) = self.current.changed() {
            self.who = self.who.as_ref().map(|view| view.within(&current.tree));
        }
    }

    /// How long its next request may take.
    fn patience(&self) -> Duration {
        let idle = self.limits.get().idle_timeout;
        match self.who {
            Some(_) => idle,
            None => idle.min(self.login_by.saturating_duration_since(Instant::now())),
        }
    }

    /// Answers what has arrived; whether the connection goes on.
    async fn answer_requests(&mut self) -> Result<bool, Error> {
        loop {
            match self.reader.next() {
                Ok(None) => return Ok(true),
                Ok(Some(Request::Get { file, offset })) => self.get(&file, offset).await?,
                Ok(Some(Request::Auth { username, password })) => {
                    if !self.auth(&username, &password).await? {
                        return Ok(false);
                    }
                }
                Err(BadRequest::Unknown) => self.send(&reply::status(Status::BadRequest)).await?,
                Err(BadRequest::NotJson | BadRequest::TooLong) => {
                    self.send(&reply::status(Status::BadRequest)).await?;
                    return Ok(false);
                }
            }
        }
    }

    async fn auth(&mut self, user: &str, password: &str) -> Result<bool, Error> {
        let found = self.plugin.login(&self.origin, user, password).await;
        let status = if found.is_some() {
            Status::Passed
        } else {
            Status::WrongUserOrPassword
        };
        match found {
            Some(who) => {
                self.who = Some(who);
                self.keep_to_rates();
                self.login_failures = 0;
            }
            None => self.login_failures += 1,
        }
        // in one piece: clients read it with a single call
        self.send(&reply::status(status)).await?;
        Ok(self.login_failures < self.current.get().config.max_login_failures)
    }

    async fn get(&mut self, name: &str, offset: Option<u64>) -> Result<(), Error> {
        let (file, size) = match self.open(name).await {
            Ok(opened) => opened,
            Err(status) => return self.send(&reply::status_instead_of_file(status)).await,
        };
        let from = offset.unwrap_or(0);
        if from > size {
            return self
                .send(&reply::status_instead_of_file(Status::BeyondEnd))
                .await;
        }
        self.send(&reply::file_header(name, size, offset)).await?;
        let account = self.who.as_ref().map(|who| who.account().clone());
        tokio::select! {
            sent = self.send_file(file, from, size) => sent?,
            // the file ends short, which tells the client
            () = revoked(account.as_ref()) => {
                return Err(Error::Peer("its account was changed or removed".into()));
            }
        }
        info!("{}: {name:?}, {} bytes", self.origin.peer(), size - from);
        Ok(())
    }

    /// What may not be read looks as if it were not there.
    async fn open(&self, name: &str) -> Result<(File, u64), Status> {
        let view = self.who.as_ref().filter(|view| view.account().is_current());
        let view = view.ok_or(Status::WrongUserOrPassword)?.clone();
        let path = ClientPath::parse(name).map_err(|_| Status::NoSuchFile)?;
        let opened = tokio::task::spawn_blocking(move || view.open_file(&path)).await;
        match opened {
            Ok(Ok((file, metadata))) => Ok((file, metadata.len)),
            Ok(Err(_)) | Err(_) => Err(Status::NoSuchFile),
        }
    }

    async fn send_file(&mut self, file: File, from: u64, size: u64) -> Result<(), Error> {
        let mut file = tokio::fs::File::from_std(file);
        file.set_max_buf_size(BLOCK);
        file.seek(SeekFrom::Start(from)).await?;
        let mut left = size - from;
        let mut block = vec![0; BLOCK];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BLOCK);
            let read = file.read(&mut block[..wanted]).await?;
            // the header promised more: only a broken connection tells the client
            if read == 0 {
                return Err(Error::io("file")(io::ErrorKind::UnexpectedEof.into()));
            }
            self.send(&block[..read]).await?;
            left -= read as u64;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match timeout(self.limits.get().idle_timeout, self.stream.write(rest)).await {
                Ok(Ok(sent)) => rest = &rest[sent..],
                Ok(Err(error)) => return Err(gone(error)),
                Err(_) => return Err(Error::Peer("the client does not read its answer".into())),
            }
        }
        Ok(())
    }
}

/// Ends with the account; there is none to wait for where nobody is logged in.
async fn revoked(account: Option<&Account>) {
    match account {
        Some(account) => account.revoked().await,
        None => std::future::pending().await,
    }
}

fn gone(error: io::Error) -> Error {
    Error::Peer(format!("connection: {error}"))
}
