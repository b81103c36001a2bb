//! One bridge at work: connects, relays, and tries again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use polyport_mqtt_core::codec::Version;
use polyport_mqtt_core::codec::subscribe::RetainHandling;
use polyport_mqtt_core::{AllowAll, Authorizer};
use polyport_sdk::Context;
use polyport_sdk::accounts::Account;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::link::{Ended, Link};
use super::local::{Halted, Local, Wanted};
use super::memory::Memory;
use super::relay::{Relay, Retain, Terms};
use super::remote::{self, Failure, Greeting, Manner, Remote};
use super::report::Report;
use super::topics::Topics;
use crate::client::packets;
use crate::config::bridges::Bridge;
use crate::engine::{Engine, Standing};
use crate::login;

/// A connection that held this long was no failure.
const HELD: Duration = Duration::from_secs(10);

/// One bridge.
pub(super) struct Work {
    pub(super) name: String,
    pub(super) settings: Bridge,
    pub(super) engine: Arc<Engine>,
    pub(super) context: Context,
    pub(super) memory: Memory,
    /// What this broker is called.
    pub(super) own: String,
    pub(super) report: Arc<Report>,
    pub(super) stop: Stop,
}

/// How a bridge is told to end.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    /// It ends.
    pub(super) ends: CancellationToken,
    /// It is not to come back: what was subscribed to is unsubscribed from.
    pub(super) forgets: CancellationToken,
}

/// Why a connection is over.
enum Over {
    /// It is to be tried again, for this reason.
    Failed(String),
    /// The engine does not serve: it will again, or the bridge ends.
    Halted,
    /// The bridge ends.
    Ends,
}

impl From<Halted> for Over {
    fn from(_: Halted) -> Self {
        Over::Halted
    }
}

impl Work {
    /// The client identifier of its session here.
    pub(super) fn local_client(name: &str) -> String {
        format!("{}{name}", polyport_mqtt_core::broker::LOCAL_CLIENT)
    }

    /// Works until it is told to stop, or another instance serves.
    pub(super) async fn run(self) {
        let topics = Topics::new(&self.settings.topics);
        self.report.down(&self.engine, None);
        let mut fresh = true;
        while fresh {
            match self.begin_session(&topics).await {
                Ok(()) => fresh = false,
                Err(Over::Halted) => {}
                Err(Over::Ends) => return,
                Err(Over::Failed(why)) => {
                    self.failed(&why, Duration::from_secs(1));
                    if self.pause(Duration::from_secs(1)).await.is_err() {
                        return;
                    }
                }
            }
        }
        let (mut address, mut manner) = (0, None);
        let least = Duration::from_secs(self.settings.restart_min.into());
        let most = Duration::from_secs(self.settings.restart_max.into());
        let mut wait = least;
        loop {
            let started = Instant::now();
            let why = match self.connect_once(&topics, &mut address, &mut manner).await {
                Over::Ends => break,
                Over::Halted => {
                    self.report.down(&self.engine, None);
                    continue;
                }
                Over::Failed(why) => why,
            };
            if self.report.was_up() && started.elapsed() >= HELD {
                wait = least;
            }
            let pause = jittered(least, wait, most);
            wait = pause;
            self.failed(&why, pause);
            if self.pause(pause).await.is_err() {
                break;
            }
        }
        self.report.down(&self.engine, None);
    }

    /// Sees to it that messages wait here for a broker that was not reached yet.
    async fn begin_session(&self, topics: &Topics) -> Result<(), Over> {
        let client_id = Self::local_client(&self.name);
        if self.engine.local_session(&client_id).is_some() {
            return Ok(());
        }
        // Whoever was there knows another session.
        self.memory_done(self.memory.forget(&self.name));
        self.serving().await?;
        let rights = self.rights()?.0;
        let wanted = Wanted {
            client_id: &client_id,
            window: 1,
            filters: topics.local_filters(),
            retained: RetainHandling::DoNotSend,
        };
        drop(Local::open(&self.engine, rights, &wanted)?);
        Ok(())
    }

