//! All durable state written once more, a little in each batch, so that the logs before it are not needed any more.
//!
//! Sessions, messages and topics change while the walk goes on; what changes is recorded as ever. A record about a
//! session that the walk has not come to is about nothing where only the logs since its beginning are read, and the
//! session is written later as it is then. So these logs add up to the state, as those before and these do together.

use std::collections::HashSet;
use std::sync::Arc;

use super::Broker;
use super::session::{Awaiting, Session};
use crate::bans::Kind;
use crate::message::Message;
use crate::retained::SYS;
use crate::store::{Journal, Record};
use crate::time::Time;

/// Slots of sessions looked at in one batch, most of which may be empty.
const SLOTS: u32 = 4096;

/// How far a walk through the state has come.
#[derive(Debug, Default)]
pub struct Walk {
    stage: Stage,
    /// The last number that was given out before it began: what has a higher one is in the logs that stay.
    begun_at: u64,
    /// Messages that were written, of those that more than one delivery may refer to.
    shared: HashSet<u64>,
    /// Stands for messages of which only the packet identifier is left.
    received: Option<u64>,
    written: u64,
}

impl Walk {
    /// Bytes that it has written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.written
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    Begin,
    /// Topics behind this one are left.
    Retained(Box<str>),
    /// Delayed messages behind this one are left.
    Delayed(Option<(Time, u64)>),
    /// Bans behind this one are left.
    Bans(Option<(Kind, Box<str>)>),
    /// Sessions from this slot on are left; of the first one this, if it was begun.
    Sessions(u32, Option<Deliveries>),
    Done,
}

/// Numbers of deliveries of a session that are left. Those made after the session was written are recorded
/// behind it.
#[derive(Clone, Copy, Debug)]
struct Deliveries {
    behind: u64,
    until: u64,
    /// They stand in the order of their numbers, as all do that were not moved.
    in_order: bool,
}

impl Broker {
    /// Writes some `room` bytes of state to the journal, one delivery or session more; true when all of it is
    /// written. Each call is a batch of its own, and the records of the first one come to stand where those begin
    /// that stay.
    pub fn write_image(&mut self, walk: &mut Walk, room: usize, now: Time) -> bool {
        self.now = now;
        let mut slots = SLOTS;
        loop {
            let stage = match std::mem::take(&mut walk.stage) {
                Stage::Begin => {
                    let last = self.last_number;
                    walk.begun_at = last;
                    self.journal.note(&Record::Numbers { last });
                    Stage::Retained(Box::default())
                }
                Stage::Retained(behind) => self.retained_image(&behind, room),
                Stage::Delayed(behind) => self.delayed_image(behind, room),
                Stage::Bans(behind) => self.bans_image(behind, room),
                Stage::Sessions(slot, left) => {
                    slots -= 1;
                    self.session_image(walk, slot, left, room)
                }
                Stage::Done => Stage::Done,
            };
            let done = matches!(stage, Stage::Done);
            walk.stage = stage;
            let written = self.journal.unsealed();
            if done || slots == 0 || written >= room {
                walk.written += written as u64;
                return done;
            }
        }
    }

    fn retained_image(&mut self, behind: &str, room: usize) -> Stage {
        let kept = self.retained.behind(behind);
        for (message, origin) in kept.filter(|(message, _)| !message.topic.starts_with(SYS)) {
            let origin = Some(origin);
            self.journal.note(&Record::Retained { message, origin });
            if self.journal.unsealed() >= room {
                return Stage::Retained(message.topic.clone());
            }
        }
        Stage::Delayed(None)
    }

    fn delayed_image(&mut self, behind: Option<(Time, u64)>, room: usize) -> Stage {
        for (at, number, waiting) in self.delayed.behind(behind) {
            self.journal.note(&Record::Delayed {
                number,
                at,
                client_id: &waiting.client_id,
                account: waiting.account.as_deref().unwrap_or_default(),
                message: &waiting.message,
            });
            if self.journal.unsealed() >= room {
                return Stage::Delayed(Some((at, number)));
            }
        }
        Stage::Bans(None)
    }

    fn bans_image(&mut self, behind: Option<(Kind, Box<str>)>, room: usize) -> Stage {
        let behind = behind.as_ref().map(|(kind, name)| (*kind, &**name));
        for (kind, name, ban) in self.bans.behind(behind) {
            self.journal.note(&Record::Banned { kind, name, ban });
            if self.journal.unsealed() >= room {
                return Stage::Bans(Some((kind, name.into())));
            }
        }
        Stage::Sessions(0, None)
    }

