//! The trait that a plugin implements.

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Arguments;
use crate::config::Problem;
use crate::handover::{Estate, Handover};
use crate::limits::{Busy, Known, Refusal};
use crate::operate::{Answer, Command, Failure};
use crate::summary::{Summary, Text};
use crate::{Connection, Context, Error};

/// One running instance of a plugin.
///
/// Order of calls: `check`, `start`, then `connection` for each client, `reload` any number of times, `stop`.
pub trait Plugin: Sized + Send + Sync + 'static {
    /// The keys beneath `[services.NAME.settings]`. `Default` gives the defaults, and its serialisation the
    /// list of keys; mark the struct `#[serde(default, deny_unknown_fields)]`.
    type Config: DeserializeOwned + Serialize + Default + Clone + Send + Sync + 'static;

    /// Worker threads when the operator leaves it to the plugin (`threads = "auto"`): 0 is one for each
    /// processor, at most 4.
    const AUTO_THREADS: usize = 0;

    /// Whether a connection stays on the thread that it began on, so that no two threads touch what is its own: each
    /// thread is a core then ([`Context::cores`]), and a connection begins on the one with the fewest tasks. Otherwise
    /// a thread with nothing to do takes over tasks of the others, which is better where some connections have far more
    /// to do than others.
    const PINNED: bool = false;

    /// Words before `://` in a listen entry that mean TLS over another of the plugin's schemes:
    /// `[("https", "tcp")]`. [`Connection::scheme`](crate::Connection::scheme) is the second of them by then.
    /// `tls`, over `tcp`, is there without being named.
    const TLS_SCHEMES: &'static [(&'static str, &'static str)] = &[];

    /// The application protocols that it speaks over TLS (ALPN, RFC 7301), the preferred one first, unless the
    /// operator names others. Empty: none is agreed on.
    const ALPN: &'static [&'static str] = &[];

    /// The keys of the limits vocabulary that its clients can be held to, and their defaults. What of it the SDK
    /// does not see to by itself, the plugin reads from [`Connection::limits`](crate::Connection::limits).
    const LIMITS: Known = Known::new();

    /// The keys of [`Plugin::Config`] that [`Plugin::reload`] takes over in place: dotted paths, and one of a table
    /// stands for all beneath it. A change of any other key swaps the instance.
    const LIVE: &'static [&'static str] = &[];

    /// What it hands over to the instance that takes its place. A connection of a plugin that hands something over
    /// passes itself on by [`Connection::crossing`](crate::Connection::crossing) when it drains, and comes to
    /// [`Plugin::connection`] of the next one with [`Connection::inherited`](crate::Connection::inherited).
    const HANDOVER: Handover = Handover::NONE;

    /// How a client is told that the service is too busy for it, of which `received` is what it sent so far. Called
    /// again with more after [`Busy::Wait`], within bounds of time and size, and for a bounded number of clients at
    /// once; others see their connection closed. The default closes.
    fn busy(scheme: &str, why: Refusal, received: &[u8]) -> Busy {
        let _ = (scheme, why, received);
        Busy::Close
    }

    /// Finds what the types of [`Plugin::Config`] cannot say, all at once and without side effects.
    fn check(config: &Self::Config) -> Vec<Problem> {
        let _ = config;
        Vec::new()
    }

    /// Opens what the instance needs. Connections are accepted once this returned `Ok`.
    fn start(
        config: Self::Config,
        context: Context,
    ) -> impl Future<Output = Result<Self, Error>> + Send;

    /// Serves one client to its end, in a task of its own. When [`Connection::draining`] resolves it finishes
    /// what is under way and returns; after the drain deadline it is dropped.
    fn connection(
        self: Arc<Self>,
        connection: Connection,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Takes over settings that differ in keys of [`Plugin::LIVE`] alone, for all that begins from then on. False:
    /// it cannot at this moment and changed nothing; then a new instance takes over.
    fn reload(&self, config: &Self::Config) -> bool {
        let _ = config;
        false
    }

    /// What `polyport client` shows of [`Plugin::client`]: one command a line, beginning with its name, up to
    /// the first empty line; then options and notes. Empty: no client commands.
    const CLIENT_HELP: &'static str = "";

    /// Runs a client command in a process of its own, without an instance: what was typed after
    /// `polyport client NAME`. It may block, and has the terminal to itself.
    fn client(arguments: Vec<String>) -> Result<(), crate::client::Failure> {
        let _ = arguments;
        Err(crate::client::Failure::usage(
            "this plugin has no client commands",
        ))
    }

    /// What an operator may ask of a running instance, by `polyport NAME COMMAND`.
    const COMMANDS: &'static [Command] = &[];

    /// Does one of [`Plugin::COMMANDS`]: `arguments` are what was typed after it, read by its options. It is dropped when
    /// nobody reads the answer any more, and when the instance drains.
    fn operate(
        self: Arc<Self>,
        command: &'static Command,
        arguments: Arguments,
        answer: Answer,
    ) -> impl Future<Output = Result<(), Failure>> + Send {
        let _ = (arguments, answer);
        let none = Failure::Usage(format!("{:?} is not done", command.name));
        async move { Err(none) }
    }

    /// What reads along with a connection for `polyport trace` and tells what passes in lines. `scheme` is that
    /// of [`Connection::scheme`](crate::Connection::scheme) or [`Context::stream`]. The default suits protocols
    /// of text lines.
    fn summary(scheme: &str) -> Box<dyn Summary> {
        let _ = scheme;
        Box::new(Text::default())
    }

    /// Stops at the next boundary and gives what only one instance may have
    /// ([`Context::inheritance`](crate::Context::inheritance) of the next one): from the answer on nothing of that
    /// changes any more, until [`Plugin::thaw`]. Nobody is accepted meanwhile.
    ///
    /// # Errors
    /// Why not; [`Plugin::thaw`] follows.
    fn freeze(&self) -> impl Future<Output = Result<Estate, Error>> + Send {
        let none = Error::Operator("hand-over: this plugin has nothing to hand over".into());
        async move { Err(none) }
    }

    /// Goes on as if [`Plugin::freeze`] had not been: there is no other instance.
    fn thaw(&self) {}

    /// What [`Plugin::start`] took over is this instance's own from now on, and it serves. Not called for one that
    /// started for itself.
    fn activate(&self) {}

    /// Called when a listener went while the instance goes on: connections that have it as
    /// [`Connection::listener`](crate::Connection::listener) drain. For a plugin that does not wait for
    /// [`Connection::draining`](crate::Connection::draining) on each of them.
    fn listener_gone(&self, listener: u32) {
        let _ = listener;
    }

    /// Called when drain begins, before the open connections ended. After [`Plugin::freeze`]: there is another
    /// instance that has what was given to it.
    fn drain(&self) {}

    /// Called last, after the connections ended: flush and close. It has 5 s.
    fn stop(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
