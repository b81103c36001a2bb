//! The boundary: functions that the host calls and that call the host. All of the SDK's `unsafe` is here.
//! No panic leaves a function of this file.

mod handover;
mod listeners;
mod operate;

use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};
use std::time::Duration;

use polyport_abi::accounts::AccountHandle;
use polyport_abi::control::ControlV1;
use polyport_abi::log::LogV1;
use polyport_abi::plugin::{InstanceHandle, SettingProblem, StartListener, StartRequest};
use polyport_abi::scram::Proven;
use polyport_abi::summary::{DIRECTION_RECEIVED, SummaryHandle};
use polyport_abi::{
    HostQuery, InterfaceError, InterfaceTable, RResult, RSlice, RStr, RString, RVec, find,
};
use tokio::sync::watch;

use crate::accounts::{PendingLogin, PendingProof};
use crate::handover::{Passage, Succession};
use crate::instance::{Instance, Listener, ListenerSocket, panic_text};
use crate::limits::Gate;
use crate::summary::{Direction, Summary};
use crate::{Context, Plugin};
pub use handover::{activate, adopt, freeze, inherit, start as handover_start, thaw};
pub use listeners::change as change_listeners;
pub use operate::{begin as operate_begin, end as operate_end, next as operate_next};

/// Exports a plugin from its library.
///
/// ```ignore
/// export_plugin!(Echo { name: "echo" });
/// export_plugin!(Store { name: "store", exclusive: true });
/// ```
/// `name` is what `plugin = "…"` in the configuration says. `exclusive: true` is for a plugin with a store
/// that only one instance may have open: a swap then stops the old instance before it starts the new one.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty { name: $name:literal $(,)? }) => {
        $crate::export_plugin!($plugin {
            name: $name,
            exclusive: false
        });
    };
    ($plugin:ty { name: $name:literal, exclusive: $exclusive:literal $(,)? }) => {
        const _: () = {
            use $crate::glue;
            const PARTS: &[&str] = &[
                concat!(
                    "{\"name\":\"",
                    $name,
                    "\",\"version\":\"",
                    env!("CARGO_PKG_VERSION")
                ),
                "\",\"sdk\":\"",
                glue::SDK_VERSION,
                "\",\"abi\":\"",
                glue::ABI_VERSION,
                "\",\"abi_generation\":1,\"panic\":\"",
                if cfg!(panic = "unwind") {
                    "unwind"
                } else {
                    "abort"
                },
                concat!("\",\"entry\":\"polyport_entry_", env!("CARGO_CRATE_NAME")),
                concat!(
                    "\",\"exclusive\":",
                    $exclusive,
                    ",\"needs\":[\"control/1\"]}"
                ),
            ];

            /// The manifest, readable without running this library.
            // SAFETY: the name holds the crate's own, so no other symbol has it; the section holds only this.
            #[unsafe(export_name = concat!("polyport_manifest_", env!("CARGO_CRATE_NAME")))]
            #[unsafe(link_section = ".polyport")]
            pub static MANIFEST: [u8; glue::joined_len(PARTS)] = glue::joined(PARTS);

            static LIFECYCLE: glue::PluginV1 = glue::PluginV1 {
                describe: glue::describe::<$plugin>,
                configure: glue::configure::<$plugin>,
                start: glue::start::<$plugin>,
                reload: glue::reload::<$plugin>,
                drain: glue::drain::<$plugin>,
                stop: glue::stop::<$plugin>,
            };

            static CLIENT: glue::ClientV1 = glue::ClientV1 {
                help: glue::client_help::<$plugin>,
                run: glue::client_run::<$plugin>,
            };

            static HANDOVER: glue::HandoverV1 = glue::HandoverV1 {
                start: glue::handover_start::<$plugin>,
                inherit: glue::inherit::<$plugin>,
                activate: glue::activate::<$plugin>,
                freeze: glue::freeze::<$plugin>,
                thaw: glue::thaw::<$plugin>,
                adopt: glue::adopt::<$plugin>,
            };

            static LISTENERS: glue::ListenersV1 = glue::ListenersV1 {
                change: glue::change_listeners::<$plugin>,
            };

            static OPERATE: glue::OperateV1 = glue::OperateV1 {
                begin: glue::operate_begin::<$plugin>,
                next: glue::operate_next,
                end: glue::operate_end,
            };

            static SUMMARY: glue::SummaryV1 = glue::SummaryV1 {
                open: glue::summary_open::<$plugin>,
                feed: glue::summary_feed,
                close: glue::summary_close,
            };

            extern "C" fn interface(
                _: glue::HostQuery,
                id: glue::RStr<'_>,
            ) -> glue::ROption<glue::Interface> {
                match id.as_str() {
                    <glue::PluginV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&LIFECYCLE))
                    }
                    <glue::SummaryV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&SUMMARY))
                    }
                    <glue::HandoverV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&HANDOVER))
                    }
                    <glue::ListenersV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&LISTENERS))
                    }
                    <glue::OperateV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&OPERATE))
                    }
                    <glue::ClientV1 as glue::InterfaceTable>::ID => {
                        glue::ROption::RSome(glue::offer(&CLIENT))
                    }
                    _ => glue::ROption::RNone,
                }
            }

            fn root() -> glue::RootRef {
                glue::PrefixTypeTrait::leak_into_prefix(glue::Root {
                    abi_generation: 1,
                    interface,
                })
            }

            extern "C" fn erased_root() -> glue::RootModuleResult {
                glue::call_root_module_loader(root)
            }

            /// The entry that the manifest names.
            // SAFETY: the name holds the crate's own, so no other symbol has it; `erased_root` gives a `RootRef`.
            #[unsafe(export_name = concat!("polyport_entry_", env!("CARGO_CRATE_NAME")))]
            pub static ENTRY: glue::LibHeader = unsafe {
                glue::LibHeader::from_constructor::<glue::RootRef>(
                    erased_root,
                    glue::CheckTypeLayout::Yes,
                )
            };
        };
    };
}

