//! What client commands have in common: arguments, passwords, progress, downloads that go on after a break.
//!
//! A client command runs in a process of its own, may block and writes to the terminal. Exit codes: 0 done,
//! 1 failed, 2 wrong usage. Knows no protocol.

mod arguments;
mod connect;
mod partial;
mod password;
mod progress;
mod transport;

pub use arguments::Arguments;
pub use connect::{Address, connect};
pub use partial::{Partial, Segment};
pub use password::{ENVIRONMENT, account, password};
pub use progress::Progress;
pub use transport::{Link, Transport};

use crate::Plugin;

/// Exit code of a command that failed.
pub(crate) const FAILED: u8 = 1;
/// Exit code of a command that could not be understood.
const WRONG_USAGE: u8 = 2;

/// Why a client command came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was typed cannot be a command.
    #[error("{0}")]
    Usage(String),
    /// It was tried, and another try would come to the same: refused, not there, no right.
    #[error("{0}")]
    Failed(String),
    /// The connection broke: it may go on from where it was.
    #[error("{0}")]
    Broken(String),
}

impl Failure {
    /// Wrong usage.
    pub fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// A failure that another try does not change.
    pub fn failed(text: impl Into<String>) -> Self {
        Self::Failed(text.into())
    }

    /// What the system said about a connection, with what was being done.
    pub fn broken(context: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Broken(format!("{context}: {}", text_of(&error)))
    }

    /// What the system said about a file or the terminal, with what was being done.
    pub fn local(context: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::Failed(format!("{context}: {}", text_of(&error)))
    }
}

/// A time limit reached is `EAGAIN` to the system and no help to a reader.
fn text_of(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            "no answer within the time limit".into()
        }
        std::io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
        _ => error.to_string(),
    }
}

/// Tries `attempt` again when the connection broke, up to `retries` times in a row without progress, with a
/// pause that doubles from a quarter of a second. `progressed` tells whether anything came since it was last
/// asked.
///
/// # Errors
/// The last attempt's.
pub fn with_retries<T>(
    retries: u32,
    mut progressed: impl FnMut() -> bool,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut in_vain = 0;
    loop {
        let broken = match attempt() {
            Err(Failure::Broken(text)) => text,
            other => return other,
        };
        if progressed() {
            in_vain = 0;
        }
        if in_vain >= retries {
            return Err(Failure::Broken(broken));
        }
        eprintln!("polyport: {broken}; trying again");
        std::thread::sleep(std::time::Duration::from_millis(250u64 << in_vain.min(5)));
        in_vain += 1;
    }
}

/// Runs a plugin's command and says on standard error why it came to nothing.
pub(crate) fn run<P: Plugin>(arguments: &[u8]) -> u8 {
    let arguments: Vec<String> = match serde_json::from_slice(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("polyport: arguments: expected a JSON array of strings, got {error}");
            return WRONG_USAGE;
        }
    };
    let first = arguments.first().map(String::as_str);
    if !P::CLIENT_HELP.is_empty() && matches!(first, Some("-h" | "--help" | "help")) {
        print!("{}", P::CLIENT_HELP);
        return 0;
    }
    if !P::CLIENT_HELP.is_empty() && first.is_none() {
        eprint!("{}", P::CLIENT_HELP);
        return WRONG_USAGE;
    }
    match P::client(arguments) {
        Ok(()) => 0,
        Err(failure) => {
            eprintln!("polyport: {failure}");
            match failure {
                Failure::Usage(_) => WRONG_USAGE,
                Failure::Failed(_) | Failure::Broken(_) => FAILED,
            }
        }
    }
}
