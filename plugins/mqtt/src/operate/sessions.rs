//! `clients` and `sessions`: who is connected, and what is kept for whom.

use polyport_mqtt_core::broker::SessionView;
use polyport_mqtt_core::codec::Version;
use polyport_sdk::Context;
use polyport_sdk::client::Arguments;
use polyport_sdk::operate::{Answer, Column, Command, Failure, Form, Shows};
use serde::Serialize;
use serde_json::Value;

use super::{ask, is_like, limit};
use crate::Mqtt;
use crate::engine::Client;
use crate::serve::listener_name;

/// Places looked at while the engine is locked.
const PAGE: u32 = 256;
/// Filters of one session that are shown.
const FILTERS: usize = 1_000;

const ID: (&str, &str) = ("-u --user USER", "only those of this account");
const LIMIT: (&str, &str) = ("-n --limit COUNT", "no more than so many");
const WITH_FILTERS: (&str, &str) = (
    "-s --subscriptions",
    "with the filters of each, the first 1,000",
);

pub(super) const CLIENTS: Command = Command {
    name: "clients",
    operands: "[CLIENT]",
    about: "list who is connected; CLIENT is an identifier, * in it stands for anything",
    options: &[
        ID,
        (
            "-p --peer ADDRESS",
            "only from this address, or address and port",
        ),
        LIMIT,
        WITH_FILTERS,
    ],
    columns: &[
        Column("client", "CLIENT", Shows::Plain),
        Column("user", "USER", Shows::Plain),
        Column("peer", "PEER", Shows::Plain),
        Column("version", "MQTT", Shows::Plain),
        Column("listener", "LISTENER", Shows::Plain),
        Column("since", "SINCE", Shows::Time),
        Column("keep_alive", "KEEP", Shows::Span),
        Column("in_flight", "IN-FLIGHT", Shows::Plain),
        Column("queued", "QUEUED", Shows::Plain),
        Column("bytes", "BYTES", Shows::Plain),
        Column("unsent", "UNSENT", Shows::Plain),
        Column("subscriptions", "SUBS", Shows::Plain),
        Column("filters", "FILTERS", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

pub(super) const SESSIONS: Command = Command {
    name: "sessions",
    operands: "[CLIENT]",
    about: "list all sessions, also of clients that are not connected",
    options: &[
        ID,
        (
            "-d --disconnected",
            "only those of clients that are not connected",
        ),
        LIMIT,
        WITH_FILTERS,
    ],
    columns: &[
        Column("client", "CLIENT", Shows::Plain),
        Column("connected", "CONNECTED", Shows::Plain),
        Column("user", "USER", Shows::Plain),
        Column("expiry", "EXPIRY", Shows::Span),
        Column("ends", "ENDS", Shows::Time),
        Column("in_flight", "IN-FLIGHT", Shows::Plain),
        Column("queued", "QUEUED", Shows::Plain),
        Column("bytes", "BYTES", Shows::Plain),
        Column("subscriptions", "SUBS", Shows::Plain),
        Column("stored", "STORED", Shows::Plain),
        Column("will", "WILL", Shows::Plain),
        Column("filters", "FILTERS", Shows::Plain),
    ],
    form: Form::Table,
    follows: false,
};

/// What is shown of a session; times in milliseconds since 1970.
#[derive(Serialize)]
struct Row {
    client: String,
    connected: bool,
    user: Option<String>,
    peer: Option<String>,
    version: Option<&'static str>,
    listener: Option<String>,
    since: Option<u64>,
    last_packet: Option<u64>,
    keep_alive: Option<u64>,
    in_flight: usize,
    queued: usize,
    /// Of messages in flight and queued.
    bytes: usize,
    /// Bytes that the client has not taken.
    unsent: Option<usize>,
    subscriptions: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    filters: Option<Vec<String>>,
    expiry: Value,
    ends: Option<u64>,
    stored: bool,
    will: bool,
    bridge: bool,
}

struct Wanted {
    client: Option<String>,
    user: Option<String>,
    peer: Option<String>,
    connected: Option<bool>,
    filters: bool,
}

pub(super) async fn list(
    mqtt: &Mqtt,
    clients: bool,
    mut arguments: Arguments,
    answer: &Answer,
) -> Result<(), Failure> {
    let client = arguments.optional_operand();
    arguments.end()?;
    let mut left = limit(&arguments)?;
    let value = |name: &str| arguments.value(name).map(str::to_owned);
    let wanted = Wanted {
        client,
        user: value("-u"),
        peer: if clients { value("-p") } else { None },
        connected: match (clients, arguments.has("-d")) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        },
        filters: arguments.has("-s"),
    };
    let mut from = 0;
    loop {
        let mut rows = Vec::new();
        let next = ask(&mqtt.engine, |engine| {
            engine.look_at_sessions(from, PAGE, |view, client| {
                if wanted.wants(&view, client) {
                    rows.push(wanted.row(&view, client, &mqtt.context));
                }
            })
        })
        .await?;
        for row in rows {
            answer.row(&row).await?;
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
        match next {
            Some(next) => from = next,
            None => return Ok(()),
        }
        tokio::task::yield_now().await;
    }
}

impl Wanted {
    fn wants(&self, view: &SessionView<'_>, client: Option<&Client>) -> bool {
        let connection = view.connection();
        let user = connection.and_then(|connection| connection.account);
        let peer = || client.map(|client| client.peer.to_string());
        self.connected
            .is_none_or(|connected| connected == connection.is_some())
            && self
                .client
                .as_ref()
                .is_none_or(|pattern| is_like(pattern, view.client_id()))
            && self.user.as_deref().is_none_or(|name| user == Some(name))
            && self.peer.as_ref().is_none_or(|wanted| {
                peer().is_some_and(|peer| {
                    let host = peer.rsplit_once(':').map_or(&*peer, |(host, _)| host);
                    peer == *wanted || host.trim_matches(['[', ']']) == wanted
                })
            })
    }

    fn row(&self, view: &SessionView<'_>, client: Option<&Client>, context: &Context) -> Row {
        let connection = view.connection();
        let client = client.filter(|_| connection.is_some_and(|connection| !connection.local));
        let listener = |client: &Client| {
            Some(listener_name(context, client.listener)).filter(|name| !name.is_empty())
        };
        let filters = self.filters.then(|| {
            let mut filters: Vec<String> = view
                .filters()
                .take(FILTERS)
                .map(|(filter, _)| filter.to_owned())
                .collect();
            filters.sort();
            filters
        });
        Row {
            client: view.client_id().to_owned(),
            connected: connection.is_some(),
            user: connection.and_then(|it| it.account.map(str::to_owned)),
            peer: client.map(|client| client.peer.to_string()),
            version: connection.map(|it| match it.version {
                Version::V31 => "3.1",
                Version::V311 => "3.1.1",
                Version::V5 => "5.0",
            }),
            listener: client.and_then(listener),
            since: connection.map(|it| it.since.0),
            last_packet: connection.map(|it| it.last_packet.0),
            keep_alive: connection.and_then(|it| it.keep_alive),
            in_flight: view.in_flight(),
            queued: view.queued(),
            bytes: view.in_flight_bytes() + view.queued_bytes(),
            unsent: connection.map(|it| it.unsent),
            subscriptions: view.subscriptions(),
            filters,
            expiry: match view.expiry() {
                u32::MAX => "never".into(),
                seconds => seconds.into(),
            },
            ends: view.ends_at().map(|at| at.0),
            stored: view.durable(),
            will: view.has_will(),
            bridge: connection.is_some_and(|it| it.bridge || it.local),
        }
    }
}
