//! What plugins may ask of the host, one set of tables for each instance; each interface has its file. No panic
//! leaves them.

mod accounts;
mod accounts2;
mod arrival;
mod control;
mod folders;
mod limits;
mod log;
mod metrics;
mod named;
mod passage;
mod scram;
mod tls;
mod trace;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use polyport_abi::accounts::AccountsV1;
use polyport_abi::accounts2::AccountsV2;
use polyport_abi::control::ControlV1;
use polyport_abi::folders::FoldersV1;
use polyport_abi::handover::PassageV1;
use polyport_abi::limits::LimitsV1;
use polyport_abi::log::{LevelCell, LogV1};
use polyport_abi::metrics::MetricsV1;
use polyport_abi::named::NamedV1;
use polyport_abi::scram::ScramV1;
use polyport_abi::summary::SummaryV1;
use polyport_abi::tls::TlsV1;
use polyport_abi::trace::TraceV1;
use polyport_abi::{HostQuery, Interface, InterfaceTable, ROption, RStr, offer};
use tokio::sync::watch;
use tracing::Level;

pub use self::accounts::Watchers;
pub use self::arrival::arrive;
pub use self::passage::Passing;
use crate::accounts::{Accounts, Entrance};
use crate::config::Folder;
use crate::handover::Way;
use crate::lasting::Lasting;
use crate::limits::Rules;
use crate::logging;
use crate::tls::Loaded;
use crate::trace::{Hub, hub};

/// How an instance says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has not said anything yet.
    Starting,
    /// It serves.
    Ready,
    /// It serves, but something is wrong.
    Degraded(String),
    /// It does not serve.
    Failed(String),
    /// It drained.
    Stopped,
}

/// What one instance sees of the host. Made once for each and never freed: its threads may outlive its end.
pub struct HostSide {
    service: String,
    accounts: Arc<Accounts>,
    entrance: Arc<Entrance>,
    watchers: Arc<Watchers>,
    state: watch::Sender<State>,
    level: LevelCell,
    access: LevelCell,
    cells: Mutex<metrics::Cells>,
    trace: &'static Hub,
    summary: OnceLock<&'static SummaryV1>,
    folders: folders::Shown,
    limits: limits::Limits,
    tls: tls::Held,
    way: Arc<Way>,
    passage: passage::Passage,
    tables: Tables,
}

struct Tables {
    log: OnceLock<LogV1>,
    accounts: OnceLock<AccountsV1>,
    accounts2: OnceLock<AccountsV2>,
    metrics: OnceLock<MetricsV1>,
    named: OnceLock<NamedV1>,
    control: OnceLock<ControlV1>,
    folders: OnceLock<FoldersV1>,
    limits: OnceLock<LimitsV1>,
    tls: OnceLock<TlsV1>,
    passage: OnceLock<PassageV1>,
    scram: OnceLock<ScramV1>,
    trace: OnceLock<TraceV1>,
}

impl std::fmt::Debug for HostSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostSide({:?})", self.service)
    }
}

