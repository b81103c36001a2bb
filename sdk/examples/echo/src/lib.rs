//! A complete third-party plugin: it greets and sends back each line it receives.
//!
//! ```toml
//! [services.echo]
//! plugin = "echo"
//! listen = ["127.0.0.1:7007"]
//! [services.echo.settings]
//! greeting = "hello"
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use polyport_sdk::client::Arguments;
use polyport_sdk::config::Problem;
use polyport_sdk::limits::{Busy, Known, Refusal};
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use polyport_sdk::{Connection, Context, Error, Plugin, export_plugin};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::broadcast;
use tracing::info;

/// What an operator may ask: `polyport echo clients`.
const COMMANDS: &[Command] = &[
    Command {
        name: "clients",
        operands: "",
        about: "list who is connected",
        options: &[("--least LINES", "only those who sent so many lines")],
        columns: &[
            Column("peer", "PEER", Shows::Plain),
            Column("lines", "LINES", Shows::Plain),
        ],
        form: Form::Table,
        follows: false,
    },
    Command {
        name: "listen",
        operands: "",
        about: "show each line as it comes",
        options: &[],
        columns: &[
            Column("peer", "PEER", Shows::Plain),
            Column("line", "LINE", Shows::Plain),
        ],
        form: Form::Lines,
        follows: true,
    },
];

/// The keys beneath `[services.NAME.settings]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// First line that a client sees.
    greeting: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            greeting: "hello".into(),
        }
    }
}

/// One running instance.
pub struct Echo {
    config: Config,
    clients: Mutex<BTreeMap<u64, Client>>,
    next: AtomicU64,
    lines: broadcast::Sender<(String, String)>,
}

/// A client as `polyport echo clients` shows it.
#[derive(Clone, Serialize)]
struct Client {
    peer: String,
    lines: u64,
}

/// A line as `polyport echo listen` shows it.
#[derive(Serialize)]
struct Heard {
    peer: String,
    line: String,
}

impl Plugin for Echo {
    type Config = Config;

    const LIMITS: Known = Known::new().max_line(4096, 1..=1 << 20);

    fn busy(_: &str, _: Refusal, _: &[u8]) -> Busy {
        Busy::Answer(b"too many connections\n".to_vec())
    }

    fn check(config: &Config) -> Vec<Problem> {
        if !config.greeting.is_empty() {
            return Vec::new();
        }
        vec![Problem {
            key: "greeting".into(),
            expected: "a text that is not empty".into(),
            got: "\"\"".into(),
        }]
    }

    async fn start(config: Config, context: Context) -> Result<Self, Error> {
        info!("{} greets with {:?}", context.instance(), config.greeting);
        Ok(Self {
            config,
            clients: Mutex::default(),
            next: AtomicU64::new(0),
            lines: broadcast::Sender::new(1024),
        })
    }

    const COMMANDS: &'static [Command] = COMMANDS;

    async fn operate(
        self: Arc<Self>,
        command: &'static Command,
        arguments: Arguments,
        answer: Answer,
    ) -> Result<(), Failure> {
        arguments.end()?;
        match command.name {
            "clients" => {
                let least = arguments.number("--least", 0, 0, u64::MAX)?;
                // A copy: an answer waits for its reader, and nothing may be locked meanwhile.
                let clients: Vec<Client> = self.clients(|all| all.values().cloned().collect());
                for client in clients.iter().filter(|client| client.lines >= least) {
                    answer.row(client).await?;
                }
                Ok(())
            }
            _ => {
                let mut lines = self.lines.subscribe();
                loop {
                    match lines.recv().await {
                        Ok((peer, line)) => {
                            answer.row(&Heard { peer, line }).await?;
                        }
                        Err(broadcast::error::RecvError::Lagged(lost)) => {
                            answer.note(&format!("{lost} lines were left out")).await?;
                        }
                        Err(broadcast::error::RecvError::Closed) => return Ok(()),
                    }
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, connection: Connection) -> Result<(), Error> {
        let draining = connection.draining();
        let peer = connection.peer().to_string();
        let seat = Seat::take(&self, &peer);
        let limit = connection.limits().max_line as u64;
        let (read, mut write) = tokio::io::split(connection.stream);
        let mut read = BufReader::new(read);
        write
            .write_all(format!("{}\n", self.config.greeting).as_bytes())
            .await?;
        let echo = async {
            loop {
                let mut line = Vec::new();
                if (&mut read).take(limit).read_until(b'\n', &mut line).await? == 0 {
                    return Ok(());
                }
                write.write_all(&line).await?;
                seat.count();
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                // Nobody listens, mostly.
                let _ = self.lines.send((peer.clone(), line));
            }
        };
        tokio::select! {
            () = draining => Ok(()),
            done = echo => done,
        }
    }
}

impl Echo {
    fn clients<T>(&self, work: impl FnOnce(&mut BTreeMap<u64, Client>) -> T) -> T {
        work(&mut self.clients.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A client's place in the list, until it is dropped.
struct Seat<'a> {
    echo: &'a Echo,
    number: u64,
}

impl<'a> Seat<'a> {
    fn take(echo: &'a Echo, peer: &str) -> Self {
        let number = echo.next.fetch_add(1, Ordering::Relaxed);
        let client = Client {
            peer: peer.into(),
            lines: 0,
        };
        echo.clients(|all| all.insert(number, client));
        Self { echo, number }
    }

    fn count(&self) {
        self.echo.clients(|all| {
            if let Some(client) = all.get_mut(&self.number) {
                client.lines += 1;
            }
        });
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.echo.clients(|all| all.remove(&self.number));
    }
}

export_plugin!(Echo { name: "echo" });
