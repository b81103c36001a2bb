//! Write a polyport plugin: a configuration struct, one trait, [`export_plugin!`].
//!
//! The host owns the sockets, the accounts and the log; a plugin gets a tokio runtime of its own, or one
//! for each thread, one task for each connection, and is told when to drain. Five names stand here at the root; the modules hold what
//! they lead to.

pub mod accounts;
pub mod client;
pub mod config;
mod connection;
mod context;
pub mod cores;
mod error;
mod export;
pub mod files;
#[doc(hidden)]
pub mod fuzzing;
pub mod handover;
#[cfg(feature = "http")]
pub mod http;
mod instance;
pub mod limits;
pub mod live;
mod logging;
pub mod metrics;
pub mod net;
pub mod operate;
mod plugin;
mod proxy;
mod relay;
pub mod summary;
mod tap;
pub mod tls;

pub use connection::Connection;
pub use context::Context;
pub use error::Error;
pub use plugin::Plugin;

#[doc(hidden)]
pub mod glue {
    //! What `export_plugin!` expands to; not for use by hand.
    pub use crate::export::{
        activate, adopt, change_listeners, client_help, client_run, configure, describe, drain,
        freeze, handover_start, inherit, operate_begin, operate_end, operate_next, reload, start,
        stop, summary_close, summary_feed, summary_open, thaw,
    };
    pub use polyport_abi::client::ClientV1;
    pub use polyport_abi::export::{
        CheckTypeLayout, LibHeader, PrefixTypeTrait, RootModuleResult, call_root_module_loader,
    };
    pub use polyport_abi::handover::HandoverV1;
    pub use polyport_abi::listeners::ListenersV1;
    pub use polyport_abi::manifest::{joined, joined_len};
    pub use polyport_abi::operate::OperateV1;
    pub use polyport_abi::plugin::PluginV1;
    pub use polyport_abi::summary::SummaryV1;
    pub use polyport_abi::{
        ABI_VERSION, HostQuery, Interface, InterfaceTable, ROption, RStr, Root, RootRef, offer,
    };

    /// Version of this SDK, for the manifest.
    pub const SDK_VERSION: &str = env!("CARGO_PKG_VERSION");
}
