//! Streams and addresses of clients.

mod origin;
mod stream;

pub use origin::{Origin, Peer};
pub use stream::Stream;
