//! `client/1`: the plugin's client commands, from the plugin to the program that runs them.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RString};

use crate::InterfaceTable;

/// Commands that talk to a server from a terminal. No instance is running: they have the program's standard
/// input, output and error to themselves.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct ClientV1 {
    /// What there is to type: up to the first empty line one command a line, beginning with its name; then
    /// options and notes. Empty when the plugin has no client commands.
    pub help: extern "C" fn() -> RString,
    /// Runs a command: a JSON array of strings, what was typed after the plugin's name. Returns when it is
    /// over, the exit code: 0 done, 1 failed, 2 wrong usage; the reason of 1 and 2 is on standard error.
    pub run: extern "C" fn(arguments: RSlice<'_, u8>) -> u8,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for ClientV1 {
    const ID: &'static str = "client/1";
}
