//! One process takes another's place: what is frozen, handed over, taken, and taken back if it fails.

use std::collections::HashMap;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use polyport_abi::handover::Described;
use sd_notify::NotifyState;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::change::Started;
use super::{Host, Next};
use crate::accounts::AccountList;
use crate::handover::Successor;
use crate::loader::Library;
use crate::loader::estate::Estate;
use crate::systemd;
use crate::upgrade::offer::Offer;
use crate::upgrade::parcels::{Receiver, Remote};
use crate::upgrade::program::Program;
use crate::upgrade::protocol::{FromNew, FromOld, Running, Welcome};
use crate::upgrade::take::{Legacy, Predecessor};
use crate::upgrade::wire::Channel;

/// What the new process may take longer than it allows itself before it is given up.
const MARGIN: Duration = Duration::from_secs(1);

/// What a process starts with that it did not make itself.
#[derive(Default)]
pub struct Origin {
    /// Sockets of the service manager.
    pub given: Vec<systemd::Given>,
    /// The process whose place it takes, with what that one had, and whether the control socket is part of it.
    pub before: Option<(Arc<Predecessor>, Legacy, bool)>,
}

/// The process whose place this one takes.
pub(super) struct Before {
    process: Arc<Predecessor>,
    /// Its accounts.
    accounts: Arc<AccountList>,
    /// Whether its control socket is taken.
    control: bool,
    /// Where its connections come from, until they are waited for.
    connections: Option<Channel>,
}

/// A new process that was told to serve.
pub struct Replacement {
    offer: Offer,
    remote: Arc<Remote>,
    takes: Vec<String>,
    /// Whether it took the control socket.
    pub control: bool,
}

impl Replacement {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.offer.pid()
    }

    /// The version of its program.
    pub fn version(&self) -> &str {
        &self.offer.version
    }
}

/// The old process's side.
impl Host {
    /// Starts the program and gives it all that runs here, up to the word to serve. `control` is the control socket.
    /// Not for a process that goes on afterwards with anything but [`Host::make_way`].
    ///
    /// # Errors
    /// Why it does not serve; then all goes on here as it was.
    pub async fn upgrade(
        &mut self,
        program: &Program,
        control: BorrowedFd<'_>,
    ) -> Result<Replacement, String> {
        info!("upgrade: starting {}", program.file().display());
        let limit = self.config.host.ready_timeout;
        let outcome = match Offer::start(program, limit).await {
            Ok(offer) => self.offer(offer, control).await,
            Err(reason) => Err(reason),
        };
        outcome.inspect_err(|reason| {
            for line in reason.lines() {
                error!("upgrade failed: {line}");
            }
            let told = format!("upgrade: {reason}");
            self.board.update(|shown| shown.last_error = Some(told));
        })
    }

    async fn offer(
        &mut self,
        mut offer: Offer,
        control: BorrowedFd<'_>,
    ) -> Result<Replacement, String> {
        let (pid, version) = (offer.pid(), offer.version.clone());
        info!("upgrade: process {pid} is polyport {version}");
        let mut taken = Started::default();
        let outcome = match self.hand_all(&mut offer, control, &mut taken).await {
            Ok((takes, control)) => {
                // From the main process alone it is believed everywhere.
                systemd::notify(&[NotifyState::MainPid(pid)]);
                let told = offer.go();
                if told.is_err() {
                    systemd::notify(&[NotifyState::MainPid(std::process::id())]);
                }
                told.map(|remote| (remote, takes, control))
            }
            Err(reason) => Err(reason),
        };
        match outcome {
            Ok((remote, takes, control)) => Ok(Replacement {
                offer,
                remote,
                takes,
                control,
            }),
            Err(reason) => {
                // Whatever it holds that only one may have must be closed before it is used here again.
                offer.give_up().await;
                self.undo(taken).await;
                Err(reason)
            }
        }
    }

    /// Answers the new process until it is ready: the services whose connections it takes, and whether it takes the
    /// control socket.
    async fn hand_all(
        &mut self,
        offer: &mut Offer,
        control: BorrowedFd<'_>,
        taken: &mut Started,
    ) -> Result<(Vec<String>, bool), String> {
        self.welcome(offer, control)?;
        let host = &self.config.host;
        let (limit, hand_over) = (host.ready_timeout, host.handover_timeout);
        let services = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let mut patience = limit.saturating_mul(services.saturating_add(1)) + MARGIN;
        // From the first freeze on.
        let mut deadline: Option<Instant> = None;
        loop {
            if let Some(deadline) = deadline {
                patience = deadline.saturating_duration_since(Instant::now());
            }
            match offer.hear(patience).await? {
                FromNew::Started { service } => info!("upgrade: service {service} is ready"),
                FromNew::Freeze { service } => {
                    let end = deadline.get_or_insert(Instant::now() + hand_over + MARGIN);
                    let estate = self.freeze_for_upgrade(&service, *end, taken).await?;
                    let (version, state, files) = estate.parts();
                    offer.say(&FromOld::Estate { version }, state, &files)?;
                }
                FromNew::End { service } => {
                    self.displace(&service, taken).await;
                    offer.say(&FromOld::Ended, &[], &[])?;
                }
                FromNew::Ready { takes, control } => return Ok((takes, control)),
                FromNew::Failed { reason } => return Err(reason),
                word @ (FromNew::Serving | FromNew::Accounts) => {
                    return Err(format!(
                        "expected the new process to get ready, got {word:?}"
                    ));
                }
            }
        }
    }

