//! A broker at work that begins to keep its state in a store.

use std::collections::HashMap;
use std::sync::Arc;

use super::Broker;
use crate::broker::image::note_session;
use crate::broker::session::{Awaiting, Session};
use crate::message::Message;
use crate::retained::SYS;
use crate::store::{Journal, Record, State};

/// Numbers for what goes to the store. A message has one, whoever it is delivered to.
struct Numbers {
    last: u64,
    kept: Vec<Arc<Message>>,
    messages: HashMap<*const Message, Arc<Message>>,
}

impl Numbers {
    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The message under its number in the store, which is told of it once.
    fn stored(&mut self, message: &Arc<Message>, journal: &mut Journal) -> Arc<Message> {
        if let Some(stored) = self.messages.get(&Arc::as_ptr(message)) {
            return stored.clone();
        }
        let stored = Arc::new(message.numbered(self.next()));
        journal.require(&Record::Message { message: &stored });
        // The key stays alive with what it stands for: no other message gets its address meanwhile.
        self.kept.push(message.clone());
        self.messages.insert(Arc::as_ptr(message), stored.clone());
        stored
    }
}

impl Broker {
    /// Keeps its state from now on in a store, in which `state` was found: what is here already is the newer. The
    /// journal then holds all that the store has to learn. Once, before anything else happens to a broker that was
    /// imported.
    pub fn begin_store(&mut self, mut state: State) {
        self.last_number = self.last_number.max(state.last_number);
        let last = self.last_number;
        self.journal.require(&Record::Numbers { last });
        state.sessions.retain(|&session, stored| {
            let known = self.clients.contains_key(stored.client_id.as_str());
            if known {
                self.journal.require(&Record::SessionEnded { session });
            }
            !known
        });
        state
            .retained
            .retain(|topic, _| self.retained.get(topic).is_none());
        let retained = self.retained.iter();
        for (message, origin) in retained.filter(|(message, _)| !message.topic.starts_with(SYS)) {
            let origin = Some(origin);
            self.journal.require(&Record::Retained { message, origin });
        }
        state
            .bans
            .retain(|(kind, name), _| !self.is_banned(*kind, name));
        for (kind, name, ban) in self.bans.behind(None) {
            self.journal.require(&Record::Banned { kind, name, ban });
        }
        let mut numbers = Numbers {
            last: self.last_number,
            kept: Vec::new(),
            messages: HashMap::new(),
        };
        for key in self.sessions.keys() {
            let Some(session) = self.sessions.get_mut(key) else {
                continue;
            };
            session.number = numbers.next();
            session.durable = session.expiry > 0;
            session.recorded = session.durable || session.will.is_some();
            if session.recorded {
                note_session(session, self.now, &mut self.journal);
            }
            if session.durable {
                record_deliveries(session, &mut numbers, &mut self.journal);
            }
        }
        let delayed = std::mem::take(&mut self.delayed);
        for (at, _, waiting) in delayed.iter() {
            let number = numbers.next();
            self.journal.require(&Record::Delayed {
                number,
                at,
                client_id: &waiting.client_id,
                account: waiting.account.as_deref().unwrap_or_default(),
                message: &waiting.message,
            });
            self.delayed.insert(at, number, waiting.clone());
        }
        self.last_number = numbers.last;
        self.restore(state);
    }
}

/// In the order of their numbers, which is that of delivery.
fn record_deliveries(session: &mut Session, numbers: &mut Numbers, journal: &mut Journal) {
    let Some(messages) = session.messages.get_mut() else {
        return;
    };
    let received = Arc::new(Message::received(0));
    for entry in &mut messages.in_flight {
        entry.number = numbers.next();
        let message = match &mut entry.delivery {
            Some(delivery) => {
                delivery.number = entry.number;
                delivery.message = numbers.stored(&delivery.message, journal);
                delivery.message.clone()
            }
            None => numbers.stored(&received, journal),
        };
        journal.require(&entry.record(session.number, message.stored));
        if entry.awaiting == Awaiting::Pubcomp {
            journal.require(&Record::Released {
                session: session.number,
                delivery: entry.number,
            });
        }
    }
    for delivery in &mut messages.queue {
        delivery.number = numbers.next();
        delivery.message = numbers.stored(&delivery.message, journal);
        journal.require(&delivery.record(session.number));
    }
}
