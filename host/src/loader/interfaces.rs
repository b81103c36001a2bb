//! What plugins may ask of the host: `log/1`, `accounts/1`, `metrics/1`, `control/1`, `trace/1`, one set of
//! tables for each instance. No panic leaves a function of this file.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use polyport_abi::accounts::{
    self as abi, AccountHandle, AccountsV1, Changed, DENIED_BUSY, DENIED_REFUSED, LoginDone,
    LoginRequest,
};
use polyport_abi::control::{self, ControlV1};
use polyport_abi::log::{LevelCell, LogRecord, LogV1};
use polyport_abi::metrics::{Cell, MetricsV1};
use polyport_abi::summary::SummaryV1;
use polyport_abi::trace::{TraceConnection, TraceV1};
use polyport_abi::{
    HostQuery, Interface, InterfaceTable, ROption, RResult, RSlice, RStr, RVec, offer,
};
use tokio::sync::watch;
use tracing::Level;

use crate::accounts::{Account, Accounts, Action, Denied};
use crate::logging;
use crate::trace::{self, Hub};

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
    watchers: Arc<Watchers>,
    state: watch::Sender<State>,
    level: LevelCell,
    access: LevelCell,
    cells: Mutex<BTreeMap<String, &'static Cell>>,
    trace: &'static Hub,
    summary: OnceLock<&'static SummaryV1>,
    tables: Tables,
}

struct Tables {
    log: OnceLock<LogV1>,
    accounts: OnceLock<AccountsV1>,
    metrics: OnceLock<MetricsV1>,
    control: OnceLock<ControlV1>,
    trace: OnceLock<TraceV1>,
}

/// Who wants to hear that accounts changed.
#[derive(Default)]
pub struct Watchers {
    list: Mutex<Vec<(usize, Changed)>>,
}

