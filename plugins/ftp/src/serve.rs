//! Runs a control connection: feeds the engine, carries out its requests, moves data.
//!
//! This file and its parts are the only ones with sockets.

mod data;
mod handover;
mod requests;
mod tls;
mod transfer;

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_ftp_core::{Control, Options, Request};
use polyport_sdk::handover::Crossing;
use polyport_sdk::limits::{Current, Limits};
use polyport_sdk::live::Reader;
use polyport_sdk::metrics::Number;
use polyport_sdk::net::{Origin, Peer, Stream};
use polyport_sdk::{Connection, Context, Error};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tracing::info;

use crate::config::Config;
use crate::files::Files;
use crate::folders::Folders;
pub(crate) use handover::HANDOVER;
use transfer::Running;

/// Bytes read from a control connection at a time.
const INPUT: usize = 4096;

/// The scheme of data connections.
pub(crate) const DATA: &str = "data";

/// Reads in a row for which a flood on one control connection can hold up its transfer's end.
const MAX_READS: usize = 64;

/// What all connections of an instance share.
pub(crate) struct Service {
    config: Config,
    context: Context,
    folders: Arc<Folders>,
    uploads: Number,
    downloads: Number,
}

impl Service {
    /// Opens the folders.
    pub(crate) async fn open(config: Config, context: Context) -> Result<Self, Error> {
        let folders = Arc::new(Folders::open(config.clone(), context.clone()).await?);
        Ok(Self {
            uploads: context.metrics().counter("uploads"),
            downloads: context.metrics().counter("downloads"),
            config,
            context,
            folders,
        })
    }

    /// The same with other settings.
    pub(crate) fn with(&self, config: Config) -> Self {
        Self {
            folders: Arc::new(self.folders.with(config.clone())),
            config,
            context: self.context.clone(),
            uploads: self.uploads,
            downloads: self.downloads,
        }
    }

    fn options(&self, stream: &Stream, origin: &Origin, local: Peer, limits: Limits) -> Options {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let config = &self.config;
        Options {
            banner: config.banner(),
            peer: origin.peer().ip(),
            local: local.ip(),
            pasv_enable: config.pasv_enable,
            port_enable: config.port_enable,
            pasv_address: config.pasv_address(),
            write_enable: config.write_enable,
            login_timeout: limits.login_timeout,
            max_line: limits.max_line,
            idle_timeout: limits.idle_timeout,
            data_timeout: seconds(config.data_timeout),
            max_login_failures: config.max_login_failures,
            anonymous_enable: config.anonymous_enable,
            tls: self.tls_policy(stream, origin),
            secured: tls::secured(stream, origin),
        }
    }
}

/// Serves one control connection to its end.
pub(crate) async fn control_connection(
    mut service: Reader<Service>,
    mut connection: Connection,
) -> Result<(), Error> {
    // a client marks ABOR as urgent; out of line, its last byte would be lost
    if let Some(stream) = connection.stream.as_tcp() {
        rustix::net::sockopt::set_socket_oobinline(stream, true).map_err(io::Error::from)?;
        rustix::net::sockopt::set_socket_keepalive(stream, true).map_err(io::Error::from)?;
    }
    let now = Arc::clone(service.get());
    let options = now.options(
        &connection.stream,
        &connection.origin,
        connection.local,
        connection.limits(),
    );
    let inherited = connection.inherited.take();
    let draining: Wait = Box::pin(connection.draining());
    let mut session = Session {
        service: now,
        changes: service,
        limits: connection.current_limits(),
        control: Control::new(options.clone(), Instant::now()),
        stream: connection.stream,
        crossing: connection.crossing,
        peer: connection.origin.peer(),
        origin: connection.origin,
        local: connection.local,
        input: vec![0; INPUT],
        end_of_input: false,
        draining: Some(draining),
        leaving: None,
        login: None,
        listener: None,
        transfer: None,
        family: tls::Family::default(),
    };
    if let Some(inherited) = inherited {
        // it was greeted long ago
        session.control.poll_transmit();
        session.take_over(options, *inherited).await;
    }
    session.run().await
}

type Wait = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What a login gives.
struct Login {
    files: Files,
    /// Whether it is one without an account.
    anonymous: bool,
    /// The folder on the disk that is the root of `files`, if it is one.
    root: Option<PathBuf>,
    revoked: Option<Wait>,
}

struct Session {
    service: Arc<Service>,
    /// Where others come from when the settings change.
    changes: Reader<Service>,
    limits: Current,
    control: Control,
    stream: Stream,
    crossing: Crossing,
    peer: Peer,
    origin: Origin,
    local: Peer,
    input: Vec<u8>,
    end_of_input: bool,
    /// Gone once it has been told.
    draining: Option<Wait>,
    /// Since when it is to go over to the instance that takes this one's place, as soon as it can.
    leaving: Option<Instant>,
    login: Option<Login>,
    /// What PASV or EPSV opened.
    listener: Option<TcpListener>,
    transfer: Option<Running>,
    /// TLS sessions of its data connections.
    family: tls::Family,
}