    fn session_image(
        &mut self,
        walk: &mut Walk,
        slot: u32,
        left: Option<Deliveries>,
        room: usize,
    ) -> Stage {
        let (mut here, next) = self.sessions.page(slot, 1);
        let next = next.map_or(Stage::Done, |slot| Stage::Sessions(slot, None));
        let Some((_, session)) = here.next().filter(|(_, session)| session.recorded) else {
            return next;
        };
        let left = left.unwrap_or_else(|| {
            note_session(session, self.now, &mut self.journal);
            let messages = &session.messages;
            Deliveries {
                behind: 0,
                until: self.last_number,
                in_order: messages.in_flight.iter().is_sorted_by_key(|it| it.number)
                    && messages.queue.iter().is_sorted_by_key(|it| it.number),
            }
        });
        let mut writing = Writing {
            session: session.number,
            walk,
            last_number: &mut self.last_number,
            journal: &mut self.journal,
        };
        match writing.deliveries(session, left, room) {
            Some(behind) => Stage::Sessions(slot, Some(Deliveries { behind, ..left })),
            None => {
                writing.left_shares(session);
                next
            }
        }
    }
}

/// What a session is but for its deliveries.
pub(super) fn note_session(session: &Session, now: Time, journal: &mut Journal) {
    let will = session.will.as_ref();
    journal.note(&Record::Session {
        session: session.number,
        client_id: &session.client_id,
        expiry: session.expiry,
        will: will.map(|will| (&*will.message, will.delay)),
    });
    if let Some(account) = session.account.as_deref() {
        journal.note(&Record::SessionAccount {
            session: session.number,
            account,
        });
    }
    if session.connection.is_none() {
        let before = |at: Time, seconds: u32| Time(at.0.saturating_sub(u64::from(seconds) * 1000));
        let will = will.zip(session.deadlines.will_at);
        let since = session
            .deadlines
            .ends_at
            .map(|at| before(at, session.expiry))
            .or(will.map(|(will, at)| before(at, will.delay)));
        journal.note(&Record::Offline {
            session: session.number,
            at: since.unwrap_or(now).min(now),
            will_done: false,
        });
    }
    if !session.durable {
        return;
    }
    for (filter, (options, identifier)) in &session.subscriptions {
        journal.note(&Record::Subscribed {
            session: session.number,
            filter,
            options: options.encode(),
            identifier: *identifier,
        });
    }
    for &packet_identifier in session.messages.received.keys() {
        journal.note(&Record::Received {
            session: session.number,
            packet_identifier,
        });
    }
}

/// The deliveries of one session on their way to the journal.
struct Writing<'a> {
    session: u64,
    walk: &'a mut Walk,
    last_number: &'a mut u64,
    journal: &'a mut Journal,
}

impl Writing<'_> {
    /// Writes what is left, as far as there is room: the last that was written, or none when all was.
    fn deliveries(&mut self, session: &Session, left: Deliveries, room: usize) -> Option<u64> {
        if !session.durable {
            return None;
        }
        // Where the walk cannot go by their order it writes them all at once.
        let room = if left.in_order { room } else { usize::MAX };
        let is_left = |number| (left.behind + 1..=left.until).contains(&number);
        let in_flight = session.messages.in_flight.iter();
        for entry in in_flight.filter(|entry| is_left(entry.number)) {
            let message = match &entry.delivery {
                Some(delivery) => self.message(&delivery.message),
                None => self.received(),
            };
            self.journal.note(&entry.record(self.session, message));
            if entry.awaiting == Awaiting::Pubcomp {
                self.journal.note(&Record::Released {
                    session: self.session,
                    delivery: entry.number,
                });
            }
            if self.journal.unsealed() >= room {
                return Some(entry.number);
            }
        }
        let queue = &session.messages.queue;
        let written = match left.in_order {
            true => queue.partition_point(|delivery| delivery.number <= left.behind),
            false => 0,
        };
        let queue = queue.range(written..);
        for delivery in queue.filter(|delivery| is_left(delivery.number)) {
            self.message(&delivery.message);
            self.journal.note(&delivery.record(self.session));
            if self.journal.unsealed() >= room {
                return Some(delivery.number);
            }
        }
        None
    }

    /// Behind the deliveries that they are remembered for.
    fn left_shares(&mut self, session: &Session) {
        let left = session.messages.left_shares.iter();
        let left = left.filter(|_| session.durable);
        for filter in left.filter(|filter| !session.subscriptions.contains_key(filter)) {
            self.journal.note(&Record::Unsubscribed {
                session: self.session,
                filter,
            });
        }
    }

    /// Has the message written unless it is already.
    fn message(&mut self, message: &Arc<Message>) -> u64 {
        let number = message.stored;
        let alone = Arc::strong_count(message) == 1;
        let written = number > self.walk.begun_at
            || match alone {
                true => self.walk.shared.contains(&number),
                false => !self.walk.shared.insert(number),
            };
        if !written {
            self.journal.note(&Record::Message { message });
        }
        number
    }

    fn received(&mut self) -> u64 {
        let (journal, last) = (&mut *self.journal, &mut *self.last_number);
        *self.walk.received.get_or_insert_with(|| {
            *last += 1;
            let message = &Message::received(*last);
            journal.note(&Record::Message { message });
            *last
        })
    }
}