/// Asks the host for an interface and compares layouts.
pub(crate) fn host_interface<T: InterfaceTable>(
    host: HostQuery,
) -> Result<&'static T, InterfaceError> {
    find((host.interface)(host.ctx, T::ID.into()))
}

/// `PluginV1::describe`.
pub extern "C" fn describe<P: Plugin>() -> RVec<u8> {
    guard(RVec::new, || {
        let settings = serde_json::to_value(P::Config::default()).unwrap_or_default();
        let described = serde_json::json!({
            "settings": settings,
            "tls_schemes": P::TLS_SCHEMES,
            "limits": P::LIMITS.describe(),
            "live": P::LIVE,
            "handover": P::HANDOVER.describe(),
            "commands": crate::operate::describe(P::COMMANDS),
        });
        described.to_string().into_bytes().into()
    })
}

/// `PluginV1::configure`.
pub extern "C" fn configure<P: Plugin>(settings: RSlice<'_, u8>) -> RVec<u8> {
    let panicked = || {
        problem_bytes(&[whole(
            "settings that can be checked",
            "a panic of the plugin".into(),
        )])
    };
    guard(panicked, || {
        problem_bytes(&read::<P>(settings).err().unwrap_or_default())
    })
}

/// `PluginV1::start`.
pub extern "C" fn start<P: Plugin>(
    host: HostQuery,
    request: RSlice<'_, u8>,
) -> RResult<InstanceHandle, RString> {
    start_with::<P>(host, request, Succession::own_start())
}

fn start_with<P: Plugin>(
    host: HostQuery,
    request: RSlice<'_, u8>,
    succession: Arc<Succession>,
) -> RResult<InstanceHandle, RString> {
    let panicked = || RResult::RErr("the plugin panicked before it had a runtime".into());
    let launch = || launch::<P>(host, request.as_slice(), succession);
    guard(panicked, || match launch() {
        Ok(instance) => RResult::ROk(InstanceHandle {
            instance: Box::into_raw(Box::new(instance)).cast(),
        }),
        Err(error) => RResult::RErr(error.into()),
    })
}

