//! What a transcript is replayed against.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// One end of a connection, the client's.
pub trait Wire {
    /// Sends all of `bytes`.
    fn send(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Some bytes that came; none at the end of the connection, or when a core has no more to say.
    fn receive(&mut self) -> io::Result<Vec<u8>>;

    /// Ends the sending side.
    fn close(&mut self) -> io::Result<()>;

    /// Lets time pass for the other side.
    fn pass(&mut self, _time: Duration) -> io::Result<()> {
        Err(io::Error::other("a socket has no virtual time"))
    }

    /// Whether everything that answers a [`Wire::send`] can be received as soon as it returned.
    fn is_prompt(&self) -> bool {
        false
    }

    /// Whether the other side ended the connection, asked when [`Wire::receive`] gave nothing.
    fn is_closed(&self) -> bool {
        true
    }
}

impl Wire for TcpStream {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        receive(self)
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Wire for UnixStream {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        receive(self)
    }

    fn close(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

fn receive(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 64 * 1024];
    let length = match stream.read(&mut buffer) {
        // A server that closes with unread input resets the connection: an end all the same.
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => 0,
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            return Err(io::ErrorKind::TimedOut.into());
        }
        other => other?,
    };
    buffer.truncate(length);
    Ok(buffer)
}

/// What happens to a pure core, in the order of the transcript.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// The client sent these bytes.
    Bytes(&'a [u8]),
    /// The client ended its sending side.
    Closed,
    /// So much time passed.
    Passed(Duration),
    /// The transcript waits for a greeting or for what is still to come.
    Asked,
}

/// What a pure core answers; a plain `Vec<u8>` leaves the connection open.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Bytes for the client.
    pub bytes: Vec<u8>,
    /// Whether the core ends the connection after them.
    pub close: bool,
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            close: false,
        }
    }
}

/// A function from what happened to its [`Answer`], for cores without sockets or clock.
pub struct Pure<F> {
    core: F,
    answered: Vec<u8>,
    closed: bool,
}

impl<F: FnMut(Event<'_>) -> A, A: Into<Answer>> Pure<F> {
    /// Wraps the function.
    pub fn new(core: F) -> Self {
        Self {
            core,
            answered: Vec::new(),
            closed: false,
        }
    }

    fn tell(&mut self, event: Event<'_>) -> io::Result<()> {
        let answer = (self.core)(event).into();
        self.answered.extend_from_slice(&answer.bytes);
        self.closed |= answer.close;
        Ok(())
    }
}

impl<F: FnMut(Event<'_>) -> A, A: Into<Answer>> Wire for Pure<F> {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.tell(Event::Bytes(bytes))
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        if self.answered.is_empty() {
            self.tell(Event::Asked)?;
        }
        Ok(std::mem::take(&mut self.answered))
    }

    fn close(&mut self) -> io::Result<()> {
        self.tell(Event::Closed)
    }

    fn pass(&mut self, time: Duration) -> io::Result<()> {
        self.tell(Event::Passed(time))
    }

    fn is_prompt(&self) -> bool {
        true
    }

    fn is_closed(&self) -> bool {
        self.closed
    }
}
