//! Uploads: whole or not at all, by accounts with the right.

mod form;
mod origin;
mod post;
mod put;
mod sink;

use polyport_sdk::files::View;
use polyport_sdk::http::Caller;
use polyport_sdk::metrics::Number;

/// Where uploads of one request go, and whose they are.
#[derive(Clone, Debug)]
pub struct Receiver<'a> {
    /// What the sender sees.
    pub view: View,
    /// Who sends.
    pub caller: &'a Caller,
    /// Counts the files that are complete.
    pub received: Number,
}