fn launch<P: Plugin>(
    host: HostQuery,
    request: &[u8],
    succession: Arc<Succession>,
) -> Result<Instance<P>, String> {
    let request: StartRequest =
        serde_json::from_slice(request).map_err(|error| format!("start request: {error}"))?;
    let listeners: Vec<Listener> = request
        .listeners
        .iter()
        // SAFETY: the host duplicated these descriptors for the instance, which owns them from here on.
        .map(|listener| unsafe { own(listener) })
        .collect();
    let control = host_interface::<ControlV1>(host).map_err(|error| error.to_string())?;
    let log = host_interface::<LogV1>(host);
    if let Ok(log) = log {
        crate::logging::install(log);
        crate::logging::enter_thread(Some(log));
        report_panics();
    }
    let config = read_value::<P>(&request.settings).map_err(|problems| {
        problems.first().map_or_else(String::new, |p| {
            format!("{}: expected {}, got {}", p.key, p.expected, p.got)
        })
    })?;
    let launched = Instance::launch(
        config,
        &request,
        listeners,
        Gate::new(host, &P::LIMITS, request.listeners.len()),
        log.as_ref().ok().copied(),
        (Passage::new(host), Arc::clone(&succession)),
        |drain, cores| {
            let own = (drain, succession, cores);
            let context = Context::new(&request, host, P::ALPN, Some(control), own);
            if let Err(error) = &log {
                context.degraded(&error.to_string());
            }
            context
        },
    );
    crate::logging::enter_thread(None);
    launched
}

/// A listener that the host gives.
///
/// # Safety
/// Its descriptor belongs to nobody else.
unsafe fn own(listener: &StartListener) -> Listener {
    // SAFETY: the caller's promise.
    let fd = unsafe { OwnedFd::from_raw_fd(listener.fd) };
    let socket = if listener.unix {
        ListenerSocket::Unix(fd.into())
    } else {
        ListenerSocket::Tcp(fd.into())
    };
    Listener {
        socket,
        scheme: listener.scheme.as_str().into(),
    }
}

/// `PluginV1::reload`.
pub extern "C" fn reload<P: Plugin>(instance: InstanceHandle, settings: RSlice<'_, u8>) -> bool {
    guard(
        || false,
        || {
            // SAFETY: the host passes what `start` of this plugin gave and has not stopped it.
            let instance = unsafe { running::<P>(instance) };
            let settings = serde_json::from_slice::<serde_json::Value>(settings.as_slice());
            settings.is_ok_and(|settings| {
                read_value::<P>(&settings).is_ok_and(|config| instance.reload(settings, &config))
            })
        },
    )
}

/// `PluginV1::drain`.
pub extern "C" fn drain<P: Plugin>(instance: InstanceHandle, deadline_ms: u64, _reason: RStr<'_>) {
    guard(
        || (),
        || {
            // SAFETY: as for `reload`.
            let instance = unsafe { running::<P>(instance) };
            instance.drain(Duration::from_millis(deadline_ms));
        },
    );
}

/// The instance behind a handle.
///
/// # Safety
/// The handle is one that `start` of this plugin gave, and it is not stopped while the reference is in use.
unsafe fn running<'a, P: Plugin>(instance: InstanceHandle) -> &'a Instance<P> {
    // SAFETY: the caller's promise.
    unsafe { &*instance.instance.cast::<Instance<P>>() }
}

/// `PluginV1::stop`.
pub extern "C" fn stop<P: Plugin>(instance: InstanceHandle) {
    guard(
        || (),
        || {
            // SAFETY: the host passes what `start` of this plugin gave, once and last.
            let instance = unsafe { Box::from_raw(instance.instance.cast::<Instance<P>>()) };
            instance.stop();
        },
    );
}

/// `ClientV1::help`.
pub extern "C" fn client_help<P: Plugin>() -> RString {
    P::CLIENT_HELP.into()
}

/// `ClientV1::run`.
pub extern "C" fn client_run<P: Plugin>(arguments: RSlice<'_, u8>) -> u8 {
    // The panic itself is on standard error: in a client command no log replaces it.
    let panicked = || crate::client::FAILED;
    guard(panicked, || crate::client::run::<P>(arguments.as_slice()))
}

/// `SummaryV1::open`.
pub extern "C" fn summary_open<P: Plugin>(scheme: RStr<'_>) -> SummaryHandle {
    let reader: Box<dyn Summary> = guard(
        || Box::new(crate::summary::Data) as Box<dyn Summary>,
        || P::summary(scheme.as_str()),
    );
    SummaryHandle {
        reader: Box::into_raw(Box::new(reader)).cast(),
    }
}

