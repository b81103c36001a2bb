//! PUBLISH towards a client: one head for all receivers that take the same, aliases, limits.

use std::collections::HashMap;

use super::connection::Connection;
use super::{Counters, DropCause};
use crate::codec::QoS;
use crate::codec::Version;
use crate::codec::publish::Head;
use crate::message::{MessageView, SHARED_PAYLOAD};
use crate::time::Time;

/// The heads of one message, each encoded once for all receivers that take the same.
#[derive(Debug, Default)]
pub(super) struct Heads {
    entries: [HeadEntry; 12],
}

#[derive(Debug, Default)]
struct HeadEntry {
    valid: bool,
    identifier_at: usize,
    bytes: Vec<u8>,
}

impl Heads {
    pub(super) fn reset(&mut self) {
        for entry in &mut self.entries {
            entry.valid = false;
        }
    }

    fn get(&mut self, head: &Head<'_>) -> (&[u8], usize) {
        let at = usize::from(head.version.is_v5()) * 6
            + head.qos as usize * 2
            + usize::from(head.retain);
        let entry = &mut self.entries[at];
        if !entry.valid {
            entry.bytes.clear();
            entry.identifier_at = head.encode(&mut entry.bytes);
            entry.valid = true;
        }
        (&entry.bytes, entry.identifier_at)
    }
}

/// One PUBLISH to one client.
#[derive(Clone, Copy)]
pub(super) struct Sending<'a> {
    pub qos: QoS,
    pub retain: bool,
    pub dup: bool,
    pub packet_identifier: u16,
    pub identifiers: &'a [u32],
}

/// Writes one PUBLISH; false when it is larger than the client takes or its time has passed.
pub(super) fn send(
    connection: &mut Connection,
    heads: Option<&mut Heads>,
    counters: &mut Counters,
    now: Time,
    view: &MessageView<'_>,
    sending: Sending<'_>,
) -> bool {
    let Sending {
        qos,
        retain,
        dup,
        packet_identifier,
        identifiers,
    } = sending;
    let mut head = Head {
        version: connection.version,
        qos,
        retain,
        dup,
        topic: view.topic,
        topic_alias: 0,
        message_expiry_interval: None,
        subscription_identifiers: identifiers,
        properties: view.properties,
        payload: view.payload.len(),
    };
    if connection.version == Version::V5 {
        head.message_expiry_interval = view.expires.map(|at| now.seconds_until(at));
    }
    let alone = dup || !identifiers.is_empty() || connection.topic_alias_maximum_out > 0;
    let mut encoded = Vec::new();
    let mut cached = heads.filter(|_| !alone);
    let (mut bytes, mut identifier_at) = match &mut cached {
        Some(heads) => heads.get(&head),
        None => {
            let at = head.encode(&mut encoded);
            (&encoded[..], at)
        }
    };
    if bytes.len() + view.payload.len() > connection.maximum_packet_size {
        counters.dropped(DropCause::TooLarge);
        return false;
    }
    let mut with_alias = Vec::new();
    if connection.topic_alias_maximum_out > 0 {
        let aliases = connection.topic_aliases_out.as_deref();
        let known = aliases.and_then(|aliases| aliases.get(view.topic).copied());
        let given = aliases.map_or(0, HashMap::len);
        if let Some(alias) = known {
            head.topic_alias = alias;
            head.topic = "";
        } else if given < usize::from(connection.topic_alias_maximum_out) {
            head.topic_alias = given as u16 + 1;
        }
        let at = head.encode(&mut with_alias);
        if head.topic_alias > 0
            && with_alias.len() + view.payload.len() <= connection.maximum_packet_size
        {
            if known.is_none() {
                connection
                    .topic_aliases_out
                    .get_or_insert_default()
                    .insert(view.topic.into(), head.topic_alias);
            }
            (bytes, identifier_at) = (&with_alias, at);
        }
    }
    let out = connection.output.small();
    let start = out.len();
    out.extend_from_slice(bytes);
    if packet_identifier > 0 {
        out[start + identifier_at..start + identifier_at + 2]
            .copy_from_slice(&packet_identifier.to_be_bytes());
    }
    match view.owner {
        Some(owner) if view.payload.len() >= SHARED_PAYLOAD => {
            connection.output.share(owner.slice_ref(view.payload));
        }
        _ => out.extend_from_slice(view.payload),
    }
    counters.messages_sent += 1;
    counters.traffic.packets_sent += 1;
    counters.traffic.payload_sent += view.payload.len() as u64;
    true
}