impl Session {
    async fn run(mut self) -> Result<(), Error> {
        loop {
            self.flush().await?;
            if let Some(request) = self.control.poll_request() {
                if request == Request::Secure {
                    self = self.secure().await?;
                } else if let Some(answer) = self.carry_out(request).await {
                    self.control.handle_answer(Instant::now(), answer);
                }
                continue;
            }
            if self.control.is_closed() {
                // so that the last reply arrives even if the client is still sending
                let _ = self.stream.shutdown().await;
                return Ok(());
            }
            if self.leaving.is_some() && self.transfer.is_none() {
                match self.leave() {
                    Some(session) => self = session,
                    None => return Ok(()),
                }
                if self.leaving.is_none() {
                    continue;
                }
            }
            self.wait().await;
        }
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if let Some(output) = self.control.poll_transmit() {
            let limit = Duration::from_secs(self.service.config.data_timeout.into());
            match tokio::time::timeout(limit, self.stream.write_all(&output)).await {
                Ok(Ok(())) => {}
                // it is gone, but what it sent before is still carried out
                Ok(Err(_)) if self.end_of_input => {}
                Ok(Err(error)) => return Err(Error::Peer(format!("control connection: {error}"))),
                Err(_) => return Err(Error::Peer("the client does not read its replies".into())),
            }
        }
        Ok(())
    }

    /// Waits for the next thing to happen and hands it to the engine.
    async fn wait(&mut self) {
        let deadline = self.control.poll_deadline();
        let leaves_by = self.leaves_by();
        let revoked = self.login.as_mut().and_then(|login| login.revoked.as_mut());
        tokio::select! {
            read = read(&self.stream, &mut self.input), if !self.end_of_input => {
                // a client that goes away without reading its replies breaks the connection
                self.received(read.unwrap_or(0));
            }
            ended = or_never(self.transfer.as_mut().map(Running::ended)) => {
                self.transfer_ended(ended).await;
            }
            () = until(deadline) => {
                let now = Instant::now();
                if let Some(transfer) = &self.transfer {
                    self.control.handle_progress(now, transfer.octets());
                }
                self.control.handle_deadline(now);
            }
            () = or_never(self.draining.as_mut()) => {
                self.draining = None;
                self.drain();
            }
            () = until(leaves_by) => {
                self.leaving = None;
                self.control.handle_drain();
            }
            () = or_never(revoked) => {
                self.revoke();
            }
        }
    }

    /// Settings that changed hold from the next command on.
    fn take_changes(&mut self) {
        let Some(service) = self.changes.changed() else {
            return;
        };
        self.service = Arc::clone(service);
        let options =
            self.service
                .options(&self.stream, &self.origin, self.local, self.limits.get());
        self.control.set_options(options);
        if let Some(login) = &mut self.login {
            login.files = Files {
                view: self.service.folders.again(&login.files.view),
                ascii: self.service.config.ascii,
            };
        }
    }

    fn received(&mut self, read: usize) {
        self.take_changes();
        if read == 0 {
            self.end_of_input = true;
            self.control.handle_end_of_input();
        } else {
            let now = Instant::now();
            // STAT tells how far the transfer is
            if let Some(transfer) = &self.transfer {
                self.control.handle_progress(now, transfer.octets());
            }
            self.control.handle_bytes(now, &self.input[..read]);
        }
    }

    fn revoke(&mut self) {
        if let Some(login) = &mut self.login {
            info!(
                "{}: {} was changed or removed, session closed",
                self.peer,
                login.files.account().name()
            );
            login.revoked = None;
        }
        self.control.handle_revoked();
    }

    async fn transfer_ended(&mut self, ended: transfer::Ended) {
        let Some(transfer) = self.transfer.take() else {
            return;
        };
        // what the client did meanwhile decides whether an upload is whole
        if let transfer::Ended::Uploaded { .. } = ended {
            self.read_what_has_arrived();
        }
        let keep_parts = !self.service.config.delete_failed_uploads;
        let result = ended.settle(self.control.is_attended(), keep_parts).await;
        let user = self.control.user().unwrap_or_default();
        match &result {
            Ok(()) => info!(
                "{} {user}: {}, {} bytes",
                self.peer,
                transfer.what(),
                transfer.octets()
            ),
            Err(why) => info!(
                "{} {user}: {} broke off after {} bytes: {why:?}",
                self.peer,
                transfer.what(),
                transfer.octets()
            ),
        }
        if result.is_ok() {
            match transfer.is_upload() {
                true => self.service.uploads.add(1),
                false => self.service.downloads.add(1),
            }
        }
        let now = Instant::now();
        self.control.handle_progress(now, transfer.octets());
        self.control.handle_transfer_end(now, result);
        // what was sent meanwhile may begin the next one
        self.leaving = self.leaving.map(|_| now);
    }

    /// Reads from the control connection without waiting, not even for the runtime to notice.
    fn read_what_has_arrived(&mut self) {
        for _ in 0..MAX_READS {
            if self.end_of_input {
                return;
            }
            match self.stream.receive_now(&mut self.input) {
                Ok(read) => self.received(read),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.received(0),
            }
        }
    }
}

/// Runs a call that may wait for a disk.
pub(crate) async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // the runtime is going down and drops this future as well
            Err(_) => std::future::pending().await,
        },
    }
}

/// Reads what has arrived. A read ends at an urgent byte though more is there, which
/// [`tokio::io::AsyncReadExt::read`] would take for all and wait.
async fn read(stream: &Stream, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        stream.readable().await?;
        match stream.try_read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

async fn or_never<T>(future: Option<impl Future<Output = T>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