    fn welcome(&self, offer: &Offer, control: BorrowedFd<'_>) -> Result<(), String> {
        let running = self.entries.iter().filter_map(|entry| {
            let instance = entry.instance.as_ref()?;
            let library = &instance.library;
            Some(Running {
                service: entry.service.name.clone(),
                plugin: library.manifest.name.clone(),
                gives: if instance.serves() {
                    library.described_handover()
                } else {
                    Described::default()
                },
            })
        });
        let accounts = self.current.as_ref();
        let accounts = accounts.and_then(|current| current.texts.accounts.as_deref());
        let (sockets, mut files) = self.listeners.hand_over();
        files.push(control);
        let welcome = Welcome {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            running: running.collect(),
            sockets,
            control: self.config.host.control.clone(),
            accounts: accounts.is_some(),
        };
        let welcome = FromOld::Welcome(Box::new(welcome));
        offer.say(&welcome, accounts.unwrap_or_default(), &files)
    }

    async fn freeze_for_upgrade(
        &self,
        service: &str,
        deadline: Instant,
        taken: &mut Started,
    ) -> Result<Estate, String> {
        let named = |what: &str| format!("service {service}: hand-over: {what}");
        let instance = self.instance(service);
        let instance = instance.ok_or_else(|| named("expected an instance, got none"))?;
        taken
            .frozen
            .insert(service.to_owned(), std::time::Instant::now());
        let estate = instance.freeze();
        let estate = estate.ok_or_else(|| named("its plugin hands nothing over"))?;
        match tokio::time::timeout_at(deadline, estate).await {
            Ok(Ok(estate)) => estate.map_err(|reason| named(&reason)),
            Ok(Err(_)) => Err(named("its freeze was given up")),
            Err(_) => Err(named("expected it to be frozen in time, got no answer")),
        }
    }

    /// Passes all connections to the new process that can be passed, lets the others drain, and waits until that one
    /// serves.
    ///
    /// # Errors
    /// When it does not, after all.
    pub async fn make_way(&mut self, replacement: &mut Replacement) -> Result<(), String> {
        self.listeners.leave();
        let deadline = self.config.host.drain_timeout;
        for entry in self.entries.drain(..) {
            let Some(instance) = entry.instance else {
                continue;
            };
            let name = entry.service.name;
            let passes = replacement.takes.contains(&name);
            if passes {
                let destination = replacement.remote.of(&name);
                let way = self.lasting.service(&name).way;
                way.lead_to(Some(destination as Arc<dyn Successor>));
            }
            let side = instance.side;
            side.set_passage(passes);
            self.ending.spawn(async move {
                instance.end(deadline, "an upgrade").await;
                info!("service {name}: {} connections passed", side.passed());
            });
        }
        let limit = self.config.host.ready_timeout;
        match replacement.offer.hear(limit).await? {
            FromNew::Serving => Ok(()),
            other => Err(format!("expected the new process to serve, got {other:?}")),
        }
    }

    /// Waits until the last connection here has ended. Accounts count until then as they are in the new process.
    pub async fn leave(mut self, replacement: Replacement) {
        let told = replacement.offer.accounts();
        let mut told = told
            .inspect_err(|error| warn!("upgrade: accounts of the new process: {error}"))
            .ok();
        let file = self.config.host.accounts.clone();
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                ended = self.ending.join_next() => if ended.is_none() {
                    return;
                },
                Some(bytes) = next(&mut told) => match AccountList::parse(&file, &bytes) {
                    Ok(list) => {
                        self.accounts.replace(Arc::new(list));
                        self.accounts_changed();
                    }
                    Err(problems) => warn!("upgrade: accounts of the new process: {problems}"),
                },
                _ = clock.tick() => if self.accounts.expired_since_last() {
                    self.accounts_changed();
                },
            }
        }
    }
}

async fn next(told: &mut Option<mpsc::UnboundedReceiver<Vec<u8>>>) -> Option<Vec<u8>> {
    told.as_mut()?.recv().await
}

