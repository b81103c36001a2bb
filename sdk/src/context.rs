//! What an instance knows of its host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use polyport_abi::HostQuery;
use polyport_abi::control::{ControlV1, STATE_DEGRADED, STATE_READY};
use tokio_util::sync::CancellationToken;

use crate::accounts::Accounts;
use crate::cores::Cores;
use crate::files::Folders;
use crate::handover::{Estate, Succession};
use crate::metrics::Metrics;
use crate::net::Stream;
use crate::tap::{Line, Lines, Trace};
use crate::tls::Tls;

/// The instance's view of the host; cloning shares it.
#[derive(Debug, Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    instance: String,
    state_dir: PathBuf,
    base_dir: PathBuf,
    listen: Vec<(String, String)>,
    /// Those that came after the start, by their places.
    added: RwLock<BTreeMap<u32, (String, String)>>,
    accounts: Accounts,
    folders: Folders,
    metrics: Metrics,
    lines: Lines,
    tls: Option<Tls>,
    control: Option<&'static ControlV1>,
    /// What is wrong already while it starts; none once it serves.
    starting: Mutex<Option<Starting>>,
    drain: CancellationToken,
    succession: Arc<Succession>,
    cores: Cores,
}

/// An instance that does not serve yet.
#[derive(Debug, Default)]
struct Starting {
    degraded: Option<String>,
}

impl Context {
    pub(crate) fn new(
        request: &polyport_abi::plugin::StartRequest,
        host: HostQuery,
        alpn: &'static [&'static str],
        control: Option<&'static ControlV1>,
        (drain, succession, cores): (CancellationToken, Arc<Succession>, Cores),
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                instance: request.instance.clone(),
                state_dir: request.state_dir.clone(),
                base_dir: request.base_dir.clone(),
                listen: request
                    .listeners
                    .iter()
                    .map(|l| (l.scheme.clone(), l.address.clone()))
                    .collect(),
                added: RwLock::default(),
                accounts: Accounts::new(host),
                folders: Folders::new(host),
                metrics: Metrics::new(host),
                lines: Lines::new(Trace::new(host)),
                tls: Tls::new(host, alpn),
                control,
                starting: Mutex::new(Some(Starting::default())),
                drain,
                succession,
                cores,
            }),
        }
    }

    /// The instance's name in the configuration.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// A folder that is the instance's own and outlives it.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.inner.state_dir
    }

    /// A path from the settings: relative ones start at the configuration file's folder.
    #[must_use]
    pub fn resolve(&self, path: impl AsRef<Path>) -> PathBuf {
        self.inner.base_dir.join(path)
    }

    /// Scheme and bound address of each listener that it was started with.
    #[must_use]
    pub fn listeners(&self) -> &[(String, String)] {
        &self.inner.listen
    }

    /// Scheme and bound address of the listener of a place ([`Connection::listener`](crate::Connection::listener)).
    #[must_use]
    pub fn listener(&self, place: u32) -> Option<(String, String)> {
        let added = self.inner.added.read();
        let added = added.unwrap_or_else(PoisonError::into_inner);
        let known = || self.inner.listen.get(place as usize);
        added.get(&place).or_else(known).cloned()
    }

    /// A listener came to this place.
    pub(crate) fn add_listener(&self, place: u32, scheme: &str, address: &str) {
        let added = self.inner.added.write();
        let mut added = added.unwrap_or_else(PoisonError::into_inner);
        added.insert(place, (scheme.into(), address.into()));
    }

    /// The cores that the instance runs on.
    #[must_use]
    pub fn cores(&self) -> &Cores {
        &self.inner.cores
    }

    /// The host's accounts.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.inner.accounts
    }

    /// Numbers that the host shows.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// A connection that belongs to the instance though none of its listeners accepted it, so that it can be
    /// looked at as well. `scheme` is the plugin's own word for what it is.
    #[must_use]
    pub fn stream(&self, stream: tokio::net::TcpStream, scheme: &str) -> Stream {
        Stream::tapped(stream, self.line(scheme))
    }

    /// The instance's TLS, for connections that the plugin turns over to it (FTP's `AUTH TLS`); none while the
    /// service has no certificate. Connections of TLS listeners come with their handshake done.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.inner.tls.clone().filter(Tls::is_configured)
    }

    pub(crate) fn folders(&self) -> &Folders {
        &self.inner.folders
    }

    pub(crate) fn line(&self, scheme: &str) -> Arc<Line> {
        self.inner.lines.of(scheme)
    }

    /// In [`Plugin::start`](crate::Plugin::start): what the instance before leaves, which is waited for; none for
    /// one that takes nobody's place. Once.
    pub async fn inheritance(&self) -> Option<Estate> {
        self.inner.succession.inheritance().await
    }

    /// Resolves when the instance serves: before, one that takes another's place must change nothing outside of
    /// itself.
    pub async fn activated(&self) {
        self.inner.succession.active.cancelled().await;
    }

    /// Resolves when drain begins.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.inner.drain.clone().cancelled_owned()
    }

    /// Whether drain has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.inner.drain.is_cancelled()
    }

    /// Tells the operator that the instance serves, but something is wrong. One that starts is told of as soon as it
    /// serves.
    pub fn degraded(&self, reason: &str) {
        self.condition(Some(reason));
    }

    /// Takes [`Context::degraded`] back.
    pub fn recovered(&self) {
        self.condition(None);
    }

    fn condition(&self, degraded: Option<&str>) {
        let mut starting = self.starting();
        match &mut *starting {
            Some(starting) => starting.degraded = degraded.map(str::to_owned),
            None => self.report_condition(degraded),
        }
    }

    /// It serves from now on.
    pub(crate) fn serves(&self) {
        // The lock is held for what follows: nothing that is said meanwhile comes before it. Hosts of the first release
        // wait for `ready`.
        let mut starting = self.starting();
        self.report_condition(None);
        if let Some(degraded) = starting.take().and_then(|starting| starting.degraded) {
            self.report_condition(Some(&degraded));
        }
    }

    fn starting(&self) -> MutexGuard<'_, Option<Starting>> {
        let starting = self.inner.starting.lock();
        // A panic while it was held left it whole.
        starting.unwrap_or_else(PoisonError::into_inner)
    }

    fn report_condition(&self, degraded: Option<&str>) {
        match degraded {
            Some(reason) => self.report(STATE_DEGRADED, reason),
            None => self.report(STATE_READY, ""),
        }
    }

    pub(crate) fn report(&self, state: u32, reason: &str) {
        if let Some(control) = self.inner.control {
            (control.report)(control.ctx, state, reason.into());
        }
    }
}
