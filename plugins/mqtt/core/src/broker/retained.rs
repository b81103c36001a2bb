//! Retained messages: which are kept (3.3.1.3).

use std::sync::Arc;

use super::{Broker, DropCause};
use crate::codec::QoS;
use crate::message::MessageView;
use crate::retained::SYS;
use crate::store::Record;

impl Broker {
    /// Keeps a message as the retained one of its topic; one without payload removes it.
    pub(super) fn retain(&mut self, view: &MessageView<'_>) {
        let existing = self.retained.get(view.topic).map(|message| message.expires);
        if view.payload.is_empty() && existing.is_none() {
            return;
        }
        let own = view.topic.starts_with(SYS);
        if !own && !view.payload.is_empty() && self.retains_no_more(view) {
            self.counters.dropped(DropCause::RetainedFull);
            return;
        }
        if !own && !view.payload.is_empty() && self.is_exhausted() {
            self.counters.dropped(DropCause::Overload);
            return;
        }
        let message = Arc::new(view.to_message(0));
        if self.is_stored(view.topic) {
            let record = Record::Retained { message: &message };
            if view.qos == QoS::AtMostOnce {
                self.journal.note(&record)
            } else {
                self.journal.require(&record)
            }
        }
        if let Some(Some(at)) = existing {
            self.timers.remove_retained(at, view.topic);
        }
        if view.payload.is_empty() {
            self.retained.remove(view.topic);
        } else {
            if let Some(at) = view.expires {
                self.timers.retained(at, view.topic);
            }
            self.retained.insert(message, self.now);
            self.look_at_load();
        }
    }
}