impl Watchers {
    /// Tells all of them.
    pub fn notify(&self) {
        for (user_data, changed) in self.lock().iter() {
            (changed.call)(*user_data as *const ());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(usize, Changed)>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for HostSide {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostSide({:?})", self.service)
    }
}

impl HostSide {
    /// The host as the instance named `service` sees it.
    pub fn new(service: &str, accounts: Arc<Accounts>, watchers: Arc<Watchers>) -> &'static Self {
        let side = Box::leak(Box::new(Self {
            service: service.to_owned(),
            accounts,
            watchers,
            state: watch::Sender::new(State::Starting),
            level: LevelCell {
                value: AtomicU64::new(0),
            },
            access: LevelCell {
                value: AtomicU64::new(0),
            },
            cells: Mutex::default(),
            trace: trace::hub(service),
            summary: OnceLock::new(),
            tables: Tables {
                log: OnceLock::new(),
                accounts: OnceLock::new(),
                metrics: OnceLock::new(),
                control: OnceLock::new(),
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

    /// Sets how its connections are told in lines; once, before it starts.
    pub fn set_summary(&self, summary: Option<&'static SummaryV1>) {
        if let Some(summary) = summary {
            // The first stays, as was promised.
            let _ = self.summary.set(summary);
        }
    }

    /// Whether it tells what passes over its connections when somebody looks.
    pub fn tells_trace(&self) -> bool {
        self.tables.trace.get().is_some()
    }

    /// Its metrics by name.
    pub fn metrics(&self) -> BTreeMap<String, u64> {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells
            .iter()
            .map(|(name, cell)| (name.clone(), cell.value.load(Ordering::Relaxed)))
            .collect()
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
            emit: log,
        })),
        AccountsV1::ID => offer(tables.accounts.get_or_init(|| AccountsV1 {
            ctx,
            login,
            anonymous,
            describe,
            allows,
            is_current,
            retain,
            release,
            watch,
            unwatch,
        })),
        MetricsV1::ID => offer(tables.metrics.get_or_init(|| MetricsV1 { ctx, cell })),
        ControlV1::ID => offer(tables.control.get_or_init(|| ControlV1 { ctx, report })),
        TraceV1::ID => offer(tables.trace.get_or_init(|| TraceV1 {
            ctx,
            watchers: side(ctx).trace.cell(),
            opened,
            received,
            sent,
            closed,
        })),
        _ => return ROption::RNone,
    };
    ROption::RSome(answer)
}

// log/1

extern "C" fn log(ctx: *const (), record: &LogRecord<'_>) {
    guard((), || {
        let level = match record.level {
            0 | 1 => Level::ERROR,
            2 => Level::WARN,
            3 => Level::INFO,
            4 => Level::DEBUG,
            _ => Level::TRACE,
        };
        let fields = record
            .fields
            .iter()
            .map(|field| (field.key.as_str().to_owned(), field.value.as_str().into()));
        logging::plugin_record(
            &side(ctx).service,
            level,
            record.target.as_str(),
            record.message.as_str(),
            fields,
        );
    });
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

// metrics/1

extern "C" fn cell(ctx: *const (), name: RStr<'_>, _kind: u32) -> &'static Cell {
    let mut cells = side(ctx)
        .cells
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    cells
        .entry(name.as_str().to_owned())
        .or_insert_with(|| Box::leak(Box::default()))
}

// trace/1

extern "C" fn opened(ctx: *const (), connection: TraceConnection<'_>) -> u64 {
    guard(u64::MAX, || {
        let side = side(ctx);
        side.trace.opened(
            connection.peer.as_str(),
            connection.local.as_str(),
            connection.scheme.as_str(),
            side.summary.get().copied(),
        )
    })
}

extern "C" fn received(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
    guard((), || {
        side(ctx).trace.received(connection, bytes.as_slice())
    });
}

extern "C" fn sent(ctx: *const (), connection: u64, bytes: RSlice<'_, u8>) {
    guard((), || side(ctx).trace.sent(connection, bytes.as_slice()));
}

extern "C" fn closed(ctx: *const (), connection: u64) {
    guard((), || side(ctx).trace.closed(connection));
}

// control/1

extern "C" fn report(ctx: *const (), state: u32, reason: RStr<'_>) {
    guard((), || {
        let reason = || reason.as_str().to_owned();
        let next = match state {
            control::STATE_READY => State::Ready,
            control::STATE_DEGRADED => State::Degraded(reason()),
            control::STATE_FAILED => State::Failed(reason()),
            control::STATE_STOPPED => State::Stopped,
            other => State::Degraded(format!(
                "it reported the state {other}, which this host does not know"
            )),
        };
        side(ctx).state.send_if_modified(|now| {
            // Degraded before ready is told with ready; an instance that ended does not come back.
            let ended = matches!(now, State::Failed(_) | State::Stopped);
            let changed = *now != next && !(ended && next != State::Stopped);
            if changed {
                *now = next;
            }
            changed
        });
    });
}

// accounts/1

/// An account and the instance that it logged in at.
struct Held {
    account: Arc<Account>,
    side: &'static HostSide,
}

fn hold(account: Arc<Account>, side: &'static HostSide) -> AccountHandle {
    AccountHandle {
        account: Arc::into_raw(Arc::new(Held { account, side })).cast(),
    }
}

fn held(handle: &AccountHandle) -> &Held {
    // SAFETY: handles are made by `hold` and used by the plugin only while it holds them.
    unsafe { &*handle.account.cast::<Held>() }
}

extern "C" fn login(
    ctx: *const (),
    request: LoginRequest<'_>,
    user_data: *mut (),
    done: LoginDone,
) {
    struct Answer(*mut (), LoginDone);
    // SAFETY: the pointer is the plugin's own and goes back to it once, from whichever thread.
    unsafe impl Send for Answer {}
    impl Answer {
        fn give(self, answer: RResult<AccountHandle, u32>) {
            (self.1.call)(self.0, answer);
        }
    }

    let answer = Answer(user_data, done);
    guard((), || {
        let side = side(ctx);
        let done = move |checked: Result<Arc<Account>, Denied>| {
            answer.give(match checked {
                Ok(account) => RResult::ROk(hold(account, side)),
                Err(Denied::Busy) => RResult::RErr(DENIED_BUSY),
                Err(Denied::Refused) => RResult::RErr(DENIED_REFUSED),
            });
        };
        side.accounts.verify_async(
            request.user.as_str(),
            request.password.as_slice(),
            &side.service,
            address(&request.peer),
            Box::new(done),
        );
    });
}

extern "C" fn anonymous(ctx: *const (), peer: RStr<'_>) -> ROption<AccountHandle> {
    guard(ROption::RNone, || {
        let side = side(ctx);
        side.accounts
            .anonymous(&side.service, address(&peer))
            .map(|account| hold(account, side))
            .into()
    })
}

extern "C" fn describe(account: AccountHandle) -> RVec<u8> {
    guard(RVec::new(), || {
        let account = &held(&account).account;
        let json =
            serde_json::json!({ "name": account.name, "id": account.id, "home": account.home });
        json.to_string().into_bytes().into()
    })
}

extern "C" fn allows(account: AccountHandle, action: u32, target: RSlice<'_, u8>) -> bool {
    guard(false, || {
        let held = held(&account);
        let (Some(action), Ok(target)) =
            (action_of(action), std::str::from_utf8(target.as_slice()))
        else {
            return false;
        };
        let Held { account, side } = held;
        side.accounts.allows(account, &side.service, action, target)
    })
}

extern "C" fn is_current(account: AccountHandle) -> bool {
    guard(false, || {
        let held = held(&account);
        held.side.accounts.is_current(&held.account)
    })
}

extern "C" fn retain(account: AccountHandle) {
    // SAFETY: the plugin holds the handle, so the count is at least one.
    unsafe { Arc::increment_strong_count(account.account.cast::<Held>()) }
}

extern "C" fn release(account: AccountHandle) {
    guard((), || {
        // SAFETY: gives back one count that `hold` or `retain` took.
        drop(unsafe { Arc::from_raw(account.account.cast::<Held>()) });
    });
}

extern "C" fn watch(ctx: *const (), user_data: *const (), changed: Changed) {
    side(ctx)
        .watchers
        .lock()
        .push((user_data as usize, changed));
}

extern "C" fn unwatch(ctx: *const (), user_data: *const ()) {
    side(ctx)
        .watchers
        .lock()
        .retain(|(other, _)| *other != user_data as usize);
}

fn address(peer: &RStr<'_>) -> Option<IpAddr> {
    peer.as_str().parse().ok()
}

fn action_of(number: u32) -> Option<Action> {
    Some(match number {
        abi::ACTION_LIST => Action::List,
        abi::ACTION_READ => Action::Read,
        abi::ACTION_WRITE => Action::Write,
        abi::ACTION_CREATE => Action::Create,
        abi::ACTION_DELETE => Action::Delete,
        abi::ACTION_SHARE => Action::Share,
        abi::ACTION_PUBLISH => Action::Publish,
        abi::ACTION_SUBSCRIBE => Action::Subscribe,
        _ => return None,
    })
}

/// Runs `call`; if it panics, `otherwise` answers. The panic hook has logged it by then.
fn guard<T>(otherwise: T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(otherwise)
}