impl HostSide {
    /// The host as the instance named `service` sees it.
    pub fn new(
        service: &str,
        accounts: Arc<Accounts>,
        watchers: Arc<Watchers>,
        lasting: Lasting,
    ) -> &'static Self {
        let side = Box::leak(Box::new(Self {
            service: service.to_owned(),
            accounts,
            entrance: lasting.entrance,
            watchers,
            state: watch::Sender::new(State::Starting),
            level: LevelCell {
                value: AtomicU64::new(0),
            },
            access: LevelCell {
                value: AtomicU64::new(0),
            },
            cells: Mutex::default(),
            trace: hub(service),
            summary: OnceLock::new(),
            folders: folders::Shown::default(),
            limits: limits::Limits::new(lasting.counts),
            tls: tls::Held::default(),
            way: lasting.way,
            passage: passage::Passage::default(),
            tables: Tables {
                log: OnceLock::new(),
                accounts: OnceLock::new(),
                accounts2: OnceLock::new(),
                metrics: OnceLock::new(),
                named: OnceLock::new(),
                control: OnceLock::new(),
                folders: OnceLock::new(),
                limits: OnceLock::new(),
                tls: OnceLock::new(),
                passage: OnceLock::new(),
                scram: OnceLock::new(),
                trace: OnceLock::new(),
            },
        }));
        side.refresh_log();
        side
    }

    /// What is handed to the plugin's `start`.
    pub fn query(&'static self) -> HostQuery {
        HostQuery {
            ctx: std::ptr::from_ref(self).cast(),
            interface,
        }
    }

    /// The name of its service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The instance's state and its changes.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Sets the state on the instance's behalf.
    pub fn set_state(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Takes the configured level and access log over into the cells that the plugin reads.
    pub fn refresh_log(&self) {
        let level = logging::service_level(&self.service);
        self.level.value.store(
            level.into_level().map_or(0, |level| number(level).into()),
            Ordering::Relaxed,
        );
        let access = logging::wants_access().into();
        self.access.value.store(access, Ordering::Relaxed);
    }

    /// Sets what each of its listeners is held to, from now on.
    pub fn set_limits(&self, rules: Vec<Rules>) {
        self.limits.set(rules);
    }

    /// Sets what it holds its handshakes with from now on; none: no TLS.
    pub fn set_tls(&self, tls: Option<&Loaded>) {
        let material = tls.map_or_else(|| Arc::from([]), |tls| Arc::clone(&tls.material));
        self.tls.set(material);
    }

    /// Sets how its connections are told in lines; once, before it starts.
    pub fn set_summary(&self, summary: Option<&'static SummaryV1>) {
        if let Some(summary) = summary {
            // The first stays, as was promised.
            let _ = self.summary.set(summary);
        }
    }

    /// Which plugin it is an instance of; once, before it starts.
    pub fn is_of(&self, plugin: &str) {
        self.passage.is_of(plugin);
    }

    /// Whether it may pass its connections on, from now on.
    pub fn set_passage(&self, open: bool) {
        self.passage.set_open(open);
    }

    /// How many connections it passed on.
    pub fn passed(&self) -> u64 {
        self.passage.passed()
    }

    /// The place of one of its listeners, by what [`Rules::listener`] says.
    pub fn listener(&self, name: &str) -> Option<u32> {
        self.limits.place(name)
    }

    /// Whether it tells what passes over its connections when somebody looks.
    pub fn tells_trace(&self) -> bool {
        self.tables.trace.get().is_some()
    }

    /// Whether it asked which folders it shows.
    pub fn shows_folders(&self) -> bool {
        self.tables.folders.get().is_some()
    }

    /// Gives it these folders to show.
    pub fn set_folders(&self, folders: Vec<Folder>) {
        self.folders.set(folders);
    }

    /// Lets go of what is its own and not needed any more: it has ended.
    pub fn forget(&self) {
        self.set_folders(Vec::new());
        self.set_limits(Vec::new());
        self.set_tls(None);
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.forget();
    }

    /// Its metrics by name.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.values()
    }
}

/// The host's side behind a `ctx`.
fn side(ctx: *const ()) -> &'static HostSide {
    // SAFETY: every `ctx` that this host gives out is a leaked `HostSide`, and plugins hand it back unchanged.
    unsafe { &*ctx.cast::<HostSide>() }
}

extern "C" fn interface(ctx: *const (), id: RStr<'_>) -> ROption<Interface> {
    let tables = &side(ctx).tables;
    let answer = match id.as_str() {
        LogV1::ID => offer(tables.log.get_or_init(|| LogV1 {
            ctx,
            level: &side(ctx).level,
            access: &side(ctx).access,
            emit: log::emit,
        })),
        AccountsV1::ID => offer(tables.accounts.get_or_init(|| AccountsV1 {
            ctx,
            login: accounts::login,
            anonymous: accounts::anonymous,
            describe: accounts::describe,
            allows: accounts::allows,
            is_current: accounts::is_current,
            retain: accounts::retain,
            release: accounts::release,
            watch: accounts::watch,
            unwatch: accounts::unwatch,
        })),
        AccountsV2::ID => offer(tables.accounts2.get_or_init(|| accounts2::table(ctx))),
        ScramV1::ID => offer(tables.scram.get_or_init(|| scram::table(ctx))),
        NamedV1::ID => offer(tables.named.get_or_init(|| named::table(ctx))),
        MetricsV1::ID => offer(tables.metrics.get_or_init(|| MetricsV1 {
            ctx,
            cell: metrics::cell,
        })),
        ControlV1::ID => offer(tables.control.get_or_init(|| ControlV1 {
            ctx,
            report: control::report,
        })),
        FoldersV1::ID => offer(tables.folders.get_or_init(|| FoldersV1 {
            ctx,
            revision: side(ctx).folders.revision(),
            current: folders::current,
        })),
        LimitsV1::ID => offer(tables.limits.get_or_init(|| LimitsV1 {
            ctx,
            revision: side(ctx).limits.revision(),
            current: limits::current,
            trusts: limits::trusts,
            admit: limits::admit,
            release: limits::release,
        })),
        TlsV1::ID => offer(tables.tls.get_or_init(|| TlsV1 {
            ctx,
            revision: side(ctx).tls.revision(),
            material: tls::material,
        })),
        PassageV1::ID => offer(tables.passage.get_or_init(|| PassageV1 {
            ctx,
            open: side(ctx).passage.open(),
            pass: passage::pass,
        })),
        TraceV1::ID => offer(tables.trace.get_or_init(|| TraceV1 {
            ctx,
            watchers: side(ctx).trace.cell(),
            opened: trace::opened,
            received: trace::received,
            sent: trace::sent,
            closed: trace::closed,
        })),
        _ => return ROption::RNone,
    };
    ROption::RSome(answer)
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Runs `call`; if it panics, `otherwise` answers. The panic hook has logged it by then.
fn guard<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(otherwise)
}