/// The new process's side.
impl Host {
    /// Takes over what another process or the service manager gave, before anything is started.
    ///
    /// # Errors
    /// When it cannot be used.
    pub(super) fn begin_from(&mut self, origin: Origin) -> Result<(), String> {
        self.listeners.take_given(origin.given);
        let Some((process, legacy, control)) = origin.before else {
            return Ok(());
        };
        self.listeners.inherit(legacy.told.sockets, legacy.sockets);
        if let Some(bytes) = &legacy.accounts {
            let list = AccountList::parse(&self.config.host.accounts, bytes)
                .map_err(|problems| format!("the accounts of the process before: {problems}"))?;
            // Those that do not change now stay the same, so that sessions of them go on.
            self.accounts.replace(Arc::new(list));
        }
        self.before = Some(Before {
            process,
            accounts: self.accounts.list(),
            control,
            connections: None,
        });
        Ok(())
    }

    /// What the process before runs as this service.
    pub(super) fn running_before(&self, service: &str) -> Option<&Running> {
        self.before.as_ref()?.process.running(service)
    }

    /// Whether another process goes on if this one does not get ready.
    pub(super) fn replaces(&self) -> bool {
        self.before.is_some()
    }

    /// Tells the process before that a service is ready.
    pub(super) fn tell_started(&self, service: &str) -> Result<(), String> {
        match &self.before {
            Some(before) => before.process.started(service),
            None => Ok(()),
        }
    }

    /// Has the process before end a service, if it runs there.
    pub(super) fn displace_before(&self, service: &str) -> Result<(), String> {
        match &self.before {
            Some(before) if before.process.running(service).is_some() => {
                tokio::task::block_in_place(|| before.process.end(service))
            }
            _ => Ok(()),
        }
    }

    /// What the process before has of a service that only one may have; none without such a process.
    pub(super) fn estate_before(&self, service: &str) -> Option<Result<Estate, String>> {
        let before = self.before.as_ref()?;
        Some(tokio::task::block_in_place(|| {
            before.process.freeze(service)
        }))
    }

    /// Waits for the word to serve, if another process has to give it.
    ///
    /// # Errors
    /// When it is not given.
    pub(super) fn await_the_word(&mut self, next: &Next) -> Result<(), String> {
        let Some(before) = &mut self.before else {
            return Ok(());
        };
        let takes = next.services.iter().filter(|next| {
            let library = next.library.as_ref().filter(|_| next.error.is_none());
            let running = before.process.running(&next.service.name);
            library
                .zip(running)
                .is_some_and(|(library, running)| takes(library, running))
        });
        let takes = takes.map(|next| next.service.name.clone()).collect();
        let channel = tokio::task::block_in_place(|| before.process.ready(takes, before.control))?;
        before.connections = Some(channel);
        Ok(())
    }

    /// Takes the connections of the process before, now that somebody is there to serve them.
    pub(super) fn receive_connections(&mut self) {
        let Some(before) = &mut self.before else {
            return;
        };
        let Some(channel) = before.connections.take() else {
            return;
        };
        let services = self.entries.iter().map(|entry| {
            let name = &entry.service.name;
            (name.clone(), self.lasting.service(name))
        });
        let receiver = Receiver {
            accounts: Arc::clone(&self.accounts),
            before: Arc::clone(&before.accounts),
            services: services.collect::<HashMap<_, _>>(),
        };
        if let Err(error) = receiver.start(channel) {
            error!("upgrade: connections cannot be taken over: {error}");
        }
    }

    /// Tells the process before that this one serves now.
    pub fn tell_serving(&mut self) {
        if let Some(process) = &self.draining {
            process.serving();
        }
        self.tell_accounts();
    }

    /// Tells the process before, as long as it has connections, what accounts are in force.
    pub(super) fn tell_accounts(&mut self) {
        let accounts = self.current.as_ref();
        let accounts = accounts.and_then(|current| current.texts.accounts.as_deref());
        let told = |process: &Arc<Predecessor>| {
            tokio::task::block_in_place(|| process.accounts(accounts.unwrap_or_default()))
        };
        if self.draining.as_ref().is_some_and(|process| !told(process)) {
            self.draining = None;
        }
    }
}

impl Before {
    /// The process, once this one serves.
    pub(super) fn into_process(self) -> Arc<Predecessor> {
        self.process
    }
}

/// Whether an instance of a library can take what only one may have from what runs in the process before.
pub(super) fn inherits(library: &Library, running: &Running) -> bool {
    takes(library, running) && library.described_handover().estate && running.gives.estate
}

/// Whether an instance of a library can take the connections of what runs in the process before.
fn takes(library: &Library, running: &Running) -> bool {
    library.handover().is_some()
        && library.manifest.name == running.plugin
        && library.described_handover().takes(&running.gives)
}
