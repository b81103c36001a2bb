//! A socket with TLS over it: bytes in clear on this side, records on the other.
//!
//! Owns the state of one TLS connection, and moves it by what the socket gives and takes without waiting, so
//! that polled and non-blocking callers share it. Knows no configuration and no time limits.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::{Numbered, TlsSession};
use crate::net::Plain;

/// Bytes read from the socket, or from a file, at once.
const BLOCK: usize = 64 * 1024;

/// The most of a file that one call encrypts, so that other tasks have their turn.
const TURN: usize = 4 * BLOCK;

thread_local! {
    /// A block that no connection holds: one with nothing half read needs none.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What the handshake of a connection came to.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) version: &'static str,
    pub(crate) alpn: Option<Arc<[u8]>>,
    pub(crate) certificate: Option<Arc<[u8]>>,
    pub(crate) session: TlsSession,
    /// The session that the client took up, if it took one up.
    pub(crate) resumed: Option<TlsSession>,
}

/// A TLS connection after its handshake.
#[derive(Debug)]
pub(crate) struct TlsSocket {
    plain: Plain,
    state: Mutex<State>,
    facts: Facts,
}

/// A TLS connection before the end of its handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    plain: Plain,
    state: State,
    /// Of a server.
    sessions: Option<Arc<Numbered>>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Records that were read and not yet taken, from `taken` on.
    records: Vec<u8>,
    taken: usize,
    /// Bytes in clear that nobody has read yet.
    clear: usize,
    /// Reading has an answer without the socket: the client's farewell, or what is wrong.
    ended: bool,
    /// Whoever waits to write, and has to be woken if another task makes room.
    writer: Option<Waker>,
    closing: bool,
}

impl Handshake {
    pub(crate) fn new(
        plain: Plain,
        config: &ServerConfig,
        held_to: Option<TlsSession>,
    ) -> Result<Self, rustls::Error> {
        let (sessions, config) = Numbered::new(held_to, config);
        let connection = ServerConnection::new(config)?;
        Ok(Self {
            plain,
            state: State::new(connection.into()),
            sessions: Some(sessions),
        })
    }

