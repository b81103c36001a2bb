//! What the front needs of a stream beside its bytes.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::handover::{Crossing, Luggage};
use crate::net::{Origin, Stream};

/// A client's stream.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin + Sized + 'static {
    /// Reads what is there, as the system has it; [`io::ErrorKind::WouldBlock`] if nothing is.
    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Passes it on between two requests; back if that could not be.
    fn pass(self, crossing: Crossing, origin: &Origin, unread: &[u8]) -> Result<(), Self>;
}

impl Wire for Stream {
    fn receive_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Self::receive_now(self, buffer)
    }

    fn pass(self, crossing: Crossing, origin: &Origin, unread: &[u8]) -> Result<(), Self> {
        let luggage = Luggage {
            unread,
            ..Luggage::default()
        };
        let passed = crossing.pass(self, origin, luggage);
        passed.map_err(|refused| refused.stream)
    }
}

#[cfg(test)]
impl Wire for tokio::io::DuplexStream {
    fn receive_now(&self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }

    fn pass(self, _: Crossing, _: &Origin, _: &[u8]) -> Result<(), Self> {
        Err(self)
    }
}
