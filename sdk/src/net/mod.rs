//! Streams and addresses of clients.

mod origin;
mod plain;
mod stream;

pub use origin::{Origin, Peer};
pub(crate) use plain::Plain;
pub use stream::Stream;
