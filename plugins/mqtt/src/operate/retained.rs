//! `retained`: lists retained messages, or removes them.

use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde::Serialize;
use serde_json::Value;
use tracing::info;

use super::{ask, limit, payload};
use crate::Mqtt;

/// Messages taken while the engine is locked, and topics looked at for them.
const PAGE: (usize, usize) = (256, 1_024);
/// Bytes of each message that are shown.
const SHOWN: usize = 60;

pub(super) const RETAINED: Command = Command {
    name: "retained",
    operands: "[FILTER]",
    about: "list retained messages, of all topics or of those that a filter matches",
    options: &[
        (
            "-d --delete",
            "remove those that FILTER matches; $SYS stays",
        ),
        ("-n --limit COUNT", "no more than so many"),
    ],
    columns: &[
        Column("topic", "TOPIC", Shows::Plain),
        Column("qos", "QOS", Shows::Plain),
        Column("bytes", "BYTES", Shows::Plain),
        Column("publisher", "PUBLISHER", Shows::Plain),
        Column("age", "AGE", Shows::Span),
        Column("expires", "EXPIRES", Shows::Span),
        Column("message", "MESSAGE", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

/// What is shown of a retained message; times in seconds.
#[derive(Serialize)]
struct Row {
    topic: String,
    qos: u8,
    bytes: usize,
    /// The account that published it.
    publisher: Option<String>,
    age: Option<u64>,
    expires: Option<u64>,
    /// Its beginning.
    message: Value,
}

pub(super) async fn retained(
    mqtt: &Mqtt,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let filter = arguments.optional_operand();
    arguments.end()?;
    let mut left = limit(&arguments)?;
    let delete = arguments.has("-d");
    if delete && filter.is_none() {
        return Err(Failure::Usage(
            "--delete: expected a FILTER, got none; # is all but those of topics that begin with $"
                .into(),
        ));
    }
    let found = ask(&mqtt.engine, |engine| {
        engine.look_for_retained(filter.as_deref())
    });
    let mut cursor = found.await?.ok_or_else(|| {
        let filter = filter.as_deref().unwrap_or_default();
        Failure::Usage(format!("expected a topic filter, got {filter:?}"))
    })?;
    let mut removed = 0;
    loop {
        let mut rows = Vec::new();
        let more = ask(&mqtt.engine, |engine| {
            engine.look_at_retained(&mut cursor, PAGE, |view, now| {
                rows.push(Row {
                    topic: view.message.topic.to_string(),
                    qos: view.message.qos as u8,
                    bytes: view.message.payload.len(),
                    publisher: view.publisher.map(str::to_owned),
                    age: view
                        .since
                        .map(|since| now.0.saturating_sub(since.0) / 1_000),
                    expires: view.message.expires.map(|at| now.seconds_until(at).into()),
                    message: payload(&view.message.payload, SHOWN),
                });
            })
        })
        .await?;
        for row in rows {
            if delete {
                let topic = &*row.topic;
                if topic.starts_with("$SYS/")
                    || !ask(&mqtt.engine, |engine| engine.remove_retained(topic)).await?
                {
                    continue;
                }
                removed += 1;
            }
            answer.row(&row).await?;
            left -= 1;
            if left == 0 {
                break;
            }
        }
        if !more || left == 0 {
            break;
        }
        tokio::task::yield_now().await;
    }
    if delete {
        mqtt.engine.stored().await;
        info!(removed, filter, "retained messages removed by the operator");
        answer.note(&format!("{removed} removed")).await?;
    }
    Ok(())
}
