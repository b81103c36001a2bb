//! A socket as the system gives it, TCP or Unix.

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::Peer;

#[derive(Debug)]
pub(crate) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

macro_rules! each {
    ($socket:expr, $inner:ident => $call:expr) => {
        match $socket {
            Plain::Tcp($inner) => $call,
            Plain::Unix($inner) => $call,
        }
    };
}

impl Plain {
    /// A connected socket, whichever it is.
    pub(crate) fn from_fd(socket: OwnedFd) -> io::Result<Self> {
        use rustix::net::AddressFamily;
        Ok(match rustix::net::sockopt::socket_domain(&socket)? {
            AddressFamily::UNIX => {
                let stream = std::os::unix::net::UnixStream::from(socket);
                stream.set_nonblocking(true)?;
                Self::Unix(UnixStream::from_std(stream)?)
            }
            _ => {
                let stream = std::net::TcpStream::from(socket);
                stream.set_nonblocking(true)?;
                Self::Tcp(TcpStream::from_std(stream)?)
            }
        })
    }

    pub(crate) fn ends(&self) -> (Option<Peer>, Option<Peer>) {
        match self {
            Self::Tcp(stream) => (
                stream.peer_addr().ok().map(Peer::Ip),
                stream.local_addr().ok().map(Peer::Ip),
            ),
            Self::Unix(_) => (Some(Peer::Unix), Some(Peer::Unix)),
        }
    }

    /// Looks at what is there to be read, and leaves it there.
    pub(crate) fn try_peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, inner => inner.try_io(Interest::READABLE, || {
            let flags = RecvFlags::DONTWAIT | RecvFlags::PEEK;
            let (seen, _) = rustix::net::recv(inner, &mut *buffer, flags)?;
            Ok(seen)
        }))
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        each!(self, inner => inner.readable().await)
    }

    pub(crate) async fn writable(&self) -> io::Result<()> {
        each!(self, inner => inner.writable().await)
    }

    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_read_ready(cx))
    }

    pub(crate) fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self, inner => inner.poll_write_ready(cx))
    }

    pub(crate) fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        each!(self, inner => inner.try_read(buffer))
    }

    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        each!(self, inner => inner.try_write(bytes))
    }

    pub(crate) fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        each!(self, inner => inner.try_write_vectored(slices))
    }

    /// Reads without asking the runtime whether there is something.
    pub(crate) fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (read, _) = rustix::net::recv(self.as_fd(), buffer, RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    pub(crate) fn try_send_file(
        &self,
        file: &File,
        offset: &mut u64,
        count: usize,
    ) -> io::Result<usize> {
        each!(self, inner => inner.try_io(Interest::WRITABLE, || {
            rustix::fs::sendfile(inner, file, Some(&mut *offset), count).map_err(io::Error::from)
        }))
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        each!(self, inner => inner.as_fd())
    }
}

impl AsyncRead for Plain {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_read(cx, buf))
    }
}

impl AsyncWrite for Plain {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The system has what was written.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(self.get_mut(), inner => Pin::new(inner).poll_shutdown(cx))
    }
}
