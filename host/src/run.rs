//! `polyport run`: one loop that hears signals, the control socket, changed files and the clock, and lets the
//! [`Host`] act on them one after the other.

mod place;
mod signals;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{info, warn};

use crate::accounts::Subject;
use crate::board::Board;
use crate::config::Source;
use crate::control::server::{Request, serve};
use crate::control::{Answer, Command};
use crate::limits;
use crate::logging;
use crate::memory;
use crate::reload::{Host, Start, chain};
use crate::systemd;
use crate::upgrade::program::Program;
use crate::upgrade::take::Predecessor;
use crate::watch::{Look, Watched, Watcher};
use place::Before;
use signals::{Heard, Signals};

/// Threads of the host itself: it only supervises.
const THREADS: usize = 2;

/// Runs the host until it is told to stop, in the place of the process at standard input if it is to `take_over`.
///
/// # Errors
/// When it could not start.
pub fn run(source: Source, take_over: bool) -> Result<(), Box<dyn std::error::Error>> {
    let program = Program::of_this_process()?;
    let before = take_over.then(Predecessor::greet).transpose()?;
    let Some((process, legacy)) = before else {
        return run_from(source, program, None);
    };
    let process = Arc::new(process);
    run_from(source, program, Some((Arc::clone(&process), legacy)))
        .inspect_err(|error| process.failed(&chain(&**error)))
}

fn run_from(
    source: Source,
    program: Program,
    before: Option<Before>,
) -> Result<(), Box<dyn std::error::Error>> {
    let start = Start::read(&source)?;
    let _flush = logging::start(&start.config.host.log)?;
    limits::descriptors::raise();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    runtime
        .block_on(supervise(source, start, program, before))
        .map_err(Into::into)
}

async fn supervise(
    source: Source,
    start: Start,
    program: Program,
    before: Option<Before>,
) -> Result<(), String> {
    let config = &start.config;
    std::fs::create_dir_all(&config.host.state).map_err(|error| {
        format!(
            "state folder {}: cannot be made: {error}",
            config.host.state.display()
        )
    })?;
    let takes_over = before.is_some();
    let (server, origin) = place::inherit(before, &config.host.control)?;
    let (listener, mut claim) = server.split();
    let mut signals = Signals::new().map_err(|error| format!("signals: {error}"))?;
    let board = Board::new();
    let mut watched = Watched::new(&source.file, config);
    let before = look(&watched);
    let (watcher, mut changed) = Watcher::start(watched.clone(), before.clone());
    let (trouble, mut fallen) = mpsc::unbounded_channel();

    let mut host = Host::boot(source, start, board.clone(), trouble, origin).await?;
    rewatch(&watcher, &mut watched, &host, before);
    let (requests, mut asked) = mpsc::channel(16);
    let (open, clients) = mpsc::channel(1);
    claim.take();
    tokio::spawn(memory::give_back());
    let server = tokio::spawn(serve(listener, board.clone(), requests, open));
    if takes_over {
        info!("serves in the place of the process before");
        host.tell_serving();
        systemd::notify(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
    } else {
        announce(&host);
        systemd::notify(&[NotifyState::Ready]);
    }

    let mut clock = interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let replaced = loop {
        let cause = tokio::select! {
            signal = signals.next() => match signal {
                Heard::Hangup => Cause::Reload("SIGHUP"),
                Heard::End(name) => {
                    info!("{name}: draining");
                    break None;
                }
                Heard::Upgrade => Cause::Upgrade(None),
            },
            Some(rested) = changed.recv() => {
                if look(&watched) != rested {
                    // Changing again: it is told when they rest.
                    watcher.follow(watched.clone(), Look::UNKNOWN);
                    continue;
                }
                Cause::Reload("files changed")
            }
            Some(fallen) = fallen.recv() => {
                let before = look(&watched);
                host.withdraw(fallen).await;
                rewatch(&watcher, &mut watched, &host, before);
                continue;
            }
            Some(Request { command, reply }) = asked.recv() => match command {
                Command::Stop => break None,
                Command::Upgrade { .. } => Cause::Upgrade(Some(reply)),
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
        match cause {
            Cause::Reload(cause) => {
                systemd::notify_reloading();
                let before = look(&watched);
                // Its outcome is logged and shown.
                let _ = host.reload(cause, false).await;
                systemd::notify(&[NotifyState::Ready]);
                rewatch(&watcher, &mut watched, &host, before);
            }
            Cause::Upgrade(reply) => {
                match place::offer(&mut host, &program, &claim, &mut signals).await {
                    Ok(Some(replacement)) => break Some((replacement, reply)),
                    Ok(None) => break None,
                    Err(reason) => {
                        if let Some(reply) = reply {
                            // The client may have gone.
                            let _ = reply.send(Answer::Failed(reason));
                        }
                    }
                }
            }
        }
    };
    drop(watcher);
    if let Some((replacement, reply)) = replaced {
        server.abort();
        return place::give(
            host,
            replacement,
            claim,
            (reply, asked, clients),
            &mut signals,
        )
        .await;
    }
    systemd::notify(&[NotifyState::Stopping]);
    tokio::select! {
        () = host.shut_down() => {}
        name = signals.end() => warn!("{name} again: not waiting for the rest"),
    }
    info!("stopped");
    server.abort();
    Ok(())
}

/// What the loop is to do.
enum Cause {
    /// Read the files again; why.
    Reload(&'static str),
    /// Start the program anew; whom to tell.
    Upgrade(Option<oneshot::Sender<Answer>>),
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
        Command::Status
        | Command::Trace { .. }
        | Command::Operate { .. }
        | Command::Stop
        | Command::Upgrade { .. } => Err("expected a command for the loop".into()),
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
