//! How an instance takes another's place: what the one before it leaves, and how its connections pass.

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use polyport_abi::handover::{About, Described, NOT_PASSED_NOBODY, PASSED, Parcel, PassageV1};
use polyport_abi::{HostQuery, ROption};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use crate::accounts::Account;
use crate::limits::Admission;
use crate::net::{Origin, Peer, Stream};
use crate::relay;
pub use crate::relay::Relayed;

/// What a plugin hands over to its next instance: [`Plugin::HANDOVER`](crate::Plugin::HANDOVER).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handover {
    /// The version of the state in a [`Luggage`] and an [`Estate`]; 0: it hands nothing over.
    pub version: u32,
    /// The oldest version that it takes.
    pub oldest: u32,
    /// Whether it has an [`Estate`]. One that is not `exclusive` needs none.
    pub estate: bool,
}

impl Handover {
    /// Nothing is handed over: connections end with their instance.
    pub const NONE: Self = Self {
        version: 0,
        oldest: 0,
        estate: false,
    };

    /// Whether it takes what is of this version.
    pub(crate) fn takes(&self, version: u32) -> bool {
        self.version > 0 && (self.oldest..=self.version).contains(&version)
    }

    pub(crate) fn describe(self) -> Described {
        Described {
            version: self.version,
            oldest: self.oldest,
            estate: self.estate,
        }
    }
}

/// What only one instance may have: it passes from one to the next whole, while neither serves.
#[derive(Debug)]
pub struct Estate {
    /// The version of `state`.
    pub version: u32,
    /// The plugin's own.
    pub state: Vec<u8>,
    /// Open files that go with it.
    pub files: Vec<OwnedFd>,
}

/// What came along with a connection that the instance before passed:
/// [`Connection::inherited`](crate::Connection::inherited).
#[derive(Debug)]
pub struct Inherited {
    /// The version of `state`, one that [`Plugin::HANDOVER`](crate::Plugin::HANDOVER) takes.
    pub version: u32,
    /// Bytes of the client that were received and not used: they come before what the stream has.
    pub unread: Vec<u8>,
    /// Bytes for the client that were not sent: they go before anything else.
    pub unsent: Vec<u8>,
    /// The plugin's own.
    pub state: Vec<u8>,
    /// Whose it is. The stream is held to the account's rates already.
    pub account: Option<Account>,
}

/// What goes along with a connection that is passed; see [`Inherited`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Luggage<'a> {
    /// Bytes of the client that were received and not used.
    pub unread: &'a [u8],
    /// Bytes for the client that were not sent.
    pub unsent: &'a [u8],
    /// The plugin's own.
    pub state: &'a [u8],
    /// Whose it is.
    pub account: Option<&'a Account>,
}

/// A connection's way to the instance that takes this one's place.
pub struct Crossing {
    passage: Passage,
    version: u32,
    listener: u32,
    admission: Arc<Admission>,
}

/// A connection that could not be passed and goes on as before.
#[derive(Debug)]
pub struct Refused<S = Stream> {
    /// Its bytes.
    pub stream: S,
    /// The way, for later.
    pub crossing: Crossing,
}

impl fmt::Debug for Crossing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crossing({})", self.listener)
    }
}

impl Crossing {
    pub(crate) fn new(
        passage: Passage,
        version: u32,
        listener: u32,
        admission: Arc<Admission>,
    ) -> Self {
        Self {
            passage,
            version,
            listener,
            admission,
        }
    }

    pub(crate) fn listener(&self) -> u32 {
        self.listener
    }

    /// Whether there is an instance to pass this stream to, and the stream is one that can be passed: TLS stays
    /// with whom it was agreed on with.
    #[must_use]
    pub fn is_open(&self, stream: &Stream) -> bool {
        !stream.is_tls() && self.leads_on()
    }

    /// Whether there is an instance to pass connections to.
    #[must_use]
    pub fn leads_on(&self) -> bool {
        self.version > 0 && self.passage.is_open()
    }