    /// One connection, from the first address that answers, to its end.
    async fn connect_once(
        &self,
        topics: &Topics,
        address: &mut usize,
        manner: &mut Option<Manner>,
    ) -> Over {
        if let Err(over) = self.serving().await {
            return over;
        }
        if !self.settings.round_robin {
            *address = 0;
        }
        let mut why = String::new();
        for _ in 0..self.settings.addresses.len() {
            let at = &self.settings.addresses[*address % self.settings.addresses.len()];
            *address += 1;
            let connecting = self.greet(at, manner);
            let connected = tokio::select! {
                connected = connecting => connected,
                () = self.stop.ends.cancelled() => return Over::Ends,
                () = self.engine.moved(Standing::Serving) => {
                    return Over::Halted;
                }
            };
            match connected {
                Ok(remote) => {
                    return match self.relay(topics, at, remote).await {
                        Ok(over) | Err(over) => over,
                    };
                }
                Err(text) => why = text,
            }
        }
        Over::Failed(why)
    }

    /// Tries the manners from the one that was right last.
    async fn greet(&self, address: &str, manner: &mut Option<Manner>) -> Result<Remote, String> {
        let filters = self.memory.filters(&self.name);
        let client_id = match &self.settings.client_id {
            Some(client_id) => client_id.clone(),
            None => format!("{}.{}", self.name, self.own),
        };
        let greeting = Greeting {
            client_id: &client_id,
            clean: self.settings.clean_start || filters.is_none(),
            name: &self.own,
            receive_maximum: self.settings.max_inflight_messages,
        };
        let manners = remote::manners(&self.settings);
        let known = manner.filter(|known| manners.contains(known));
        let others = manners.iter().copied().filter(|one| Some(*one) != known);
        let mut why = String::new();
        for one in known.into_iter().chain(others) {
            let (settings, context) = (&self.settings, &self.context);
            match remote::connect(settings, context, address, one, &greeting).await {
                Ok(remote) => {
                    *manner = Some(one);
                    return Ok(remote);
                }
                Err(Failure::Version(text)) => why = text,
                Err(failure) => return Err(failure.text()),
            }
        }
        Err(why)
    }

    /// Relays to the end of the connection.
    async fn relay(&self, topics: &Topics, address: &str, remote: Remote) -> Result<Over, Over> {
        let (rights, account) = self.rights()?;
        let present = remote.connack.session_present;
        let client_id = Self::local_client(&self.name);
        let theirs = remote.connack.receive_maximum.unwrap_or(u16::MAX);
        let wanted = Wanted {
            client_id: &client_id,
            window: theirs.min(self.settings.max_inflight_messages),
            filters: topics.local_filters(),
            // A broker that has forgotten everything has no retained messages of ours either.
            retained: match present {
                true => RetainHandling::SendIfNew,
                false => RetainHandling::Send,
            },
        };
        let local = Local::open(&self.engine, rights, &wanted)?;
        if !present {
            self.engine.forget_received(local.id()).ok_or(Halted)?;
        }
        let terms = Terms::new(remote.version, &remote.connack);
        let retain = Retain {
            outgoing: self.settings.outgoing_retain,
            incoming: self.settings.incoming_retain,
        };
        let relay = Relay::new(topics.clone(), retain, &self.own, terms);
        let before = self.memory.filters(&self.name).unwrap_or_default();
        let filters = topics.remote_filters();
        let gone: Vec<&str> = before
            .iter()
            .map(String::as_str)
            .filter(|filter| filters.iter().all(|(wanted, _)| wanted != filter))
            .collect();
        let version = match remote.version {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V5 => "5",
        };
        info!(
            bridge = %self.name,
            "connected to {address} by MQTT {version}, session {}",
            if present { "present" } else { "new" }
        );
        self.report.up(&self.engine, address);
        let mut link = Link::new(&self.settings, local, remote, relay, &self.report);
        link.subscribe(&filters, &gone);
        let wanted = filters.iter().map(|(filter, _)| *filter);
        // What is unsubscribed from is forgotten when the other broker has answered: until then it may still be there.
        let standing = gone.iter().copied().filter(|_| present);
        self.keep_filters(wanted.clone().chain(standing)).await;
        let relaying = async {
            loop {
                match link.run(&self.name, &filters).await {
                    Ok(codes) => {
                        let refused = self.refused(&gone, &codes);
                        self.keep_filters(wanted.clone().chain(refused)).await;
                    }
                    Err(ended) => break ended,
                }
            }
        };
        let ended = tokio::select! {
            ended = relaying => ended,
            () = self.stop.ends.cancelled() => Ended::Here,
            () = self.engine.moved(Standing::Serving) => Ended::Here,
            () = revoked(account.as_ref()) => Ended::Failed("the account changed or was removed".into()),
        };
        match ended {
            Ended::Failed(why) => Ok(Over::Failed(format!("{address}: {why}"))),
            Ended::Here => {
                let forgets = self.stop.forgets.is_cancelled();
                let unsubscribed: Vec<&str> = wanted.filter(|_| forgets).collect();
                link.leave(&unsubscribed, forgets).await;
                if self.stop.ends.is_cancelled() {
                    return Ok(Over::Ends);
                }
                Ok(Over::Halted)
            }
        }
    }

