//! FTP server engine: RFC 959 with 1123, 2389, 2428, 3659 and 4217, without I/O.
//!
//! [`Control`] is one control connection. It is handed bytes, answers and the time; it gives
//! back reply bytes, [`Request`]s to be carried out and the next deadline. It knows no socket,
//! file or clock: whoever drives it decides what a path or a password means.
//!
//! A request is answered once, in order, by [`Control::handle_answer`]; only a transfer, once
//! opened, runs beside the requests and ends with [`Control::handle_transfer_end`].

pub mod address;
pub mod ascii;
pub mod calendar;
pub mod command;
mod commands;
mod control;
pub mod crossing;
pub mod line;
pub mod listing;
pub mod path;
mod reply;
mod request;

pub use control::{Control, Options, TlsDemand, TlsPolicy, is_anonymous};
pub use line::MAX_LINE;
pub use path::VirtualPath;
pub use reply::too_many_connections;
pub use request::{
    Answer, Denial, Endpoint, Failure, ListStyle, Listing, Opened, Placement, Protection,
    Representation, Request, Secured, Stopped,
};
