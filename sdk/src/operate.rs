//! Commands that an operator gives to a running instance: `polyport NAME COMMAND …`, which reaches
//! [`Plugin::operate`](crate::Plugin::operate) over the host's control socket.
//!
//! An answer is a stream of rows. It goes no faster than it is read, so that one of any length needs little memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use polyport_abi::operate::{self as abi, END_DONE, END_ELSEWHERE, END_FAILED, END_USAGE, End};
use serde::Serialize;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use polyport_abi::operate::{Form, Shows};

use crate::client;

/// Bytes of an answer that wait to be read.
const ROOM: usize = 64 * 1024;

/// A command of a plugin.
#[derive(Debug, Clone, Copy)]
pub struct Command {
    /// Its name: one word.
    pub name: &'static str,
    /// What stands after it: `[FILTER]`.
    pub operands: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// Its options as [`Arguments`](client::Arguments) reads them, each with what it means. `--json`, `--service` and
    /// `--help` are the host's.
    pub options: &'static [(&'static str, &'static str)],
    /// What a row shows to who wants no JSON.
    pub columns: &'static [Column],
    /// How rows are shown.
    pub form: Form,
    /// It goes on until it is ended; after a swap it is begun anew with the next instance.
    pub follows: bool,
}

/// A column: the key in the row, what stands above it, how its values are shown.
#[derive(Debug, Clone, Copy)]
pub struct Column(pub &'static str, pub &'static str, pub Shows);

/// Why a command came to nothing, or to less than was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// What was typed cannot be a command.
    #[error("{0}")]
    Usage(String),
    /// It was tried.
    #[error("{0}")]
    Failed(String),
    /// The instance makes way for another, which may be asked.
    #[error("the service is being replaced")]
    Elsewhere,
    /// Nobody reads the answer any more.
    #[error("nobody reads the answer any more")]
    Gone,
}

impl From<client::Failure> for Failure {
    fn from(failure: client::Failure) -> Self {
        match failure {
            client::Failure::Usage(text) => Self::Usage(text),
            client::Failure::Failed(text) | client::Failure::Broken(text) => Self::Failed(text),
        }
    }
}

/// Where an answer goes.
#[derive(Clone)]
pub struct Answer {
    pipe: Arc<Pipe>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Answer")
    }
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Line<'a, T> {
    Row(&'a T),
    Note(&'a str),
}

impl Answer {
    /// Gives a row: an object, whose keys the command's columns name. Waits while earlier ones are not read.
    ///
    /// # Errors
    /// [`Failure::Gone`] when nobody reads any more; [`Failure::Failed`] for a row that cannot be JSON.
    pub async fn row(&self, row: &impl Serialize) -> Result<(), Failure> {
        self.line(&Line::Row(row)).await
    }

    /// Tells the operator something beside the rows.
    ///
    /// # Errors
    /// As [`Answer::row`].
    pub async fn note(&self, text: &str) -> Result<(), Failure> {
        self.line(&Line::<()>::Note(text)).await
    }

    async fn line(&self, line: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(line)
            .map_err(|error| Failure::Failed(format!("a row that cannot be JSON: {error}")))?;
        line.push(b'\n');
        loop {
            let mut room = std::pin::pin!(self.pipe.room.notified());
            room.as_mut().enable();
            if self.pipe.put(&line)? {
                return Ok(());
            }
            room.await;
        }
    }
}

/// The describing JSON of a plugin's commands.
pub(crate) fn describe(commands: &[Command]) -> Vec<abi::Command> {
    let one = |command: &Command| abi::Command {
        name: command.name.into(),
        operands: command.operands.into(),
        about: command.about.into(),
        options: command
            .options
            .iter()
            .map(|(option, about)| abi::CommandOption {
                option: (*option).into(),
                about: (*about).into(),
            })
            .collect(),
        columns: command
            .columns
            .iter()
            .map(|Column(key, title, shows)| abi::Column {
                key: (*key).into(),
                title: (*title).into(),
                shows: *shows,
            })
            .collect(),
        form: command.form,
        follows: command.follows,
    };
    commands.iter().map(one).collect()
}

/// Finds the command that a request names and takes its arguments apart.
pub(crate) fn read(
    commands: &'static [Command],
    request: abi::Request,
) -> Result<(&'static Command, client::Arguments), Failure> {
    let Some(command) = commands
        .iter()
        .find(|command| command.name == request.command)
    else {
        let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
        return Err(Failure::Usage(format!(
            "expected one of {}, got {:?}",
            names.join(", "),
            request.command
        )));
    };
    let declared: Vec<&'static str> = command.options.iter().map(|(option, _)| *option).collect();
    let arguments = client::Arguments::read(request.arguments, &declared)?;
    Ok((command, arguments))
}

/// Whoever asked for the next piece: called once.
pub(crate) type Asked = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Between the task that answers and the host that reads.
#[derive(Default)]
struct Pipe {
    state: Mutex<State>,
    room: Notify,
}

#[derive(Default)]
struct State {
    ready: Vec<u8>,
    asked: Option<Asked>,
    ended: bool,
    gone: bool,
}

impl Pipe {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line; false when there is no room.
    fn put(&self, line: &[u8]) -> Result<bool, Failure> {
        let mut state = self.lock();
        if state.gone || state.ended {
            return Err(Failure::Gone);
        }
        if state.ready.len() >= ROOM {
            return Ok(false);
        }
        state.ready.extend_from_slice(line);
        let asked = state.asked.take();
        let piece = asked.map(|asked| (asked, std::mem::take(&mut state.ready)));
        drop(state);
        if let Some((asked, piece)) = piece {
            asked(piece);
        }
        Ok(true)
    }

    fn end(&self, end: End) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        state.ended = true;
        let line = serde_json::to_vec(&abi::Said::End(end)).unwrap_or_default();
        state.ready.extend_from_slice(&line);
        state.ready.push(b'\n');
        let asked = state.asked.take();
        let piece = asked.map(|asked| (asked, std::mem::take(&mut state.ready)));
        drop(state);
        if let Some((asked, piece)) = piece {
            asked(piece);
        }
    }
}

