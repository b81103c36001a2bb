//! The host's side of the control socket.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tracing::debug;

use super::trace::{self, Wanted};
use super::{Answer, Command, operate, write_line};
use crate::board::Board;

/// The longest command, in bytes.
const MAX_LINE: u64 = 64 * 1024;
/// How long a client may take to send its command.
const PATIENCE: Duration = Duration::from_secs(10);

/// A command for the host, and where its answer goes.
#[derive(Debug)]
pub struct Request {
    /// What is asked; never [`Command::Status`], [`Command::Trace`] or [`Command::Operate`].
    pub command: Command,
    /// Takes the answer.
    pub reply: oneshot::Sender<Answer>,
}

/// The listening socket.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    claim: Claim,
}

/// The socket's file: removed when dropped, unless it was left to the process after this one.
#[derive(Debug)]
pub struct Claim {
    socket: OwnedFd,
    path: PathBuf,
    is_ours: bool,
}

impl Claim {
    /// The listening socket.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Leaves the file to another process.
    pub fn leave(&mut self) {
        self.is_ours = false;
    }

    /// The file is this process's from now on.
    pub fn take(&mut self) {
        self.is_ours = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.is_ours {
            // A stale one is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Server {
    /// Binds the socket, readable and writable by its owner alone.
    ///
    /// # Errors
    /// When another host answers there, or the system refuses.
    pub fn bind(path: &Path) -> Result<Self, String> {
        let named = |error: io::Error| format!("control socket {}: {error}", path.display());
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(format!(
                "control socket {}: expected no host to answer there, but one does; stop it first or choose another host.control",
                path.display()
            ));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(named)?;
        }
        // Bound under another name, so that it is never there with another mode.
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let _ = fs::remove_file(&fresh);
        let listener = UnixListener::bind(&fresh).map_err(named)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(named)?;
        fs::rename(&fresh, path).map_err(named)?;
        Self::new(listener, path, true).map_err(named)
    }

    /// The socket of the process before this one, which still owns its file.
    ///
    /// # Errors
    /// When it is none.
    pub fn inherit(socket: OwnedFd, path: &Path) -> Result<Self, String> {
        let named = |error: io::Error| format!("control socket {}: {error}", path.display());
        let listener = std::os::unix::net::UnixListener::from(socket);
        listener.set_nonblocking(true).map_err(named)?;
        let listener = UnixListener::from_std(listener).map_err(named)?;
        Self::new(listener, path, false).map_err(named)
    }

    fn new(listener: UnixListener, path: &Path, is_ours: bool) -> io::Result<Self> {
        let claim = Claim {
            socket: listener.as_fd().try_clone_to_owned()?,
            path: path.to_owned(),
            is_ours,
        };
        Ok(Self { listener, claim })
    }

    /// The socket to listen at, and the claim to its file.
    pub fn split(self) -> (UnixListener, Claim) {
        (self.listener, self.claim)
    }
}

/// Answers clients for as long as the host runs. Every connection holds `open`.
pub async fn serve(
    listener: UnixListener,
    board: Board,
    requests: mpsc::Sender<Request>,
    open: mpsc::Sender<()>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let (board, requests, open) = (board.clone(), requests.clone(), open.clone());
                tokio::spawn(async move {
                    if let Err(error) = answer(stream, &board, &requests).await {
                        debug!("control connection: {error}");
                    }
                    drop(open);
                });
            }
            Err(error) => {
                debug!("control socket: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(
    stream: UnixStream,
    board: &Board,
    requests: &mpsc::Sender<Request>,
) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    let mut read = BufReader::new(read.take(MAX_LINE));
    tokio::time::timeout(PATIENCE, read.read_line(&mut line)).await??;
    let answer = match serde_json::from_str::<Command>(&line) {
        Ok(Command::Status) => Answer::Done(board.json()),
        Ok(Command::Trace {
            service,
            connection,
            bytes,
        }) => {
            let wanted = Wanted {
                service,
                connection,
                bytes,
            };
            return trace::stream(wanted, board, read.into_inner().into_inner(), write).await;
        }
        Ok(Command::Operate {
            plugin,
            service,
            request,
        }) => {
            let wanted = operate::Wanted {
                plugin,
                service,
                request,
            };
            return operate::stream(wanted, board, read.into_inner().into_inner(), write).await;
        }
        Ok(command) => pass_on(command, requests).await,
        Err(error) => Answer::Failed(format!(
            "expected a command in JSON on one line, got {line:?}: {error}"
        )),
    };
    write_line(&mut write, &answer).await
}

async fn pass_on(command: Command, requests: &mpsc::Sender<Request>) -> Answer {
    let at_once = matches!(
        command,
        Command::Reload { wait: false } | Command::Upgrade { wait: false }
    );
    let last = command == Command::Stop;
    let (reply, answer) = oneshot::channel();
    if requests.send(Request { command, reply }).await.is_err() {
        return Answer::Failed("the host is ending".into());
    }
    if at_once {
        return Answer::Done(json!({ "accepted": true }));
    }
    if last {
        // The end of the process ends the connection: that is the answer, unless there is another.
        return match answer.await {
            Ok(answer) => answer,
            Err(_) => std::future::pending().await,
        };
    }
    answer
        .await
        .unwrap_or_else(|_| Answer::Failed("the host ended before it answered".into()))
}
