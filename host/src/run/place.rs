//! The place of a process: taking another's at the start, and giving it to another at an upgrade.

use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info, warn};

use super::signals::Signals;
use crate::control::Answer;
use crate::control::server::{Claim, Request, Server};
use crate::reload::{Host, Origin, Replacement};
use crate::systemd;
use crate::upgrade::program::Program;
use crate::upgrade::take::{Legacy, Predecessor};

/// How long clients of the control socket may take to be answered before this process ends.
const ANSWERING: Duration = Duration::from_secs(1);

/// The clients of the control socket: who asked for the upgrade, what the others ask, and what ends with the last.
pub type Clients = (
    Option<oneshot::Sender<Answer>>,
    mpsc::Receiver<Request>,
    mpsc::Receiver<()>,
);

/// The process before, and what it had.
pub type Before = (Arc<Predecessor>, Legacy);

/// The control socket at `path`, of the process before if it had it there, and what else there is to start with.
///
/// # Errors
/// When there is no control socket to be had.
pub fn inherit(before: Option<Before>, path: &Path) -> Result<(Server, Origin), String> {
    let given = systemd::given();
    let Some((process, legacy)) = before else {
        let before = None;
        return Ok((Server::bind(path)?, Origin { given, before }));
    };
    let same = legacy.told.control == path;
    let server = if same {
        let socket = legacy.control.as_fd().try_clone_to_owned();
        let socket = socket.map_err(|error| format!("control socket: {error}"))?;
        Server::inherit(socket, path)?
    } else {
        Server::bind(path)?
    };
    let before = Some((process, legacy, same));
    Ok((server, Origin { given, before }))
}

/// Starts the program and prepares it to serve; none if this process was told to end meanwhile.
///
/// # Errors
/// Why it does not serve; then all is as it was.
pub async fn offer(
    host: &mut Host,
    program: &Program,
    claim: &Claim,
    signals: &mut Signals,
) -> Result<Option<Replacement>, String> {
    systemd::notify_reloading();
    let outcome = tokio::select! {
        outcome = host.upgrade(program, claim.socket()) => outcome.map(Some),
        name = signals.end() => {
            info!("{name}: the upgrade is given up; draining");
            Ok(None)
        }
    };
    if !matches!(outcome, Ok(Some(_))) {
        systemd::notify(&[NotifyState::Ready]);
    }
    outcome
}

/// Lets the new process serve, passes to it what can be passed, and waits for the end of the rest. Whoever asked for it
/// hears of it; others that ask for something are told to ask again.
///
/// # Errors
/// When the new process does not serve, after all.
pub async fn give(
    mut host: Host,
    mut replacement: Replacement,
    mut claim: Claim,
    (reply, mut asked, mut clients): Clients,
    signals: &mut Signals,
) -> Result<(), String> {
    if replacement.control {
        claim.leave();
    }
    let outcome = host.make_way(&mut replacement).await;
    let (pid, version) = (replacement.pid(), replacement.version().to_owned());
    let answer = match &outcome {
        Ok(()) => {
            info!("upgrade: process {pid}, polyport {version}, serves");
            Answer::Done(json!({ "pid": pid, "version": version }))
        }
        Err(reason) => {
            error!("upgrade: {reason}; this process ends all the same");
            Answer::Failed(reason.clone())
        }
    };
    if let Some(reply) = reply {
        // The client may have gone.
        let _ = reply.send(answer);
    }
    tokio::spawn(async move {
        while let Some(Request { reply, .. }) = asked.recv().await {
            let told = format!("process {pid} has taken the place of this one: ask again");
            let _ = reply.send(Answer::Failed(told));
        }
    });
    tokio::select! {
        () = host.leave(replacement) => {}
        name = signals.end() => warn!("{name}: not waiting for the rest"),
    }
    // Who looks on would look on for ever.
    let _ = tokio::time::timeout(ANSWERING, clients.recv()).await;
    info!("ended in favour of process {pid}");
    outcome
}
