//! What one broker leaves to the next: its clock, how far its store has come, and its state.

use std::os::fd::OwnedFd;

use polyport_mqtt_core::Time;
use polyport_mqtt_core::codec::primitives::Reader;
use polyport_mqtt_core::codec::{self, Error};
use polyport_mqtt_core::store::record::{put_u64, u64};
use polyport_sdk::handover::{Estate, Handover};

use crate::store::{Bequest, Place};

/// What is handed over, and from which version on it is taken.
pub(crate) const HANDOVER: Handover = Handover {
    version: 3,
    oldest: 1,
    estate: true,
};

/// What was left.
pub(crate) struct Left<'a> {
    /// The time when it was frozen.
    pub(crate) now: Time,
    /// Its store, if it had one.
    pub(crate) bequest: Option<Bequest>,
    /// The broker.
    pub(crate) broker: &'a [u8],
}

/// The estate of a broker with this time, store and state.
pub(crate) fn leave(now: Time, bequest: Option<Bequest>, broker: Vec<u8>) -> Estate {
    let mut head = Vec::new();
    put_u64(&mut head, now.0);
    head.push(bequest.is_some().into());
    if let Some(Bequest { place, .. }) = &bequest {
        for number in [place.number, place.length, place.image_bytes] {
            put_u64(&mut head, number);
        }
        head.push(place.synced.into());
    }
    // Not a copy: that of a large broker would take as much memory again.
    let mut state = broker;
    state.splice(..0, head);
    Estate {
        version: HANDOVER.version,
        state,
        files: bequest.map_or_else(Vec::new, |bequest| vec![bequest.lock, bequest.log]),
    }
}

/// What [`leave`] left.
pub(crate) fn take(state: &[u8], files: Vec<OwnedFd>) -> Result<Left<'_>, codec::Error> {
    let mut reader = Reader::new(state);
    let now = Time(u64(&mut reader)?);
    let has_store = reader.byte()? != 0;
    let bequest = if has_store {
        let place = Place {
            number: u64(&mut reader)?,
            length: u64(&mut reader)?,
            image_bytes: u64(&mut reader)?,
            synced: reader.byte()? != 0,
        };
        let [lock, log]: [OwnedFd; 2] = files
            .try_into()
            .map_err(|_| Error::Malformed("expected the two files of a store"))?;
        Some(Bequest { place, lock, log })
    } else {
        None
    };
    Ok(Left {
        now,
        bequest,
        broker: reader.rest(),
    })
}
