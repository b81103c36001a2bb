//! A client's stream, TCP and Unix alike.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::pace::Way;
use super::{Pacer, Peer, Plain};
use crate::accounts::Account;
use crate::tap::{Line, Lines, Tap, Trace};
use crate::tls::{Facts, TlsSession, TlsSocket};

/// Bytes of a file sent at once while somebody looks: they are read a second time to be shown.
const TRACED_PIECE: usize = 256 * 1024;

/// Bytes read at once where there is a rate.
const PACED_PIECE: usize = 8 * 1024;

/// A client's stream. What passes over it can be looked at with `polyport trace`, over TLS as well.
///
/// Over TLS, a write may leave the last of its bytes with the stream while the client takes none; they go out
/// by [flushing](tokio::io::AsyncWriteExt::flush), shutting down, or waiting for the client's next bytes.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    tap: Tap,
    pacer: Pacer,
    relayed: bool,
}

#[derive(Debug)]
enum Socket {
    Plain(Plain),
    Tls(Box<TlsSocket>),
}

/// A stream that no instance accepted, and that cannot be looked at; for tests.
impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        Self::tapped(stream, Lines::new(Trace::nowhere()).of("tcp"))
    }
}

macro_rules! each {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Socket::Plain($inner) => $call,
            Socket::Tls($inner) => $call,
        }
    };
}

impl Socket {
    fn plain(&self) -> &Plain {
        match self {
            Self::Plain(plain) => plain,
            Self::Tls(socket) => socket.plain(),
        }
    }

    fn ends(&self) -> (Option<Peer>, Option<Peer>) {
        self.plain().ends()
    }
}

impl Stream {
    /// A socket's stream. `ends` are the client and the address that it reached where the socket's own are those of
    /// a proxy.
    pub(crate) fn accepted(plain: Plain, ends: Option<(Peer, Peer)>, line: Arc<Line>) -> Self {
        let tap = Tap::new(line, ends);
        if tap.is_on() {
            tap.open(|| plain.ends());
        }
        Self {
            socket: Socket::Plain(plain),
            tap,
            pacer: Pacer::default(),
            relayed: false,
        }
    }

    /// Whether its socket leads to a library of an instance before, which has the client's.
    pub(crate) fn is_relayed(&self) -> bool {
        self.relayed
    }

    pub(crate) fn with_relay(self, relayed: bool) -> Self {
        Self { relayed, ..self }
    }

    /// Makes it nobody's but the present runtime's: its instance has let it go.
    pub(crate) fn set_free(&mut self) -> io::Result<()> {
        self.tap = Tap::new(Lines::new(Trace::nowhere()).of("relay"), None);
        self.pacer = Pacer::default();
        let plain = match &mut self.socket {
            Socket::Plain(plain) => plain,
            Socket::Tls(socket) => socket.plain_mut(),
        };
        *plain = Plain::from_fd(plain.as_fd().try_clone_to_owned()?)?;
        Ok(())
    }

