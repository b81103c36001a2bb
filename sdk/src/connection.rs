//! One accepted client.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::handover::{Crossing, Inherited};
use crate::limits::{Current, Limits};
use crate::net::{Origin, Peer, Stream};

/// One accepted client, handed to [`crate::Plugin::connection`].
#[derive(Debug)]
pub struct Connection {
    /// Its bytes.
    pub stream: Stream,
    /// Where it comes from, and what it proved of itself.
    pub origin: Origin,
    /// The address of ours that it reached.
    pub local: Peer,
    /// `tcp`, `unix`, or what stands before `://` in the listen entry.
    pub scheme: Arc<str>,
    /// What the instance before left with it, if that passed it on.
    pub inherited: Option<Box<Inherited>>,
    /// Its way to the instance that takes this one's place.
    pub crossing: Crossing,
    pub(crate) limits: Current,
    pub(crate) drain: CancellationToken,
}

impl Connection {
    /// Where it comes from: the client's own address, also behind a proxy that tells it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.origin.peer()
    }

    /// Which listener it came by. One that went may give its number to a later one.
    #[must_use]
    pub fn listener(&self) -> u32 {
        self.crossing.listener()
    }

    /// What it is held to, as the operator has it now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// The same for later: an operator may change limits while a connection is open.
    #[must_use]
    pub fn current_limits(&self) -> Current {
        self.limits.clone()
    }

    /// Resolves when the connection should finish what is under way and close.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drain.clone().cancelled_owned()
    }

    /// Whether [`Connection::draining`] has resolved.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// The drain signal itself, for code that outlives the borrow of this connection.
    #[must_use]
    pub fn drain_token(&self) -> CancellationToken {
        self.drain.clone()
    }
}