    /// With the server `name`.
    pub(super) fn with_server(
        plain: Plain,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, rustls::Error> {
        let connection = ClientConnection::new(config, name)?;
        Ok(Self {
            plain,
            state: State::new(connection.into()),
            sessions: None,
        })
    }

    /// Brings it to its end, however long the other side takes.
    pub(crate) async fn run(mut self) -> io::Result<TlsSocket> {
        let Self {
            plain,
            state,
            sessions,
        } = &mut self;
        loop {
            match state.flush(plain) {
                Ok(()) if !state.connection.is_handshaking() => break,
                Ok(()) => {
                    plain.readable().await?;
                    match state.fill(&mut |buffer| plain.try_read(buffer)) {
                        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                        Ok(_) => {}
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        Err(error) => {
                            // The alert that tells the client why; it may be gone already.
                            let _ = state.flush(plain);
                            return Err(error);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => plain.writable().await?,
                Err(error) => return Err(error),
            }
        }
        let connection = &state.connection;
        let resumed = (connection.handshake_kind() == Some(HandshakeKind::Resumed))
            .then(|| sessions.as_ref()?.brought())
            .flatten();
        let facts = Facts {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
                _ => "TLSv1.2",
            },
            alpn: connection.alpn_protocol().map(Arc::from),
            certificate: connection
                .peer_certificates()
                .and_then(|chain| chain.first())
                .map(|certificate| Arc::from(certificate.as_ref())),
            session: sessions
                .as_ref()
                .map_or_else(TlsSession::next, |sessions| sessions.own()),
            resumed,
        };
        Ok(TlsSocket {
            plain: self.plain,
            state: Mutex::new(self.state),
            facts,
        })
    }
}

impl State {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            records: Vec::new(),
            taken: 0,
            clear: 0,
            ended: false,
            writer: None,
            closing: false,
        }
    }

    /// Hands the socket what is ready for the client; `WouldBlock` while some of it is left.
    fn flush(&mut self, plain: &Plain) -> io::Result<()> {
        while self.connection.wants_write() {
            if self.connection.write_tls(&mut Sink(plain))? == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Ok(())
    }

    /// Takes in a piece of what the client sent and decrypts it. 0: the client sends no more.
    fn fill(
        &mut self,
        source: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        if self.taken == self.records.len() {
            let mut block = SPARE.take();
            block.resize(BLOCK, 0);
            match source(&mut block) {
                Ok(read) => {
                    block.truncate(read);
                    (self.records, self.taken) = (block, 0);
                }
                Err(error) => {
                    SPARE.set(block);
                    return Err(error);
                }
            }
        }
        let taken = self
            .connection
            .read_tls(&mut &self.records[self.taken..])
            .inspect(|taken| self.taken += taken)?;
        if self.taken == self.records.len() {
            SPARE.set(std::mem::take(&mut self.records));
            self.taken = 0;
        }
        match self.connection.process_new_packets() {
            Ok(state) => {
                self.clear = state.plaintext_bytes_to_read();
                self.ended = state.peer_has_closed();
                Ok(taken)
            }
            Err(error) => {
                self.ended = true;
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }

    fn read(
        &mut self,
        plain: &Plain,
        source: &mut dyn FnMut(&mut [u8]) -> io::Result<usize>,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let mut filled = 0;
        loop {
            match self.connection.reader().read(&mut buffer[filled..]) {
                // The buffer is full, or the client has closed.
                Ok(0) => return Ok(filled),
                Ok(read) => {
                    filled += read;
                    self.clear = self.clear.saturating_sub(read);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if filled > 0 && self.taken == self.records.len() {
                        return Ok(filled);
                    }
                    if let Err(error) = self.fill(source) {
                        // An answer that the protocol itself wants, or the alert that says what was wrong.
                        let _ = self.flush(plain);
                        return if filled > 0 { Ok(filled) } else { Err(error) };
                    }
                }
                Err(_) if filled > 0 => return Ok(filled),
                // The end of the socket without the end of TLS: somebody cut it off.
                Err(error) => return Err(error),
            }
        }
    }

    /// Encrypts what `write` hands over once everything before it is with the system.
    fn write(
        &mut self,
        plain: &Plain,
        write: impl FnOnce(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.flush(plain)?;
        let written = write(&mut self.connection.writer())?;
        match self.flush(plain) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(written),
        }
    }
}

impl TlsSocket {
    pub(crate) fn plain(&self) -> &Plain {
        &self.plain
    }

    pub(crate) fn plain_mut(&mut self) -> &mut Plain {
        &mut self.plain
    }

    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parts(&mut self) -> (&Plain, &mut State) {
        let state = self.state.get_mut();
        (&self.plain, state.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        loop {
            let flushed = {
                let mut state = self.state();
                if state.clear > 0 || state.ended || state.taken < state.records.len() {
                    return Ok(());
                }
                state.flush(&self.plain)
            };
            match flushed {
                Ok(()) => return self.plain.readable().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                    readable = self.plain.readable() => return readable,
                    writable = self.plain.writable() => writable?,
                },
                // Reading tells what is wrong.
                Err(_) => return Ok(()),
            }
        }
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        loop {
            match self.state().flush(&self.plain) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Writing tells what is wrong.
                _ => return Ok(()),
            }
            self.plain.writable().await?;
        }
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let plain = &self.plain;
        self.state()
            .read(plain, &mut |block| plain.try_read(block), buffer)
    }

    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let plain = &self.plain;
        self.state()
            .read(plain, &mut |block| plain.receive_now(block), buffer)
    }

    /// Reads the file and encrypts it: 0 at its end.
    pub(crate) fn try_send_file(
        &self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        let mut state = self.state();
        let mut block = SPARE.take();
        let mut sent = 0;
        let outcome = loop {
            let wanted = count.min(TURN).saturating_sub(sent).min(BLOCK);
            if wanted == 0 {
                break Ok(sent);
            }
            if let Err(error) = state.flush(&self.plain) {
                break Err(error);
            }
            block.resize(BLOCK, 0);
            let written = file
                .read_at(&mut block[..wanted], *offset)
                .and_then(|read| state.write(&self.plain, |writer| writer.write(&block[..read])));
            match written {
                Ok(0) => break Ok(sent),
                Ok(written) => {
                    *offset += written as u64;
                    sent += written;
                }
                Err(error) => break Err(error),
            }
        };
        SPARE.set(block);
        match outcome {
            Err(_) if sent > 0 => Ok(sent),
            outcome => outcome,
        }
    }

    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl Fn(&mut rustls::Writer<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let (plain, state) = self.parts();
        state.writer = None;
        loop {
            match state.write(plain, &write) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
            if plain.poll_write_ready(cx)?.is_pending() {
                state.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }
}

impl AsFd for TlsSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.plain.as_fd()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (plain, state) = self.get_mut().parts();
        // Who waits for an answer need not have flushed the question.
        while let Err(error) = state.flush(plain) {
            if error.kind() != io::ErrorKind::WouldBlock || plain.poll_write_ready(cx)?.is_pending()
            {
                break;
            }
        }
        loop {
            let buffer = buf.initialize_unfilled();
            match state.read(plain, &mut |block| plain.try_read(block), buffer) {
                Ok(read) => {
                    buf.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    ready!(plain.poll_read_ready(cx))?;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |writer| writer.write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut()
            .poll_write_with(cx, |writer| writer.write_vectored(bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = self.get_mut().poll_write_with(cx, |_| Ok(0));
        Poll::Ready(ready!(flushed).map(|_| ()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (_, state) = this.parts();
        if !state.closing {
            state.closing = true;
            state.connection.send_close_notify();
        }
        ready!(this.poll_write_with(cx, |_| Ok(0)))?;
        Pin::new(&mut this.plain).poll_shutdown(cx)
    }
}

impl Drop for TlsSocket {
    /// What was written goes out as far as the system takes it. That this is the end is told only by a
    /// shutdown: without one the client has to see that it was cut off.
    fn drop(&mut self) {
        let (plain, state) = self.parts();
        let _ = state.flush(plain);
    }
}

/// The socket as something that records are written to without waiting.
struct Sink<'a>(&'a Plain);

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
