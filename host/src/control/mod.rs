//! The control socket: commands from `polyport` at the command line to the running host, one JSON object a
//! line each way, and for [`Command::Trace`] and [`Command::Operate`] further lines. Its mode is 0600: who may write to it may stop the host.

pub mod client;
mod operate;
pub mod server;
mod trace;

use std::io;

use polyport_abi::operate::Request;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};

/// What may be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// The state of everything.
    Status,
    /// Read configuration, accounts and libraries again.
    Reload {
        /// Answer when it is done, with the generation.
        wait: bool,
    },
    /// What a reload would change.
    Diff,
    /// Start one service anew, or all.
    Restart {
        /// Its name.
        service: Option<String>,
    },
    /// The generations that are kept.
    Generations,
    /// Go back to a kept generation.
    Rollback {
        /// Its number; the one before the present one if left out.
        generation: Option<u64>,
    },
    /// Who is banned from logging in.
    Bans,
    /// Let an address or a user log in again.
    Lift {
        /// As the list of bans shows it.
        subject: String,
    },
    /// Show what passes over a service's connections, one [`Seen`](crate::trace::wire::Seen) a line after the
    /// answer, until the client closes the connection.
    Trace {
        /// Its name.
        service: String,
        /// Only connections of this address, address with port, or number.
        connection: Option<String>,
        /// With the bytes.
        bytes: bool,
    },
    /// A command to a running instance: after the answer one [`Said`](polyport_abi::operate::Said) a line, the last of
    /// them its end. Words that cannot be a command are answered by that end alone.
    Operate {
        /// Its plugin.
        plugin: String,
        /// Its service, if the plugin has several.
        service: Option<String>,
        /// The command's name and arguments.
        request: Request,
    },
    /// Start the program anew and let it take this process's place.
    Upgrade {
        /// Answer when the new process serves, with its id and version.
        wait: bool,
    },
    /// Drain and exit; the connection ends with the process, without an answer.
    Stop,
}

/// The answer to a [`Command`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It was done; what it gave.
    Done(Value),
    /// It was not; why.
    Failed(String),
}

/// Writes what is said as one line of JSON.
async fn write_line(
    write: &mut (impl AsyncWrite + Unpin),
    said: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    write.write_all(&line).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_answers_are_one_line_of_json() {
        let stop = serde_json::to_string(&Command::Stop).unwrap();
        assert_eq!(stop, r#"{"command":"stop"}"#);
        let restart: Command =
            serde_json::from_str(r#"{"command":"restart","service":"x"}"#).unwrap();
        assert_eq!(
            restart,
            Command::Restart {
                service: Some("x".into())
            }
        );
        assert!(serde_json::from_str::<Command>(r#"{"command":"explode"}"#).is_err());
        let failed = serde_json::to_string(&Answer::Failed("a\nb".into())).unwrap();
        assert_eq!(failed, r#"{"failed":"a\nb"}"#);
    }
}
