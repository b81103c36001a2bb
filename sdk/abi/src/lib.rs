//! The frozen contract between the polyport host and its plugins.
//!
//! A plugin is a dynamic library that exports one [`Root`]. The root never changes in 1.x: it answers one
//! question, "have you an interface of this id?", and hands over the one through which the plugin asks the
//! same of the host ([`HostQuery`]). Everything that can grow is an interface with a versioned id
//! (`log/1`), its own `repr(C)` table and its own layout, compared when it is asked for. A new capability is
//! a new id, never a changed table; so an old plugin loads in a new host and a new plugin in an old host.
//!
//! This is the only crate that names `abi_stable`. Rules at the boundary: plain `repr(C)` structs and
//! integers; bytes (JSON) for rich values; memory is freed by its maker; no panic crosses.

pub mod accounts;
pub mod accounts2;
pub mod client;
pub mod control;
pub mod folders;
pub mod handover;
pub mod limits;
pub mod listeners;
pub mod live;
pub mod load;
pub mod log;
pub mod manifest;
pub mod metrics;
pub mod named;
pub mod operate;
pub mod plugin;
mod root;
pub mod scram;
pub mod summary;
pub mod tls;
pub mod trace;

pub use abi_stable::std_types::{ROption, RResult, RSlice, RStr, RString, RVec};
pub use root::{HostQuery, Interface, InterfaceError, InterfaceTable, Root, RootRef, find, offer};

/// The root's generation: 1 for all of 1.x.
pub const ABI_GENERATION: u32 = 1;

/// Version of this contract, as the manifest and error texts name it.
pub const ABI_VERSION: &str = env!("CARGO_PKG_VERSION");

#[doc(hidden)]
pub mod export {
    //! What the SDK's `export_plugin!` expands to; not for use by hand.
    pub use abi_stable::library::{
        __call_root_module_loader as call_root_module_loader, CheckTypeLayout, LibHeader,
        RootModuleResult,
    };
    pub use abi_stable::prefix_type::PrefixTypeTrait;
}
