//! The command line's side of the control socket.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Answer, Command};

/// Why a command got no answer, or a bad one.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no host is running: nothing listens on the control socket {}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket could not be used.
    #[error("control socket {}", socket.display())]
    Io {
        /// The socket.
        socket: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The host said no.
    #[error("{0}")]
    Failed(String),
}

/// Sends one command and waits for its answer.
///
/// # Errors
/// As [`Error`] says.
pub fn ask(socket: &Path, command: &Command) -> Result<Value, Error> {
    begin(socket, command).map(|(value, _)| value)
}

/// Sends one command, waits for the first line of its answer and gives the connection with what follows.
///
/// # Errors
/// As [`Error`] says.
pub fn begin(socket: &Path, command: &Command) -> Result<(Value, BufReader<UnixStream>), Error> {
    let io = |source| Error::Io {
        socket: socket.to_owned(),
        source,
    };
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Error::NotRunning {
            socket: socket.to_owned(),
        },
        _ => io(error),
    })?;
    let mut line = serde_json::to_string(command).map_err(|error| io(error.into()))?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(io)?;
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    stream.read_line(&mut answer).map_err(io)?;
    if answer.is_empty() && *command == Command::Stop {
        return Ok((Value::Null, stream));
    }
    if answer.is_empty() {
        return Err(io(std::io::Error::new(
            ErrorKind::UnexpectedEof,
            "expected an answer, got none: the host ended",
        )));
    }
    match serde_json::from_str(&answer).map_err(|error| io(error.into()))? {
        Answer::Done(value) => Ok((value, stream)),
        Answer::Failed(reason) => Err(Error::Failed(reason)),
    }
}
