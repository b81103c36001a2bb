//! From the address of a library's entry symbol to its checked root.

use abi_stable::library::{AbiHeaderRef, LibraryError};

use crate::{ABI_GENERATION, ABI_VERSION, RootRef};

/// Checks header, `abi_stable` version, contract version, root layout and generation, and gives the root.
///
/// # Errors
/// One line that says which of them did not fit and what this host speaks.
///
/// # Safety
/// `entry` must be the address of the symbol that the library's manifest names as its entry, in a library
/// that stays mapped for as long as the process.
pub unsafe fn root(entry: *const ()) -> Result<RootRef, String> {
    const { assert!(size_of::<AbiHeaderRef>() == size_of::<*const ()>()) }
    // SAFETY: `AbiHeaderRef` is a transparent reference to the header that stands first in the static that
    // the caller vouches for; `upgrade` compares its magic before it believes anything else.
    let header: AbiHeaderRef = unsafe { std::mem::transmute(entry) };
    let root = header
        .upgrade()
        .and_then(|header| header.init_root_module::<RootRef>())
        .map_err(explain)?;
    match root.abi_generation() {
        ABI_GENERATION => Ok(root),
        other => Err(format!(
            "expected ABI generation {ABI_GENERATION}, got {other}"
        )),
    }
}

fn explain(error: LibraryError) -> String {
    match error {
        LibraryError::IncompatibleVersionNumber {
            expected_version,
            actual_version,
            ..
        } => {
            format!(
                "expected ABI {expected_version} or later of the same major version, got {actual_version}"
            )
        }
        LibraryError::InvalidAbiHeader(found) => {
            format!("expected the header of ABI {ABI_VERSION}, got {found:?}")
        }
        LibraryError::AbiInstability(_) => {
            format!("the root module differs from that of ABI {ABI_VERSION}, which is frozen")
        }
        LibraryError::RootModule { err, .. } => format!("its root could not be made: {err}"),
        other => other
            .to_string()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" "),
    }
}