    fn rights(&self) -> Result<(Arc<dyn Authorizer>, Option<Account>), Over> {
        let Some(name) = &self.settings.account else {
            return Ok((Arc::new(AllowAll), None));
        };
        match self.context.accounts().named(name) {
            Some(account) => Ok((login::rights(account.clone()), Some(account))),
            None => Err(Over::Failed(format!(
                "account: expected one of accounts.ini for this service, got {name:?}"
            ))),
        }
    }

    /// Waits until the engine serves; never again if another one does.
    async fn serving(&self) -> Result<(), Over> {
        loop {
            let standing = self.engine.standing();
            match standing {
                Standing::Serving if self.context.is_draining() => return Err(Over::Ends),
                Standing::Serving => return Ok(()),
                Standing::Retired => return Err(Over::Ends),
                Standing::Frozen => tokio::select! {
                    () = self.engine.moved(standing) => {}
                    () = self.stop.ends.cancelled() => return Err(Over::Ends),
                },
            }
        }
    }

    async fn pause(&self, time: Duration) -> Result<(), Over> {
        tokio::select! {
            () = tokio::time::sleep(time) => self.serving().await,
            () = self.stop.ends.cancelled() => Err(Over::Ends),
            () = self.context.draining() => Err(Over::Ends),
        }
    }

    fn failed(&self, why: &str, pause: Duration) {
        if self.report.down(&self.engine, Some(why)) {
            warn!(bridge = %self.name, "{why}; tried again in {pause:.1?}, then without a word");
        }
    }

    /// Those filters of an UNSUBSCRIBE that are subscribed to still: it is tried again with the next connection.
    fn refused<'a>(&self, gone: &[&'a str], codes: &[u8]) -> Vec<&'a str> {
        let answered = gone.iter().zip(codes);
        let refused = answered.filter(|(_, code)| **code >= 0x80);
        let refused = refused.map(|(filter, code)| {
            let reason = packets::reason(*code);
            warn!(bridge = %self.name, "the subscription to {filter:?} could not be given up there: {reason}");
            *filter
        });
        refused.collect()
    }

    /// Keeps what is subscribed to there. The disk may take its time, which is nobody else's.
    async fn keep_filters(&self, filters: impl Iterator<Item = &str>) {
        let filters: Vec<String> = filters.map(str::to_owned).collect();
        let (memory, name) = (self.memory.clone(), self.name.clone());
        let keeping = tokio::task::spawn_blocking(move || match memory.filters(&name) {
            Some(kept) if kept == filters => Ok(()),
            _ => memory.keep_filters(&name, &filters),
        });
        let kept = keeping.await.map_err(std::io::Error::other);
        self.memory_done(kept.flatten());
    }

    fn memory_done(&self, done: std::io::Result<()>) {
        if let Err(error) = done {
            warn!(bridge = %self.name, "what it has subscribed to cannot be kept: {error}");
        }
    }
}

async fn revoked(account: Option<&Account>) {
    match account {
        Some(account) => account.revoked().await,
        None => std::future::pending().await,
    }
}

/// Between the least pause and three times the last one: bridges that were thrown out together do not come back
/// together.
fn jittered(least: Duration, last: Duration, most: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random numbers the pause is the longest of its range.
    if getrandom::fill(&mut random).is_err() {
        random = [0xff; 4];
    }
    let share = f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX);
    let range = (last * 3).saturating_sub(least);
    (least + range.mul_f64(share)).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_their_cap_and_never_below_the_least() {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut last = least;
        let mut longest = Duration::ZERO;
        for _ in 0..1_000 {
            last = jittered(least, last, most);
            assert!((least..=most).contains(&last), "{last:?}");
            longest = longest.max(last);
        }
        assert_eq!(longest, most);
    }
}