/// `SummaryV1::feed`.
pub extern "C" fn summary_feed(
    reader: SummaryHandle,
    direction: u32,
    bytes: RSlice<'_, u8>,
) -> RVec<u8> {
    guard(RVec::new, || {
        // SAFETY: the host passes what `summary_open` gave, from one thread at a time, and has not closed it.
        let reader = unsafe { &mut *reader.reader.cast::<Box<dyn Summary>>() };
        let direction = match direction {
            DIRECTION_RECEIVED => Direction::Received,
            _ => Direction::Sent,
        };
        let mut lines = Vec::new();
        reader.feed(direction, bytes.as_slice(), &mut lines);
        serde_json::to_vec(&lines).unwrap_or_default().into()
    })
}

/// `SummaryV1::close`.
pub extern "C" fn summary_close(reader: SummaryHandle) {
    guard(
        || (),
        || {
            // SAFETY: the host passes what `summary_open` gave, once and last.
            drop(unsafe { Box::from_raw(reader.reader.cast::<Box<dyn Summary>>()) });
        },
    );
}

/// The host's answer to a login.
pub(crate) extern "C" fn login_done(user_data: *mut (), answer: RResult<AccountHandle, u32>) {
    guard(
        || (),
        || {
            // SAFETY: `user_data` is the box made for this login, and the host answers once.
            let pending = unsafe { Box::from_raw(user_data.cast::<PendingLogin>()) };
            pending.answer(answer);
        },
    );
}

/// The host's answer to a proof.
pub(crate) extern "C" fn proof_done(user_data: *mut (), answer: RResult<Proven, u32>) {
    guard(
        || (),
        || {
            // SAFETY: `user_data` is the box made for this proof, and the host answers once.
            let pending = unsafe { Box::from_raw(user_data.cast::<PendingProof>()) };
            pending.answer(answer);
        },
    );
}

/// The host's word that accounts changed.
pub(crate) extern "C" fn accounts_changed(user_data: *const ()) {
    guard(
        || (),
        || {
            // SAFETY: `user_data` is the sender that the `Accounts` holds until it has called `unwatch`.
            let changes = unsafe { &*user_data.cast::<watch::Sender<u64>>() };
            changes.send_modify(|revision| *revision += 1);
        },
    );
}

/// A pointer to something that lives as long as the process, or null.
pub(crate) fn static_ref<T>(pointer: *mut T) -> Option<&'static T> {
    // SAFETY: callers store only `&'static T` behind it, or null.
    unsafe { pointer.as_ref() }
}

fn read<P: Plugin>(settings: RSlice<'_, u8>) -> Result<P::Config, Vec<SettingProblem>> {
    let settings = serde_json::from_slice(settings.as_slice())
        .map_err(|error| vec![whole("a JSON object", error.to_string())])?;
    read_value::<P>(&settings)
}

fn read_value<P: Plugin>(settings: &serde_json::Value) -> Result<P::Config, Vec<SettingProblem>> {
    let (config, mut problems) = crate::config::read_rest::<P::Config>(settings);
    // The operator gets to know of a bound beside an unknown key, too.
    problems.extend(config.iter().flat_map(P::check));
    for problem in &mut problems {
        if problem.got == crate::config::UNKNOWN
            && let Some(limit) = P::LIMITS.in_place_of(&problem.key)
        {
            problem.expected = format!("{limit} in the limits of the service");
            problem.got = "a setting".into();
        } else if problem.expected == crate::config::A_KNOWN_KEY {
            problem.expected = format!("a known key: {}", known_keys::<P>());
        }
    }
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

fn known_keys<P: Plugin>() -> String {
    let settings = serde_json::to_value(P::Config::default()).unwrap_or_default();
    let keys = settings
        .as_object()
        .into_iter()
        .flat_map(|keys| keys.keys());
    keys.map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn whole(expected: &str, got: String) -> SettingProblem {
    SettingProblem {
        key: String::new(),
        expected: expected.into(),
        got,
    }
}

fn problem_bytes(problems: &[SettingProblem]) -> RVec<u8> {
    serde_json::to_vec(problems).unwrap_or_default().into()
}

/// Runs `call`; a panic is logged and `otherwise` answers.
fn guard<T>(otherwise: impl FnOnce() -> T, call: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| {
        crate::logging::error(&panic_text(&*panic));
        otherwise()
    })
}

/// Panics of this library go to the host's log, not to standard error.
fn report_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| crate::logging::error(&info.to_string())));
    });
}