    /// Its parts, for TLS to be put between them.
    pub(crate) fn into_plain(self) -> io::Result<(Plain, Tap, Pacer)> {
        match self.socket {
            Socket::Plain(plain) => Ok((plain, self.tap, self.pacer)),
            Socket::Tls(_) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "expected a stream without TLS, got one with it",
            )),
        }
    }

    pub(crate) fn over_tls(socket: TlsSocket, tap: Tap, pacer: Pacer) -> Self {
        Self {
            socket: Socket::Tls(Box::new(socket)),
            tap,
            pacer,
            relayed: false,
        }
    }

    /// The address that the client reached, and whether a proxy told it.
    pub(crate) fn reached(&self) -> (Option<Peer>, bool) {
        match self.tap.proxied() {
            Some((_, local)) => (Some(*local), true),
            None => (self.socket.ends().1, false),
        }
    }

    /// The scheme of its listener, without TLS.
    pub(crate) fn scheme(&self) -> &str {
        self.tap.scheme()
    }

    pub(crate) fn tls(&self) -> Option<&Facts> {
        match &self.socket {
            Socket::Plain(_) => None,
            Socket::Tls(socket) => Some(socket.facts()),
        }
    }

    /// What it is held to by rates.
    #[must_use]
    pub fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    /// Holds it to these rates.
    #[must_use]
    pub fn with_pacer(self, pacer: Pacer) -> Self {
        Self { pacer, ..self }
    }

    /// Holds what passes from now on to the account's own rates as well, which all of its sessions share.
    pub fn pace_for(&self, account: &Account) {
        self.pacer.pace_for(Some(account));
    }

    /// Whether it has TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls().is_some()
    }

    /// `TLSv1.2` or `TLSv1.3`, if it has TLS.
    #[must_use]
    pub fn tls_version(&self) -> Option<&'static str> {
        self.tls().map(|facts| facts.version)
    }

    /// The application protocol that was agreed on in the handshake (ALPN, RFC 7301), if one was.
    #[must_use]
    pub fn alpn(&self) -> Option<&[u8]> {
        self.tls().and_then(|facts| facts.alpn.as_deref())
    }

    /// Its TLS session, which other connections of the same client can be held to
    /// ([`Tls::accept_resumed`](crate::tls::Tls::accept_resumed)).
    #[must_use]
    pub fn tls_session(&self) -> Option<TlsSession> {
        self.tls().map(|facts| facts.session)
    }

    /// The TLS session that the client took up in the handshake, if it took one up. Who takes one up made the
    /// connection that began it.
    #[must_use]
    pub fn resumed_tls_session(&self) -> Option<TlsSession> {
        self.tls().and_then(|facts| facts.resumed)
    }

    pub(crate) fn tapped(stream: TcpStream, line: Arc<Line>) -> Self {
        Self::accepted(Plain::Tcp(stream), None, line)
    }

    /// The TCP stream, if it is one, for its options and addresses. What is read from it or written to it
    /// directly is missing from `polyport trace`, and breaks TLS.
    #[must_use]
    pub fn as_tcp(&self) -> Option<&TcpStream> {
        match self.socket.plain() {
            Plain::Tcp(stream) => Some(stream),
            Plain::Unix(_) => None,
        }
    }

    /// Waits until there is something to read, or the end.
    ///
    /// # Errors
    /// The socket's.
    pub async fn readable(&self) -> io::Result<()> {
        if self.pacer.is_on() {
            self.pacer.ready(Way::Up).await;
        }
        each!(&self.socket, inner => inner.readable().await)
    }

    /// Waits until something can be written.
    ///
    /// # Errors
    /// The socket's.
    pub async fn writable(&self) -> io::Result<()> {
        if self.pacer.is_on() {
            self.pacer.ready(Way::Down).await;
        }
        each!(&self.socket, inner => inner.writable().await)
    }

    /// Reads what is there; [`io::ErrorKind::WouldBlock`] if nothing is.
    ///
    /// # Errors
    /// The socket's.
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match self.pacer.is_on() {
            true => self.may_pass(Way::Up)?.min(buffer.len()),
            false => buffer.len(),
        };
        let read = each!(&self.socket, inner => inner.try_read(&mut buffer[..length]))?;
        self.note_received(&buffer[..read]);
        Ok(read)
    }

    /// As [`Stream::try_read`], but asks the system even where the runtime has not yet noticed that something
    /// is there, and does not wait for a rate either: what is read now is waited for the next time.
    ///
    /// # Errors
    /// The socket's.
    pub fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = each!(&self.socket, inner => inner.receive_now(buffer))?;
        self.note_received(&buffer[..read]);
        Ok(read)
    }

    /// Sends up to `count` bytes of a file from `offset` on without copying them through this process (but for
    /// TLS, which has to encrypt them), and moves `offset` on. 0: the file has no more. [`io::ErrorKind::WouldBlock`] when the client has to take
    /// bytes first.
    ///
    /// # Errors
    /// The socket's or the file's; `EINVAL` or `ENOSYS` for a file that has to be read instead.
    pub fn try_send_file(&self, file: &File, offset: &mut u64, count: usize) -> io::Result<usize> {
        let traced = self.tap.is_on();
        let count = if traced {
            count.min(TRACED_PIECE)
        } else {
            count
        };
        let paced = self.pacer.is_on();
        let count = match paced {
            true => self.may_pass(Way::Down)?.min(count),
            false => count,
        };
        let start = *offset;
        let sent = each!(&self.socket, inner => inner.try_send_file(file, offset, count))?;
        if traced {
            let mut bytes = vec![0; sent];
            // What cannot be read again is missing from the trace, nothing else.
            let read = file.read_at(&mut bytes, start).unwrap_or(0);
            self.tap.sent(&bytes[..read], || self.socket.ends());
        }
        if paced {
            self.pacer.note(Way::Down, sent);
        }
        Ok(sent)
    }

    /// As [`Stream::try_send_file`], but waits for the client.
    ///
    /// # Errors
    /// As there.
    pub async fn send_file(
        &self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        loop {
            self.writable().await?;
            match self.try_send_file(file, offset, count) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return done,
            }
        }
    }

    /// How many bytes may pass now; [`io::ErrorKind::WouldBlock`] if they may not yet.
    fn may_pass(&self, way: Way) -> io::Result<usize> {
        self.pacer
            .try_ready(way)
            .ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Reads no more than may pass, by way of a small buffer.
    #[cold]
    fn poll_read_paced(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let allowed = ready!(self.pacer.poll_ready(Way::Up, cx));
        let mut piece = [0; PACED_PIECE];
        let length = allowed.min(buf.remaining()).min(PACED_PIECE);
        let mut part = ReadBuf::new(&mut piece[..length]);
        ready!(each!(&mut self.socket, inner => Pin::new(inner).poll_read(cx, &mut part)))?;
        self.note_received(part.filled());
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }

    /// Writes no more than may pass.
    #[cold]
    fn poll_write_paced(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let allowed = ready!(self.pacer.poll_ready(Way::Down, cx));
        let buf = &buf[..buf.len().min(allowed)];
        let written =
            ready!(each!(&mut self.socket, inner => Pin::new(inner).poll_write(cx, buf)))?;
        self.pacer.note(Way::Down, written);
        if self.tap.is_on() {
            self.tap.sent(&buf[..written], || self.socket.ends());
        }
        Poll::Ready(Ok(written))
    }

    #[inline]
    fn note_received(&self, bytes: &[u8]) {
        if self.pacer.is_on() {
            self.pacer.note(Way::Up, bytes.len());
        }
        if self.tap.is_on() {
            self.tap.received(bytes, || self.socket.ends());
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(&self.socket, inner => inner.as_fd())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.pacer.is_on() {
            return this.poll_read_paced(cx, buf);
        }
        let before = buf.filled().len();
        let polled = each!(&mut this.socket, inner => Pin::new(inner).poll_read(cx, buf));
        if let Poll::Ready(Ok(())) = polled {
            this.note_received(&buf.filled()[before..]);
        }
        polled
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.pacer.is_on() {
            return this.poll_write_paced(cx, buf);
        }
        let polled = each!(&mut this.socket, inner => Pin::new(inner).poll_write(cx, buf));
        if this.tap.is_on()
            && let Poll::Ready(Ok(written)) = polled
        {
            this.tap.sent(&buf[..written], || this.socket.ends());
        }
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.pacer.is_on() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return this.poll_write_paced(cx, first.map_or(&[], |buf| buf));
        }
        let polled =
            each!(&mut this.socket, inner => Pin::new(inner).poll_write_vectored(cx, bufs));
        if this.tap.is_on()
            && let Poll::Ready(Ok(written)) = polled
        {
            this.tap.sent_vectored(bufs, written, || this.socket.ends());
        }
        polled
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.get_mut().socket, inner => Pin::new(inner).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut self.get_mut().socket, inner => Pin::new(inner).poll_shutdown(cx))
    }
}
