//! `tail`: shows messages as they pass the broker. The broker never waits for whoever looks: what he does not take in
//! time is left out and counted.

use std::sync::Arc;

use polyport_mqtt_core::topic::Filter;
use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde::Serialize;
use serde_json::Value;

use super::{ask, is_like, payload};
use crate::Mqtt;
use crate::engine::{Engine, Tail};

pub(super) const TAIL: Command = Command {
    name: "tail",
    operands: "FILTER",
    about: "show messages as they pass: time, client, QoS, topic, message; until Ctrl-C",
    options: &[
        (
            "-c --client CLIENT",
            "only those published by this client; * stands for anything",
        ),
        ("-n --limit COUNT", "end after so many"),
        (
            "-b --bytes COUNT",
            "of each message show so many bytes [4096]",
        ),
    ],
    columns: &[
        Column("time", "TIME", Shows::Time),
        Column("client", "CLIENT", Shows::Plain),
        Column("qos", "QOS", Shows::Plain),
        Column("topic", "TOPIC", Shows::Plain),
        Column("message", "MESSAGE", Shows::Plain),
    ],
    form: Form::Lines,
    follows: true,
};

/// What is shown of a message; its time in milliseconds since 1970.
#[derive(Serialize)]
struct Row<'a> {
    time: u64,
    client: Option<&'a str>,
    qos: u8,
    retain: bool,
    topic: &'a str,
    /// Of the whole message.
    bytes: usize,
    message: Value,
}

/// A look that ends when it is dropped.
struct Look {
    engine: Arc<Engine>,
    tail: Tail,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.engine.stop_listening(&self.tail);
    }
}

pub(super) async fn tail(
    mqtt: &Mqtt,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let filter = arguments.operand("FILTER")?;
    arguments.end()?;
    let client = arguments.value("-c").map(str::to_owned);
    let mut left = arguments.number("-n", u64::MAX, 1, u64::MAX)?;
    let most = arguments.number("-b", 4_096, 0, 1 << 20)?;
    if Filter::parse(&filter).is_none_or(|filter| filter.share.is_some()) {
        return Err(Failure::Usage(format!(
            "expected a topic filter, got {filter:?}"
        )));
    }
    let tail = ask(&mqtt.engine, |engine| engine.listen(&filter)).await?;
    let mut look = Look {
        engine: Arc::clone(&mqtt.engine),
        tail,
    };
    let mut told = 0;
    loop {
        let heard = look.tail.next().await;
        let lost = look.tail.lost();
        if lost > told {
            let text = format!(
                "{} messages were left out: they came faster than they could be shown",
                lost - told
            );
            answer.note(&text).await?;
            told = lost;
        }
        let by = heard.client_id.as_deref();
        if client
            .as_ref()
            .is_some_and(|pattern| !by.is_some_and(|by| is_like(pattern, by)))
        {
            continue;
        }
        let message = &heard.message;
        let row = Row {
            time: heard.at.0,
            client: by,
            qos: message.qos as u8,
            retain: message.retain,
            topic: &message.topic,
            bytes: message.payload.len(),
            message: payload(&message.payload, most),
        };
        answer.row(&row).await?;
        left -= 1;
        if left == 0 {
            return Ok(());
        }
    }
}
