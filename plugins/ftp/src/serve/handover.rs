//! Control connections that go over to the instance which takes this one's place, and those that come from the one
//! before.
//!
//! One goes over between two commands. A transfer ends here first, and so does the wait for one that PASV began.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use polyport_ftp_core::crossing::{Carried, VERSION};
use polyport_ftp_core::{Control, Options, is_anonymous};
use polyport_sdk::handover::{Handover, Inherited, Luggage};
use serde::{Deserialize, Serialize};
use tracing::{debug, warn};

use super::Session;

/// What the plugin hands over.
pub(crate) const HANDOVER: Handover = Handover {
    version: VERSION,
    oldest: VERSION,
    estate: false,
};

/// How long a client that gave PASV may take for the transfer, once its connection could go.
const PASSIVE_PATIENCE: Duration = Duration::from_secs(10);

/// A connection on its way.
#[derive(Serialize, Deserialize)]
struct State {
    control: Carried,
    login: Option<Seen>,
}

/// What a login sees.
#[derive(Serialize, Deserialize)]
struct Seen {
    /// Whether it is one without an account.
    anonymous: bool,
    /// The folder on the disk that is its root.
    root: Option<PathBuf>,
}

impl Session {
    /// The service drains.
    pub(super) fn drain(&mut self) {
        if self.crossing.is_open(&self.stream) {
            self.leaving = Some(Instant::now());
        } else {
            self.control.handle_drain();
        }
    }

    /// When a connection that could go but for its PASV is sent away.
    pub(super) fn leaves_by(&self) -> Option<Instant> {
        self.leaving
            .filter(|_| self.transfer.is_none())
            .map(|leaving| leaving + PASSIVE_PATIENCE)
    }

    /// Passes the connection on, if it is between two commands; none when it is gone.
    pub(super) fn leave(mut self) -> Option<Self> {
        let Some((control, begun)) = self.control.carry(Instant::now()) else {
            return Some(self);
        };
        let account = self.login.as_ref().map(|login| login.files.account());
        let state = State {
            control,
            login: self.login.as_ref().map(|login| Seen {
                anonymous: login.anonymous,
                root: login.root.clone(),
            }),
        };
        let refused = match serde_json::to_vec(&state) {
            Ok(state) => {
                let luggage = Luggage {
                    unread: &begun,
                    state: &state,
                    account,
                    ..Luggage::default()
                };
                match self.crossing.pass(self.stream, &self.origin, luggage) {
                    Ok(()) => {
                        debug!("{}: handed over", self.peer);
                        return None;
                    }
                    Err(refused) => *refused,
                }
            }
            // a folder whose name is no text
            Err(_) => return Some(self.stay()),
        };
        self.stream = refused.stream;
        self.crossing = refused.crossing;
        Some(self.stay())
    }

    /// Ends the connection after all.
    fn stay(mut self) -> Self {
        self.leaving = None;
        self.control.handle_drain();
        self
    }

    /// Goes on with a connection of the instance before, unless it could not log in here as it is.
    pub(super) async fn take_over(&mut self, options: Options, inherited: Inherited) {
        match self.resumed(options, inherited).await {
            Ok(()) => debug!("{}: taken over", self.peer),
            Err(why) => {
                warn!("{}: not taken over: {why}", self.peer);
                self.login = None;
                self.control.handle_drain();
            }
        }
    }

    async fn resumed(&mut self, options: Options, inherited: Inherited) -> Result<(), String> {
        let state: State = serde_json::from_slice(&inherited.state)
            .map_err(|error| format!("its state: {error}"))?;
        let (tls, secured) = (options.tls.logins, options.secured);
        let now = Instant::now();
        let control = Control::resume(options, now, state.control)
            .map_err(|error| format!("its state: {}", error.0))?;
        if let Some(user) = control.user() {
            let seen = state.login.ok_or("a login that sees nothing")?;
            let account = inherited
                .account
                .ok_or("its account is not there any more")?;
            let config = &self.service.config;
            let (allowed, needs_tls) = match seen.anonymous {
                true => (config.anonymous_enable && is_anonymous(user), tls.anonymous),
                false => (!config.denies(user), tls.accounts),
            };
            if !allowed || needs_tls && secured.is_none() {
                return Err(format!("{user:?} may not log in any more as it did"));
            }
            self.admit(account, seen.anonymous)
                .await
                .map_err(|denial| format!("its folder: {denial:?}"))?;
            // the same path would be another file
            let root = self.login.as_ref().and_then(|login| login.root.as_ref());
            if root != seen.root.as_ref() {
                return Err(format!("{user:?} has another folder now"));
            }
        }
        self.control = control;
        self.control.handle_bytes(now, &inherited.unread);
        Ok(())
    }
}