    /// Passes the connection: the client goes on with the instance that took this one's place and notices nothing.
    ///
    /// # Errors
    /// Both back, and then nothing was passed.
    pub fn pass(
        self,
        stream: Stream,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> Result<(), Box<Refused>> {
        if self.is_open(&stream) && self.send(&stream, stream.as_fd(), origin, luggage) {
            return Ok(());
        }
        Err(Box::new(Refused {
            stream,
            crossing: self,
        }))
    }

    /// Passes a connection whose TLS, or whose framing, cannot go along: this library goes on with that, for as long
    /// as the connection lives and whatever becomes of this instance, and the instance that took this one's place has
    /// the bytes in it. Its client notices nothing. Only one with an account is passed: who it is cannot be asked there
    /// again.
    ///
    /// # Errors
    /// Both back, and then nothing was passed.
    pub fn relay<S: Relayed>(
        self,
        stream: S,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> Result<(), Box<Refused<S>>> {
        let passes = self.leads_on() && luggage.account.is_some();
        let ends = passes.then(relay::ends).flatten();
        let sent = ends.and_then(|(near, far)| {
            let sent = self.send(stream.client(), far.as_fd(), origin, luggage);
            sent.then_some(near)
        });
        match sent {
            Some(near) => {
                relay::begin(stream, near);
                Ok(())
            }
            None => Err(Box::new(Refused {
                stream,
                crossing: self,
            })),
        }
    }

    /// Sends the socket that is to be the client's, which is a relay to it or its own.
    fn send(
        &self,
        stream: &Stream,
        socket: BorrowedFd<'_>,
        origin: &Origin,
        luggage: Luggage<'_>,
    ) -> bool {
        let (local, proxied) = stream.reached();
        let relayed = stream.is_relayed() || socket.as_raw_fd() != stream.as_fd().as_raw_fd();
        let about = About {
            scheme: stream.scheme().to_owned(),
            peer: address(Some(origin.peer())),
            local: address(local),
            secure: origin.is_secure(),
            // The socket of a relay has no addresses.
            proxied: proxied || relayed,
            relayed,
        };
        let Ok(about) = serde_json::to_vec(&about) else {
            return false;
        };
        self.admission.passing(|admission| {
            let parcel = Parcel {
                version: self.version,
                listener: self.listener,
                descriptor: socket.as_raw_fd(),
                about: about.as_slice().into(),
                unread: luggage.unread.into(),
                unsent: luggage.unsent.into(),
                state: luggage.state.into(),
                account: luggage.account.map(Account::handle).into(),
                admission: admission.into(),
            };
            self.passage.pass(parcel) == PASSED
        })
    }
}

fn address(peer: Option<Peer>) -> Option<SocketAddr> {
    match peer {
        Some(Peer::Ip(address)) => Some(address),
        Some(Peer::Unix) | None => None,
    }
}

/// The host's way to the instance that takes this one's place.
#[derive(Clone, Copy)]
pub(crate) struct Passage(Option<&'static PassageV1>);

impl Passage {
    /// An older host has none.
    pub(crate) fn new(host: HostQuery) -> Self {
        Self(crate::export::host_interface(host).ok())
    }

    fn is_open(self) -> bool {
        let open = |table: &PassageV1| {
            let open = &table.open.value;
            open.load(std::sync::atomic::Ordering::Acquire) == 1
        };
        self.0.is_some_and(open)
    }

    fn pass(self, parcel: Parcel<'_>) -> u32 {
        self.0
            .map_or(NOT_PASSED_NOBODY, |table| (table.pass)(table.ctx, parcel))
    }
}

/// A successor's side of it, up to the moment it serves. An instance that starts for itself has nothing to wait for.
#[derive(Debug)]
pub(crate) struct Succession {
    giver: Mutex<Option<oneshot::Sender<Estate>>>,
    estate: Mutex<Option<oneshot::Receiver<Estate>>>,
    pub(crate) active: CancellationToken,
}

impl Succession {
    pub(crate) fn own_start() -> Arc<Self> {
        let active = CancellationToken::new();
        active.cancel();
        Arc::new(Self {
            giver: Mutex::default(),
            estate: Mutex::default(),
            active,
        })
    }

    pub(crate) fn successor() -> Arc<Self> {
        let (giver, estate) = oneshot::channel();
        Arc::new(Self {
            giver: Mutex::new(Some(giver)),
            estate: Mutex::new(Some(estate)),
            active: CancellationToken::new(),
        })
    }

    /// Gives it what it waits for; a second estate, or one that nobody waits for, is closed.
    pub(crate) fn inherit(&self, estate: Estate) {
        let giver = self.giver.lock();
        let giver = giver.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(giver) = giver {
            // Nobody waits when the start failed.
            drop(giver.send(estate));
        }
    }

    pub(crate) async fn inheritance(&self) -> Option<Estate> {
        let estate = self.estate.lock();
        let estate = estate.unwrap_or_else(PoisonError::into_inner).take();
        estate?.await.ok()
    }
}

/// A connection that the instance before passed.
pub(crate) struct Arrival {
    pub(crate) version: u32,
    pub(crate) listener: u32,
    pub(crate) socket: OwnedFd,
    pub(crate) about: About,
    pub(crate) unread: Vec<u8>,
    pub(crate) unsent: Vec<u8>,
    pub(crate) state: Vec<u8>,
    pub(crate) account: Option<Account>,
    pub(crate) admission: Admission,
}

/// A handle where there is one.
pub(crate) fn given<T>(handle: ROption<T>) -> Option<T> {
    handle.into_option()
}
