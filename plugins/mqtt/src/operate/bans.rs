//! `ban`, `unban` and `bans`: who is not let in.

use polyport_mqtt_core::bans::Kind;
use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde_json::json;
use tracing::info;

use super::ask;
use crate::Mqtt;

/// Bans, and places of connections, that are looked at while the engine is locked.
const PAGE: usize = 256;
/// Longest ban with an end, in seconds: a hundred years.
const LONGEST: u64 = 3_155_760_000;

const USER: (&str, &str) = ("-u --user", "NAME is an account, not a client identifier");

pub(super) const BAN: Command = Command {
    name: "ban",
    operands: "NAME...",
    about: "close the connections of clients and let them in no more (5.0: 0x8A)",
    options: &[
        USER,
        ("-t --time SECONDS", "so long; else until it is lifted"),
        ("-r --reason TEXT", "a note, for `bans`"),
    ],
    columns: &[
        Column("name", "NAME", Shows::Plain),
        Column("closed", "CLOSED", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

pub(super) const UNBAN: Command = Command {
    name: "unban",
    operands: "NAME...",
    about: "let clients in again that were banned",
    options: &[USER],
    columns: &[Column("name", "NAME", Shows::Plain)],
    form: Form::Table,
    follows: false,
};

pub(super) const BANS: Command = Command {
    name: "bans",
    operands: "",
    about: "list who is banned",
    options: &[],
    columns: &[
        Column("kind", "KIND", Shows::Plain),
        Column("name", "NAME", Shows::Plain),
        Column("since", "SINCE", Shows::Time),
        Column("until", "UNTIL", Shows::Time),
        Column("reason", "REASON", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

/// What the operands are, and they.
fn names(arguments: &mut Arguments) -> Result<(Kind, Vec<String>), Failure> {
    let kind = match arguments.has("-u") {
        true => Kind::User,
        false => Kind::Client,
    };
    let mut names = vec![arguments.operand("NAME")?];
    while let Some(name) = arguments.optional_operand() {
        names.push(name);
    }
    Ok((kind, names))
}

fn text(kind: Kind) -> &'static str {
    match kind {
        Kind::Client => "client",
        Kind::User => "user",
    }
}

pub(super) async fn ban(
    mqtt: &Mqtt,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let (kind, names) = names(&mut arguments)?;
    let time = match arguments.value("-t") {
        Some(_) => Some(arguments.number("-t", 1, 1, LONGEST)? * 1_000),
        None => None,
    };
    let reason = arguments.value("-r").unwrap_or_default();
    for name in names {
        let connected = ask(&mqtt.engine, |engine| engine.ban(kind, &name, time, reason)).await?;
        let closed = match kind {
            Kind::Client => usize::from(connected),
            Kind::User => close_all(mqtt, &name).await?,
        };
        info!(kind = text(kind), %name, closed, %reason, "banned by the operator");
        let row = json!({ "kind": text(kind), "name": name, "closed": closed });
        answer.row(&row).await?;
    }
    mqtt.engine.stored().await;
    Ok(())
}

/// Closes the connections of an account, a page at a time.
async fn close_all(mqtt: &Mqtt, account: &str) -> Result<usize, Failure> {
    let (mut from, mut all) = (0, 0);
    loop {
        let page = ask(&mqtt.engine, |engine| {
            engine.close_banned(account, from, PAGE as u32)
        });
        let (closed, next) = page.await?;
        all += closed;
        match next {
            Some(next) => from = next,
            None => return Ok(all),
        }
        tokio::task::yield_now().await;
    }
}

pub(super) async fn unban(
    mqtt: &Mqtt,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let (kind, names) = names(&mut arguments)?;
    let mut missed = Vec::new();
    for name in names {
        if !ask(&mqtt.engine, |engine| engine.unban(kind, &name)).await? {
            missed.push(format!("{name:?}"));
            continue;
        }
        info!(kind = text(kind), %name, "ban lifted by the operator");
        let row = json!({ "kind": text(kind), "name": name });
        answer.row(&row).await?;
    }
    mqtt.engine.stored().await;
    match missed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Failed(format!(
            "expected a banned {}, got {}",
            text(kind),
            missed.join(", ")
        ))),
    }
}

pub(super) async fn bans(
    mqtt: &Mqtt,
    arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    arguments.end()?;
    let mut last: Option<(Kind, String)> = None;
    loop {
        let behind = last.as_ref().map(|(kind, name)| (*kind, &**name));
        let page = ask(&mqtt.engine, |engine| engine.bans(behind, PAGE)).await?;
        let done = page.len() < PAGE;
        for (kind, name, ban) in page {
            let row = json!({
                "kind": text(kind),
                "name": name,
                "since": ban.since.0,
                "until": ban.until.map(|until| until.0),
                "reason": ban.reason,
            });
            answer.row(&row).await?;
            last = Some((kind, name));
        }
        if done {
            return Ok(());
        }
    }
}
