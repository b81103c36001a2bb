//! Streams and addresses of clients.

mod origin;
mod pace;
mod plain;
mod stream;

pub use origin::{Origin, Peer, SmallPeer};
pub use pace::Pacer;
pub(crate) use plain::Plain;
pub use stream::Stream;
