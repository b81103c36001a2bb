//! What an operator decides about clients that are too slow, too fast, or too many.

/// Slow readers, memory of the whole service, rates and redirection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// What becomes of a message for a session whose queue is full.
    pub slow_consumer: SlowConsumer,
    /// Bytes of all queues, unsent output and retained messages; 0 is no limit.
    pub max_memory: usize,
    /// PUBLISH packets a second taken from one connection; 0 is no limit.
    pub max_publish_rate: u32,
    /// The same from all connections of one account together.
    pub max_publish_rate_per_user: u32,
    /// Where 5.0 clients are sent (4.13); empty for nowhere.
    pub server_reference: Box<str>,
    /// When they are.
    pub redirect: Redirect,
}

/// What becomes of a message for a session whose queue is full. What is in flight is never dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// It is dropped.
    #[default]
    DropNewest,
    /// It takes the place of those that wait longest.
    DropOldest,
    /// It is dropped and the client with it (0x97); its session keeps what waits.
    Disconnect,
}

/// When clients are sent to another server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Redirect {
    /// When this one ends.
    #[default]
    Drain,
    /// At their CONNECT, for now (0x9C).
    Temporary,
    /// At their CONNECT, for good (0x9D).
    Permanent,
}

impl Default for Load {
    fn default() -> Self {
        Load {
            slow_consumer: SlowConsumer::DropNewest,
            max_memory: 0,
            max_publish_rate: 0,
            max_publish_rate_per_user: 0,
            server_reference: Box::default(),
            redirect: Redirect::Drain,
        }
    }
}
