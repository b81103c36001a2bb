//! The old process's side: it starts the new one and talks to it until that one serves.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::parcels::Remote;
use super::program::Program;
use super::protocol::{FromNew, FromOld, Hello, PROTOCOL};
use super::wire::{Channel, Received};

/// How long a process that was given up may take to end by itself.
const FAREWELL: Duration = Duration::from_secs(2);

/// A new process that does not serve yet. Dropped, it is ended.
#[derive(Debug)]
pub struct Offer {
    channel: Arc<Channel>,
    child: Child,
    /// Whether it is on its own.
    free: bool,
    /// The version of its program.
    pub version: String,
}

impl Offer {
    /// Starts the program and waits for its first word.
    ///
    /// # Errors
    /// Why there is none that could take over.
    pub async fn start(program: &Program, patience: Duration) -> Result<Self, String> {
        program.check()?;
        let named = |error: io::Error| format!("program {}: {error}", program.file().display());
        let (channel, theirs) = Channel::pair().map_err(named)?;
        channel.set_patience(patience).map_err(named)?;
        let mut command = Command::new(program.file());
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] {
            command.env_remove(name);
        }
        let child = command
            .args(program.arguments())
            .stdin(OwnedFd::from(theirs))
            .spawn();
        // It holds the other end open.
        drop(command);
        let mut offer = Self {
            channel: Arc::new(channel),
            child: child.map_err(named)?,
            free: false,
            version: String::new(),
        };
        let hello: Hello = offer.hear(patience).await?;
        offer.version = hello.version;
        if hello.protocol != PROTOCOL {
            let reason = format!(
                "polyport {} speaks version {PROTOCOL} of the upgrade, polyport {} version {}: stop the one and start the other",
                env!("CARGO_PKG_VERSION"),
                offer.version,
                hello.protocol
            );
            let refused = FromOld::Refused {
                reason: reason.clone(),
            };
            // It is ended anyway.
            let _ = offer.say(&refused, &[], &[]);
            return Err(reason);
        }
        Ok(offer)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says next.
    ///
    /// # Errors
    /// When it ended, or says nothing for so long.
    pub async fn hear<T: DeserializeOwned + Send + 'static>(
        &mut self,
        patience: Duration,
    ) -> Result<T, String> {
        let channel = Arc::clone(&self.channel);
        let heard = tokio::task::spawn_blocking(move || {
            channel.set_patience(patience)?;
            channel.receive()
        });
        match heard.await.map_err(io::Error::other).flatten() {
            Ok(Received { message, .. }) => Ok(message),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(format!(
                "expected a word of the new process within {patience:?}, got nothing"
            )),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(match self.ended(FAREWELL).await {
                    Some(status) => {
                        format!("the new process ended before it was ready ({status})")
                    }
                    None => "the new process closed its connection before it was ready".to_owned(),
                })
            }
            Err(error) => Err(format!("the new process: {error}")),
        }
    }

    /// Says something to it.
    ///
    /// # Errors
    /// When it does not listen any more.
    pub fn say(
        &self,
        word: &FromOld,
        bytes: &[u8],
        files: &[BorrowedFd<'_>],
    ) -> Result<(), String> {
        tokio::task::block_in_place(|| self.channel.send(word, &[bytes], files))
            .map_err(|error| format!("the new process does not listen: {error}"))
    }

    /// Lets it serve: from here on there is no way back, and it is on its own.
    ///
    /// # Errors
    /// When it could not be told, and will not serve.
    pub fn go(&mut self) -> Result<Arc<Remote>, String> {
        let named = |error: io::Error| format!("the channel for connections: {error}");
        let (channel, theirs) = Channel::pair().map_err(named)?;
        let remote = Remote::new(channel).map_err(named)?;
        self.say(&FromOld::Go, &[], &[theirs.as_fd()])?;
        self.free = true;
        Ok(remote)
    }

    /// What the process tells of other accounts once it serves, until it or this is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn accounts(&self) -> io::Result<mpsc::UnboundedReceiver<Vec<u8>>> {
        let channel = Arc::clone(&self.channel);
        let (tell, told) = mpsc::unbounded_channel();
        let listen = move || {
            loop {
                match channel.receive() {
                    Ok(Received {
                        message: FromNew::Accounts,
                        bytes,
                        ..
                    }) => {
                        if tell.send(bytes).is_err() {
                            return;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    _ => return,
                }
            }
        };
        std::thread::Builder::new()
            .name("upgrade".into())
            .spawn(listen)
            .map(|_| told)
    }

    /// Ends it, after it had time to let go of what it has.
    pub async fn give_up(mut self) {
        self.channel.close();
        self.ended(FAREWELL).await;
    }

    async fn ended(&mut self, patience: Duration) -> Option<ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Ok(status) => return status,
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        // Nobody reads on.
        self.channel.close();
        if !self.free {
            // Both fail only if it has ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
