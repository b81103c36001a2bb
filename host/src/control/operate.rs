//! `polyport NAME COMMAND`: a command to a running instance, whose answer comes in lines until it is over or the client
//! leaves.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use polyport_abi::operate::{Command, END_ELSEWHERE, END_FAILED, END_USAGE, End, Request, Said};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep};

use super::{Answer, write_line};
use crate::board::{Board, Commands};
use crate::operate::Operator;

/// How long a replaced instance is waited for, and how often is looked.
const SUCCESSION: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);

/// Who is asked, and what.
pub(super) struct Wanted {
    pub(super) plugin: String,
    pub(super) service: Option<String>,
    pub(super) request: Request,
}

/// Answers how the rows are to be shown, then writes a [`Said`] a line.
pub(super) async fn stream(
    wanted: Wanted,
    board: &Board,
    mut read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
) -> io::Result<()> {
    let found = find(board, &wanted);
    let answer = match &found {
        Ok((service, _, command)) => Answer::Done(json!({ "service": service, "show": command })),
        Err(End { text, code }) if *code == END_FAILED => Answer::Failed(text.clone()),
        Err(end) => Answer::Done(json!({ "end": end })),
    };
    write_line(&mut write, &answer).await?;
    let Ok((service, operator, command)) = found else {
        return Ok(());
    };
    let mut ignored = [0; 64];
    let answering = answer_all(
        &service,
        operator,
        &command,
        &wanted.request,
        board,
        &mut write,
    );
    tokio::pin!(answering);
    loop {
        tokio::select! {
            done = &mut answering => return done,
            left = read.read(&mut ignored) => match left {
                Ok(0) | Err(_) => return Ok(()),
                Ok(_) => {}
            },
        }
    }
}

async fn answer_all(
    service: &str,
    mut operator: Arc<Operator>,
    command: &Command,
    request: &Request,
    board: &Board,
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    loop {
        let end = match operator.begin(request) {
            Some(mut operation) => loop {
                let piece = operation.next().await;
                let (lines, end) = split(&piece);
                // A client that does not read holds up nothing but this.
                write.write_all(lines).await?;
                if piece.is_empty() || end.is_some() {
                    break end.unwrap_or_else(|| End {
                        code: END_FAILED,
                        text: "the command ended without a word".into(),
                    });
                }
            },
            None => End {
                code: END_ELSEWHERE,
                text: String::new(),
            },
        };
        if end.code != END_ELSEWHERE {
            return write_line(write, &Said::End(end)).await;
        }
        if !command.follows {
            let text = format!("service {service:?} was replaced meanwhile: ask again");
            let code = END_FAILED;
            return write_line(write, &Said::End(End { code, text })).await;
        }
        let Some(next) = successor(board, service, &operator).await else {
            let text = format!("service {service:?} ended");
            let code = END_FAILED;
            return write_line(write, &Said::End(End { code, text })).await;
        };
        operator = next;
        let note = format!("service {service:?} was replaced; what passed in between is not shown");
        write_line(write, &Said::Note(note)).await?;
    }
}

/// The lines before the end, and the end if it is there.
fn split(piece: &[u8]) -> (&[u8], Option<End>) {
    let whole = piece.strip_suffix(b"\n").unwrap_or(piece);
    let last = whole
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    if !whole[last..].starts_with(b"{\"end\"") {
        return (piece, None);
    }
    match serde_json::from_slice(&whole[last..]) {
        Ok(Said::End(end)) => (&piece[..last], Some(end)),
        _ => (piece, None),
    }
}

/// Who takes commands after this one.
async fn successor(board: &Board, service: &str, before: &Arc<Operator>) -> Option<Arc<Operator>> {
    let deadline = Instant::now() + SUCCESSION;
    loop {
        let operators = board.operators();
        let (_, _, now) = operators.into_iter().find(|(name, ..)| name == service)?;
        match now {
            Commands::Taken(now) if !Arc::ptr_eq(&now, before) => return Some(now),
            Commands::Taken(_) | Commands::Stopped => {}
            Commands::None => return None,
        }
        if Instant::now() > deadline {
            return None;
        }
        sleep(LOOK).await;
    }
}

/// The service that is meant and its command.
fn find(board: &Board, wanted: &Wanted) -> Result<(String, Arc<Operator>, Command), End> {
    let failed = |text: String| End {
        code: END_FAILED,
        text,
    };
    let usage = |text: String| End {
        code: END_USAGE,
        text,
    };
    let Wanted {
        plugin, request, ..
    } = wanted;
    let mut services: Vec<_> = board
        .operators()
        .into_iter()
        .filter(|(_, of, _)| of == plugin)
        .collect();
    let names: Vec<String> = services
        .iter()
        .map(|(name, ..)| format!("{name:?}"))
        .collect();
    if names.is_empty() {
        return Err(failed(format!(
            "no service of the plugin {plugin:?} is configured"
        )));
    }
    let names = names.join(", ");
    match &wanted.service {
        Some(service) => services.retain(|(name, ..)| name == service),
        None if services.len() > 1 => {
            return Err(usage(format!(
                "expected --service NAME, one of {names}, got none"
            )));
        }
        None => {}
    }
    let Some((service, _, operator)) = services.pop() else {
        let got = wanted.service.as_deref().unwrap_or_default();
        return Err(usage(format!(
            "--service: expected one of {names}, got {got:?}"
        )));
    };
    let operator = match operator {
        Commands::Taken(operator) => operator,
        Commands::Stopped => return Err(failed(format!("service {service:?} does not run"))),
        Commands::None => {
            return Err(failed(format!(
                "service {service:?}: its plugin takes no commands: it does not offer operate/1; build it with a newer SDK"
            )));
        }
    };
    let command = operator.command(&request.command).map_err(usage)?.clone();
    Ok((service, operator, command))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_told_from_rows_that_look_like_it() {
        let rows = b"{\"row\":{\"end\":1}}\n{\"note\":\"{\\\"end\\\"\"}\n";
        assert_eq!(split(rows), (&rows[..], None));
        let mut whole = rows.to_vec();
        whole.extend_from_slice(b"{\"end\":{\"code\":1,\"text\":\"x\"}}\n");
        let end = End {
            code: 1,
            text: "x".into(),
        };
        assert_eq!(split(&whole), (&rows[..], Some(end.clone())));
        assert_eq!(split(&whole[rows.len()..]), (&b""[..], Some(end)));
        assert_eq!(split(b""), (&b""[..], None));
    }
}
