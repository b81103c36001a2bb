//! `polyport run`: one loop that hears signals, the control socket, changed files and the clock, and lets the
//! [`Host`] act on them one after the other.

use std::io::Write;
use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::accounts::Subject;
use crate::board::Board;
use crate::config::Source;
use crate::control::server::{Request, Server};
use crate::control::{Answer, Command};
use crate::limits;
use crate::logging;
use crate::reload::{Host, Start};
use crate::watch::{Look, Watched, Watcher};

/// Threads of the host itself: it only supervises.
const THREADS: usize = 2;

/// Runs the host until it is told to stop.
///
/// # Errors
/// When it could not start.
pub fn run(source: Source) -> Result<(), Box<dyn std::error::Error>> {
    let start = Start::read(&source)?;
    let _flush = logging::start(&start.config.host.log)?;
    limits::descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime
        .block_on(supervise(source, start))
        .map_err(Into::into)
}

async fn supervise(source: Source, start: Start) -> Result<(), String> {
    let config = &start.config;
    std::fs::create_dir_all(&config.host.state).map_err(|error| {
        format!(
            "state folder {}: cannot be made: {error}",
            config.host.state.display()
        )
    })?;
    let server = Server::bind(&config.host.control)?;
    let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;
    let board = Board::new();
    let mut watched = Watched::new(&source.file, config);
    let before = look(&watched);
    let (watcher, mut changed) = Watcher::start(watched.clone(), before.clone());
    let (trouble, mut fallen) = mpsc::unbounded_channel();

    let mut host = Host::boot(source, start, board.clone(), trouble).await?;
    rewatch(&watcher, &mut watched, &host, before);
    let (requests, mut asked) = mpsc::channel(16);
    let server = tokio::spawn(server.serve(board.clone(), requests));
    announce(&host);
    notify_supervisor(&[NotifyState::Ready]);

    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let cause = tokio::select! {
            signal = signals.next() => match signal {
                Heard::Hangup => "SIGHUP",
                Heard::End(name) => {
                    info!("{name}: draining");
                    break;
                }
            },
            Some(rested) = changed.recv() => {
                if look(&watched) != rested {
                    // Changing again: it is told when they rest.
                    watcher.follow(watched.clone(), Look::UNKNOWN);
                    continue;
                }
                "files changed"
            }
            Some(fallen) = fallen.recv() => {
                let before = look(&watched);
                host.withdraw(fallen).await;
                rewatch(&watcher, &mut watched, &host, before);
                continue;
            }
            Some(Request { command, reply }) = asked.recv() => match command {
                Command::Stop => break,
                command => {
                    let reads = matches!(
                        command,
                        Command::Reload { .. } | Command::Restart { .. } | Command::Rollback { .. }
                    );
                    let before = look(&watched);
                    obey(&mut host, command, reply).await;
                    if reads {
                        rewatch(&watcher, &mut watched, &host, before);
                    }
                    continue;
                }
            },
            _ = clock.tick() => {
                if host.accounts().expired_since_last() {
                    host.accounts_changed();
                }
                continue;
            }
        };
        notify_reloading();
        let before = look(&watched);
        // Its outcome is logged and shown.
        let _ = host.reload(cause, false).await;
        notify_supervisor(&[NotifyState::Ready]);
        rewatch(&watcher, &mut watched, &host, before);
    }
    notify_supervisor(&[NotifyState::Stopping]);
    drop(watcher);
    tokio::select! {
        () = host.shut_down() => {}
        name = signals.end() => warn!("{name} again: not waiting for the rest"),
    }
    info!("stopped");
    server.abort();
    // Its drop removes the socket.
    let _ = server.await;
    Ok(())
}

async fn obey(host: &mut Host, command: Command, reply: oneshot::Sender<Answer>) {
    let outcome = match command {
        Command::Reload { .. } => host
            .reload("command", true)
            .await
            .map(|generation| json!({ "generation": generation })),
        Command::Restart { service } => host
            .restart(service.as_deref())
            .await
            .map(|generation| json!({ "generation": generation })),
        Command::Rollback { generation } => host
            .roll_back(generation)
            .await
            .map(|generation| json!({ "generation": generation })),
        Command::Generations => Ok(tokio::task::block_in_place(|| host.generations())),
        Command::Diff => {
            tokio::task::block_in_place(|| host.diff()).map(|lines| json!({ "changes": lines }))
        }
        Command::Bans => Ok(json!({ "bans": bans(host) })),
        Command::Lift { subject } if host.accounts().lift(&subject) => Ok(json!({})),
        Command::Lift { subject } => Err(format!("{subject:?} is not banned")),
        Command::Status | Command::Trace { .. } | Command::Stop => {
            Err("expected a command for the loop".into())
        }
    };
    // The client may have gone.
    let _ = reply.send(outcome.map_or_else(Answer::Failed, Answer::Done));
}

fn bans(host: &Host) -> Vec<Value> {
    let bans = host.accounts().bans().into_iter();
    bans.map(|(subject, rest)| {
        let kind = match subject {
            Subject::Address(_) => "address",
            Subject::User(_) => "user",
        };
        json!({ "kind": kind, "subject": subject.to_string(), "seconds": rest.as_secs() })
    })
    .collect()
}

/// Reads the files that are watched.
fn look(watched: &Watched) -> Look {
    tokio::task::block_in_place(|| watched.look())
}

/// Watches on after the files were read, others if the configuration now names others. `before` is what they
/// were then: a watcher that had last seen something else would miss it when they come to be that again.
fn rewatch(watcher: &Watcher, watched: &mut Watched, host: &Host, before: Look) {
    let wanted = host.watched();
    let seen = if wanted == *watched && look(watched) == before {
        before
    } else {
        Look::UNKNOWN // changed meanwhile, or not watched until now: nobody knows what of it was read
    };
    *watched = wanted;
    watcher.follow(watched.clone(), seen);
}

/// One line for each listening address, then `ready`.
fn announce(host: &Host) {
    let mut out = std::io::stdout().lock();
    for line in host.board.listening() {
        // Standard output may be closed; the log has it as well.
        let _ = writeln!(out, "{line}");
    }
    let _ = writeln!(out, "ready");
    let _ = out.flush();
    if host
        .accounts()
        .list()
        .iter()
        .all(|account| account.secret.is_none())
    {
        info!(
            "there is no account with a password yet: make the first with `polyport user add NAME`"
        );
    }
}

fn notify_supervisor(states: &[NotifyState<'_>]) {
    // Does nothing without NOTIFY_SOCKET.
    if let Err(error) = sd_notify::notify(states) {
        warn!("service manager: {error}");
    }
}

fn notify_reloading() {
    // Without the time, which the protocol demands of a reloading service, there is nothing to say.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify_supervisor(&[NotifyState::Reloading, now]);
    }
}

struct Signals {
    term: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Heard {
        tokio::select! {
            _ = self.term.recv() => Heard::End("SIGTERM"),
            _ = self.interrupt.recv() => Heard::End("SIGINT"),
            _ = self.hangup.recv() => Heard::Hangup,
        }
    }

    async fn end(&mut self) -> &'static str {
        loop {
            if let Heard::End(name) = self.next().await {
                return name;
            }
        }
    }
}

enum Heard {
    End(&'static str),
    Hangup,
}
