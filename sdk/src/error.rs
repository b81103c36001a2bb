//! The SDK's error: what kept an instance from starting or a connection from going on.

/// Whose fault it was decides how it is logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operator's: a setting, a folder, a right of the file system.
    #[error("{0}")]
    Operator(String),
    /// The client's: it broke the protocol. Logged at debug level.
    #[error("{0}")]
    Peer(String),
    /// The system's.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, with the path or address.
        context: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// An [`Error::Io`] that says what was being done.
    pub fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

impl From<std::io::Error> for Error {
    fn from(source: std::io::Error) -> Self {
        Self::Io {
            context: "connection".into(),
            source,
        }
    }
}
