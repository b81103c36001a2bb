//! `polyport trace`: the one command whose answer goes on until the client leaves.

use std::io;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{Answer, write_line};
use crate::board::Board;
use crate::trace::{self, Readers, Watch};

/// Bytes put together before they are written.
const BATCH: usize = 64 * 1024;

/// Who wants to see what.
pub(super) struct Wanted {
    pub(super) service: String,
    pub(super) connection: Option<String>,
    pub(super) bytes: bool,
}

/// Answers that it begins, then writes an event a line until the client closes its side.
pub(super) async fn stream(
    wanted: Wanted,
    board: &Board,
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let answer = match can_trace(board, &wanted.service) {
        Ok(()) => Answer::Done(json!({ "tracing": wanted.service })),
        Err(why) => Answer::Failed(why),
    };
    let refused = matches!(answer, Answer::Failed(_));
    // Looking begins before the answer: what the client does then is seen.
    let mut watch = trace::hub(&wanted.service).watch(wanted.connection);
    write_line(&mut write, &answer).await?;
    if refused {
        return Ok(());
    }
    let mut readers = Readers::new(wanted.bytes);
    let mut ignored = [0; 64];
    loop {
        let event = tokio::select! {
            event = watch.next() => event,
            left = read.read(&mut ignored) => match left {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => continue,
            },
        };
        let Some(event) = event else { return Ok(()) };
        let mut batch = Vec::new();
        put(&mut batch, &mut readers, &watch, &event)?;
        while batch.len() < BATCH
            && let Some(event) = watch.ready()
        {
            put(&mut batch, &mut readers, &watch, &event)?;
        }
        // A client that does not read holds up nothing but this.
        write.write_all(&batch).await?;
    }
}

fn put(
    batch: &mut Vec<u8>,
    readers: &mut Readers,
    watch: &Watch,
    event: &trace::Event,
) -> io::Result<()> {
    serde_json::to_writer(&mut *batch, &readers.read(event, watch.dropped()))?;
    batch.push(b'\n');
    Ok(())
}

fn can_trace(board: &Board, service: &str) -> Result<(), String> {
    let names = board.services();
    let Some((_, side)) = names.iter().find(|(name, _)| name == service) else {
        let names: Vec<_> = names.iter().map(|(name, _)| format!("{name:?}")).collect();
        let names = names.join(", ");
        return Err(format!("service: expected one of {names}, got {service:?}"));
    };
    match side {
        None => Err(format!("service {service:?} does not run")),
        Some(side) if !side.tells_trace() => Err(format!(
            "service {service:?}: its plugin cannot be looked into: it never asked for trace/1; build it with a newer SDK"
        )),
        Some(_) => Ok(()),
    }
}
