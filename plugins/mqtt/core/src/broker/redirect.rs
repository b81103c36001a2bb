//! Clients are sent to another server (4.13): at their CONNECT, or when this one ends.

use super::{Broker, ConnectionId};
use crate::codec::connect::Connect;
use crate::codec::property::Property;
use crate::codec::{ReasonCode, Version};
use crate::settings::Redirect;

/// Bytes of a CONNACK or DISCONNECT around its Server Reference.
const AROUND: usize = 16;

impl Broker {
    /// Why a client is not served here; 3.x cannot be told where it would be.
    pub(super) fn redirects(&self, connect: &Connect<'_>) -> Option<ReasonCode> {
        let load = &self.settings.load;
        if load.server_reference.is_empty() {
            return None;
        }
        let reason = match load.redirect {
            _ if self.ending => ReasonCode::UseAnotherServer,
            Redirect::Drain => return None,
            Redirect::Temporary => ReasonCode::UseAnotherServer,
            Redirect::Permanent => ReasonCode::ServerMoved,
        };
        let size = connect.properties.maximum_packet_size;
        let fits = size.is_none_or(|size| self.reference_fits(size as usize));
        Some(match fits {
            true => reason,
            false => ReasonCode::ServerUnavailable,
        })
    }

    /// What a client that is told to go because the server ends is told.
    pub(super) fn parting(&self, id: ConnectionId) -> ReasonCode {
        let connection = self.connections.get(id);
        let redirected = self.ending
            && !self.settings.load.server_reference.is_empty()
            && connection.is_some_and(|connection| {
                connection.version == Version::V5
                    && self.reference_fits(connection.maximum_packet_size)
            });
        match redirected {
            true => ReasonCode::UseAnotherServer,
            false => ReasonCode::ServerShuttingDown,
        }
    }

    fn reference_fits(&self, size: usize) -> bool {
        size >= self.settings.load.server_reference.len() + AROUND
    }

    /// Where the client is sent, if that is what the reason says.
    pub(super) fn server_reference(&self, reason: ReasonCode) -> Option<Property<'_>> {
        matches!(
            reason,
            ReasonCode::UseAnotherServer | ReasonCode::ServerMoved
        )
        .then_some(Property::ServerReference(
            &self.settings.load.server_reference,
        ))
    }
}
