//! HTTP file server plugin: files, listings, ranges, uploads, folders as archives.
//!
//! `pipeline.rs` is the way of a request; each field or form of HTTP has a file of its own beside
//! it. What HTTP itself needs (framing, limits, credentials, access log) is the SDK's front.

mod archive;
mod blocking;
mod byteranges;
mod client;
mod conditional;
mod config;
mod content_type;
mod disposition;
mod file;
mod listing;
mod pipeline;
mod range;
mod serve;
mod target;
mod upload;
mod utc;
mod validators;

pub use config::Config;
pub use serve::HttpFiles;

polyport_sdk::export_plugin!(HttpFiles { name: "http-files" });
