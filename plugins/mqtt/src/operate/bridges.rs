//! `bridges`: how the bridges are.

use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde_json::json;

use crate::Mqtt;

pub(super) const BRIDGES: Command = Command {
    name: "bridges",
    operands: "",
    about: "bridges to other brokers, and how they are",
    options: &[],
    columns: &[
        Column("bridge", "BRIDGE", Shows::Plain),
        Column("connected", "CONNECTED", Shows::Plain),
        Column("address", "ADDRESS", Shows::Plain),
        Column("queued", "QUEUED", Shows::Plain),
        Column("error", "LAST ERROR", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

pub(super) async fn bridges(
    mqtt: &Mqtt,
    arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    arguments.end()?;
    let mut rows = Vec::new();
    mqtt.bridges.each(|name, settings, report| {
        let state = report.state();
        rows.push(json!({
            "bridge": name,
            "connected": state.address.is_some(),
            "address": state.address.unwrap_or_else(|| settings.addresses.join(" ")),
            "queued": report.queued(),
            "error": state.error,
        }));
    });
    for row in rows {
        answer.row(&row).await?;
    }
    Ok(())
}
