//! `kick`: closes connections.

use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde_json::json;
use tracing::info;

use super::ask;
use crate::Mqtt;

pub(super) const KICK: Command = Command {
    name: "kick",
    operands: "CLIENT...",
    about: "close the connections of clients (5.0: DISCONNECT 0x98); they may come back",
    options: &[(
        "-s --session",
        "end their sessions as well, connected or not",
    )],
    columns: &[
        Column("client", "CLIENT", Shows::Plain),
        Column("closed", "CLOSED", Shows::Plain),
        Column("session_ended", "SESSION ENDED", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

pub(super) async fn kick(
    mqtt: &Mqtt,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let with_session = arguments.has("-s");
    let mut clients = vec![arguments.operand("CLIENT")?];
    while let Some(client) = arguments.optional_operand() {
        clients.push(client);
    }
    let mut missed = Vec::new();
    for client in clients {
        let kicked = ask(&mqtt.engine, |engine| engine.kick(&client, with_session)).await?;
        if !kicked.connected && !kicked.session {
            missed.push(format!("{client:?}"));
            continue;
        }
        info!(client_id = %client, session = kicked.session, "client kicked by the operator");
        let row = json!({
            "client": client,
            "closed": kicked.connected,
            "session_ended": kicked.session,
        });
        answer.row(&row).await?;
    }
    mqtt.engine.stored().await;
    if missed.is_empty() {
        return Ok(());
    }
    let expected = match with_session {
        true => "a session",
        false => "a connection",
    };
    Err(Failure::Failed(format!(
        "expected {expected} of {}, got none",
        missed.join(", ")
    )))
}
