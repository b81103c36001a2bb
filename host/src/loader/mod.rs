//! Plugin libraries: finding, checking and loading them, and what they may ask of the host.
//!
//! All of the host's `unsafe` is beneath here, but for the sockets of the service manager and the
//! declaration of malloc_trim(3). Knows nothing of configuration or generations.

pub mod catalog;
mod copies;
pub mod estate;
mod intake;
pub mod interfaces;
pub mod library;
pub mod manifest;
pub mod operation;
pub mod probe;

pub use intake::{Intake, Terms};
pub use library::{Library, Loader};
