//! Which listener clients came by: limits may be for some of them.

use super::session::SessionId;
use super::{Broker, ConnectionId, Phase};

/// A listener, by its place among those that anybody came by; the default is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Door(u16);

/// Their names.
#[derive(Debug, Default)]
pub(super) struct Doors(Vec<Box<str>>);

impl Doors {
    /// The name of a listener, if one is known.
    pub(super) fn name(&self, Door(place): Door) -> Option<&str> {
        let place = usize::from(place).checked_sub(1)?;
        self.0.get(place).map(|name| &**name)
    }

    pub(super) fn door(&mut self, name: &str) -> Door {
        let known = self.0.iter().position(|known| **known == *name);
        let place = known.unwrap_or(self.0.len());
        // Nobody has so many; who comes by one more came by none.
        let Ok(door) = u16::try_from(place + 1) else {
            return Door::default();
        };
        if known.is_none() {
            self.0.push(name.into());
        }
        Door(door)
    }
}

impl Broker {
    /// Tells which listener a connection came by, as `SCHEME://ADDRESS`: after [`Broker::open`], and after
    /// [`Broker::attach`] again.
    pub fn came_by(&mut self, id: ConnectionId, listener: &str) {
        let door = self.doors.door(listener);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.door = door;
        if let Phase::Connected(key) = connection.phase {
            self.set_door(key, door);
        }
    }

    /// By which listener the client of a session came last.
    pub(super) fn set_door(&mut self, key: SessionId, door: Door) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.door != door {
            session.door = door;
            self.assign_limits_of(key);
        }
    }
}
