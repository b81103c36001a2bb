//! MQTT broker engine without I/O.
//!
//! [`Broker`] takes bytes and the time and gives bytes, records for the store and the next
//! deadline. It opens no socket, reads no clock and writes no file; who hosts it does. The
//! pieces beneath it stand alone: [`codec`] is the wire format, [`topic`] the rules of 4.7,
//! [`store`] what survives a restart.

pub mod authorizer;
pub mod bans;
pub mod broker;
pub mod codec;
pub mod message;
mod on_demand;
pub mod origin;
mod retained;
pub mod settings;
mod slab;
pub mod store;
mod texts;
pub mod time;
pub mod topic;
mod trie;
pub mod via;

pub use authorizer::{Absent, AllowAll, Authorizer, Extent, LoginRefusal};
pub use broker::{
    AuthAnswer, Authentication, Broker, ConnectionId, LoginRequest, Output, Received,
};
pub use settings::{Limits, Settings};
pub use time::Time;