/// The host's end of an answer. Dropped, it ends the command.
pub(crate) struct Operation {
    pipe: Arc<Pipe>,
    gone: CancellationToken,
}

/// The command's end of it. Dropped without a word, the command went with its instance.
pub(crate) struct Ending {
    pipe: Arc<Pipe>,
    gone: CancellationToken,
}

/// Both ends of an answer.
pub(crate) fn open() -> (Operation, Ending) {
    let (pipe, gone) = (Arc::<Pipe>::default(), CancellationToken::new());
    let operation = Operation {
        pipe: Arc::clone(&pipe),
        gone: gone.clone(),
    };
    (operation, Ending { pipe, gone })
}

impl Operation {
    /// Has `asked` called with what comes next.
    pub(crate) fn next(&self, asked: Asked) {
        let mut state = self.pipe.lock();
        if state.ready.is_empty() && !state.ended && !state.gone {
            state.asked = Some(asked);
            return;
        }
        let piece = std::mem::take(&mut state.ready);
        drop(state);
        self.pipe.room.notify_waiters();
        asked(piece);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let mut state = self.pipe.lock();
        state.gone = true;
        let asked = state.asked.take();
        drop(state);
        self.gone.cancel();
        self.pipe.room.notify_waiters();
        if let Some(asked) = asked {
            asked(Vec::new());
        }
    }
}

impl Ending {
    /// Where rows go.
    pub(crate) fn answer(&self) -> Answer {
        Answer {
            pipe: Arc::clone(&self.pipe),
        }
    }

    /// Resolves when nobody reads any more.
    pub(crate) fn gone(&self) -> impl Future<Output = ()> + Send + 'static {
        self.gone.clone().cancelled_owned()
    }

    /// Says how it ended.
    pub(crate) fn end(self, outcome: Result<(), Failure>) {
        let (code, text) = match outcome {
            Ok(()) => (END_DONE, String::new()),
            Err(Failure::Usage(text)) => (END_USAGE, text),
            Err(Failure::Failed(text)) => (END_FAILED, text),
            Err(failure @ Failure::Elsewhere) => (END_ELSEWHERE, failure.to_string()),
            Err(failure @ Failure::Gone) => (END_FAILED, failure.to_string()),
        };
        self.pipe.end(End { code, text });
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let text = Failure::Elsewhere.to_string();
        self.pipe.end(End {
            code: END_ELSEWHERE,
            text,
        });
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_util::FutureExt;

    use super::*;

    fn take(operation: &Operation) -> mpsc::Receiver<String> {
        let (sender, receiver) = mpsc::channel();
        operation.next(Box::new(move |piece| {
            sender.send(String::from_utf8(piece).unwrap()).unwrap();
        }));
        receiver
    }

    #[tokio::test]
    async fn rows_go_to_whoever_asked_and_the_end_comes_last() {
        let (operation, ending) = open();
        let answer = ending.answer();
        let asked = take(&operation);
        assert!(asked.try_recv().is_err(), "nothing is there yet");
        answer.row(&[1]).await.unwrap();
        assert_eq!(asked.try_recv().unwrap(), "{\"row\":[1]}\n");
        answer.note("a").await.unwrap();
        answer.row(&[2]).await.unwrap();
        ending.end(Err(Failure::Failed("why".into())));
        assert_eq!(
            take(&operation).try_recv().unwrap(),
            "{\"note\":\"a\"}\n{\"row\":[2]}\n{\"end\":{\"code\":1,\"text\":\"why\"}}\n"
        );
        assert_eq!(take(&operation).try_recv().unwrap(), "", "it is over");
        assert_eq!(answer.row(&[3]).await, Err(Failure::Gone));
    }

    #[tokio::test]
    async fn an_answer_waits_for_its_reader_and_is_told_when_he_goes() {
        let (operation, ending) = open();
        let answer = ending.answer();
        let row = "x".repeat(ROOM);
        answer.row(&row).await.unwrap();
        let mut next = Box::pin(answer.row(&row));
        assert!(next.as_mut().now_or_never().is_none(), "there is no room");
        assert_eq!(take(&operation).try_recv().unwrap().len(), ROOM + 11);
        assert_eq!(next.as_mut().now_or_never(), Some(Ok(())));
        let mut waits = Box::pin(answer.row(&row));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(operation);
        assert_eq!(waits.as_mut().now_or_never(), Some(Err(Failure::Gone)));
        ending.gone().await;
    }

    #[test]
    fn a_command_that_vanishes_says_that_another_may_be_asked() {
        let (operation, ending) = open();
        let asked = take(&operation);
        drop(ending);
        assert!(asked.try_recv().unwrap().contains("\"code\":3"));
        let (operation, _ending) = open();
        let asked = take(&operation);
        drop(operation);
        assert_eq!(asked.try_recv().unwrap(), "", "every question is answered");
    }
}
