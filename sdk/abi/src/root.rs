//! The root module and the exchange of interfaces by id. Frozen for all of 1.x.

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::check_layout_compatibility;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{ROption, RStr};
use abi_stable::type_layout::TypeLayout;

/// What a plugin library exports: its generation and its interfaces.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = RootRef)))]
#[sabi(missing_field(panic))]
pub struct Root {
    /// [`crate::ABI_GENERATION`] of the plugin.
    pub abi_generation: u32,
    /// Answers with the plugin's interface of an id, or none. `host` is how the plugin asks back.
    #[sabi(last_prefix_field)]
    pub interface: extern "C" fn(host: HostQuery, id: RStr<'_>) -> ROption<Interface>,
}

impl RootModule for RootRef {
    abi_stable::declare_root_module_statics! {RootRef}
    const BASE_NAME: &'static str = "polyport";
    const NAME: &'static str = "polyport";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// How a plugin asks the host for an interface. `ctx` says for which instance.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct HostQuery {
    /// Handed back unchanged as the first argument. Valid as long as the process.
    pub ctx: *const (),
    /// Answers with the host's interface of an id, or none.
    pub interface: extern "C" fn(ctx: *const (), id: RStr<'_>) -> ROption<Interface>,
}

// SAFETY: the host keeps what `ctx` points at alive and unchanged for as long as the process and shares it
// between threads only through types that are `Sync`.
unsafe impl Send for HostQuery {}
// SAFETY: as above.
unsafe impl Sync for HostQuery {}

/// One interface: a table of functions and the layout its maker compiled it with.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct Interface {
    /// Layout of the table.
    pub layout: &'static TypeLayout,
    /// The table itself; lives as long as the process.
    pub table: *const (),
}

/// A table of functions that is asked for by id.
///
/// # Safety
/// `ID` must belong to this type alone, and the type must be `repr(C)`, hold only what may cross the
/// boundary, and never change once released.
pub unsafe trait InterfaceTable: StableAbi + Copy + 'static {
    /// Name and version, `name/N`.
    const ID: &'static str;
}

/// Why an interface cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InterfaceError {
    /// The other side does not have it.
    Missing {
        /// Its id.
        id: &'static str,
    },
    /// The other side has it with another layout.
    Layout {
        /// Its id.
        id: &'static str,
        /// The first difference, on one line.
        difference: String,
    },
}

impl std::fmt::Display for InterfaceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing { id } => {
                write!(f, "interface {id}: expected it to be offered, got none")
            }
            Self::Layout { id, difference } => {
                write!(f, "interface {id}: layouts differ: {difference}")
            }
        }
    }
}

impl std::error::Error for InterfaceError {}

/// Offers `table` as an interface.
pub fn offer<T: InterfaceTable>(table: &'static T) -> Interface {
    Interface {
        layout: T::LAYOUT,
        table: std::ptr::from_ref(table).cast(),
    }
}

/// Takes an answer to the question for `T::ID`, after comparing layouts.
///
/// # Errors
/// [`InterfaceError::Missing`] for no answer, [`InterfaceError::Layout`] for one of another shape; either
/// concerns this id alone.
pub fn find<T: InterfaceTable>(answer: ROption<Interface>) -> Result<&'static T, InterfaceError> {
    let ROption::RSome(found) = answer else {
        return Err(InterfaceError::Missing { id: T::ID });
    };
    check_layout_compatibility(T::LAYOUT, found.layout).map_err(|error| {
        InterfaceError::Layout {
            id: T::ID,
            difference: one_line(&error.to_string()),
        }
    })?;
    // SAFETY: the layouts agree, so the table is a `T`; its maker keeps it for as long as the process.
    Ok(unsafe { &*found.table.cast::<T>() })
}

/// The checker's report is pages long: keeps what names the difference.
fn one_line(report: &str) -> String {
    let words: Vec<&str> = report.split_whitespace().collect();
    let text = words.join(" ");
    let start = text.find("error(s)").map_or(0, |at| {
        text[..at]
            .rfind(|c: char| !c.is_ascii_digit())
            .map_or(at, |p| p + 1)
    });
    let mut line: String = text[start..].chars().take(300).collect();
    if line.chars().count() == 300 {
        line.push('…');
    }
    line
}
