//! `$delayed/SECONDS/topic`: messages that are published later.
//!
//! A delayed message was accepted when it came; what it is published to, and to whom, and whether its account still may,
//! is found out when its time has come. Its message expiry interval begins then, as that of a will.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::session::SessionId;
use super::{Broker, DropCause};
use crate::codec::publish::PublishProperties;
use crate::codec::{QoS, ReasonCode};
use crate::message::{Message, MessageView};
use crate::origin::Publisher;
use crate::store::Record;
use crate::time::Time;

/// What a topic begins with that is published later.
const PREFIX: &str = "$delayed/";
/// Longest delay in seconds, the one that other brokers have.
const LONGEST: u32 = 4_294_967;
/// Published in one turn.
const AT_ONCE: usize = 256;

/// Messages that wait for their time, in its order and then in their own.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    waiting: BTreeMap<(Time, u64), Waiting>,
    bytes: usize,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    /// Who published it.
    pub client_id: Arc<str>,
    /// With which account, if it had one of its own.
    pub account: Option<Arc<str>>,
    /// `expires` is its interval in milliseconds.
    pub message: Arc<Message>,
}

impl Delayed {
    pub(super) fn next(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// False if it is there already.
    pub(super) fn insert(&mut self, at: Time, number: u64, waiting: Waiting) -> bool {
        self.bytes += waiting.message.size();
        match self.waiting.insert((at, number), waiting) {
            Some(before) => {
                self.bytes -= before.message.size();
                false
            }
            None => true,
        }
    }

    pub(super) fn get_mut(&mut self, at: Time, number: u64) -> Option<&mut Waiting> {
        self.waiting.get_mut(&(at, number))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Time, u64, &Waiting)> {
        let waiting = self.waiting.iter();
        waiting.map(|((at, number), waiting)| (*at, *number, waiting))
    }

    /// Those behind one, or all.
    pub(super) fn behind(
        &self,
        last: Option<(Time, u64)>,
    ) -> impl Iterator<Item = (Time, u64, &Waiting)> {
        let start = last.map_or(Bound::Unbounded, Bound::Excluded);
        let waiting = self.waiting.range((start, Bound::Unbounded));
        waiting.map(|((at, number), waiting)| (*at, *number, waiting))
    }

    fn pop_due(&mut self, now: Time) -> Option<(u64, Waiting)> {
        let first = self.waiting.first_entry()?;
        if first.key().0 > now {
            return None;
        }
        let ((_, number), waiting) = first.remove_entry();
        self.bytes -= waiting.message.size();
        Some((number, waiting))
    }
}

/// Whether a topic is one that is published later.
pub(super) fn is_meant(topic: &str) -> bool {
    topic.starts_with(PREFIX)
}

/// Seconds and topic of one that begins with [`PREFIX`]; an error where these are none.
fn split(topic: &str) -> Result<Option<(u32, &str)>, ReasonCode> {
    let Some(rest) = topic.strip_prefix(PREFIX) else {
        return Ok(None);
    };
    let (seconds, topic) = rest.split_once('/').ok_or(ReasonCode::TopicNameInvalid)?;
    let digits = !seconds.is_empty() && seconds.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = seconds.parse().ok().filter(|_| digits);
    match seconds.filter(|seconds| *seconds <= LONGEST) {
        Some(seconds) if !topic.is_empty() => Ok(Some((seconds, topic))),
        _ => Err(ReasonCode::TopicNameInvalid),
    }
}

impl Broker {
    /// How long a topic is to be delayed, if it is, and which one it is then.
    pub(super) fn split_delay<'t>(
        &self,
        topic: &'t str,
    ) -> Result<(Option<u32>, &'t str), ReasonCode> {
        if !self.settings.rules.delayed_publish {
            return Ok((None, topic));
        }
        Ok(match split(topic)? {
            Some((seconds, topic)) => (Some(seconds), topic),
            None => (None, topic),
        })
    }

    /// Keeps a message until its time has come.
    pub(super) fn delay(
        &mut self,
        seconds: u32,
        session: SessionId,
        view: &MessageView<'_>,
        properties: &PublishProperties<'_>,
    ) -> Result<(), ReasonCode> {
        let account = self.publisher(session).map(|publisher| publisher.account);
        let Some(session) = self.sessions.get(session) else {
            return Ok(());
        };
        let client_id = Arc::clone(&session.client_id);
        let interval = properties.message_expiry_interval;
        let rules = &self.settings.rules;
        if self.delayed.len() >= rules.max_delayed_messages
            || self.delayed.bytes() + view.size() > rules.max_delayed_bytes
        {
            self.counters.dropped(DropCause::DelayedFull);
            return Err(ReasonCode::QuotaExceeded);
        }
        let number = self.next_number();
        let message = Arc::new(Message {
            expires: interval.map(|interval| Time(u64::from(interval) * 1000)),
            ..view.to_message(0)
        });
        let at = self.now.after_seconds(seconds);
        if self.settings.persistence {
            let record = Record::Delayed {
                number,
                at,
                client_id: &client_id,
                account: account.as_deref().unwrap_or_default(),
                message: &message,
            };
            match message.qos {
                QoS::AtMostOnce => self.journal.note(&record),
                _ => self.journal.require(&record),
            }
        }
        let waiting = Waiting {
            client_id,
            account,
            message,
        };
        self.delayed.insert(at, number, waiting);
        Ok(())
    }

    /// Publishes what is due, as much as fits into one turn.
    pub(super) fn publish_delayed(&mut self) {
        for _ in 0..AT_ONCE {
            let Some((number, waiting)) = self.delayed.pop_due(self.now) else {
                return;
            };
            let Waiting {
                client_id,
                account,
                message,
            } = waiting;
            if self.settings.persistence {
                let record = Record::DelayedDone { number };
                match message.qos {
                    QoS::AtMostOnce => self.journal.note(&record),
                    // Before it leaves: it would be published again after a kill.
                    _ => self.journal.require(&record),
                }
            }
            let interval = message.expires.map(|interval| interval.0);
            let view = MessageView {
                expires: interval.map(|interval| self.now + interval),
                ..MessageView::from(&*message)
            };
            // Another account may have a client of that name by now.
            let from = self.clients.get(&*client_id).copied();
            let is_its = |key: &SessionId| {
                let session = self.sessions.get(*key);
                session.is_some_and(|session| session.account == account)
            };
            let from = from.filter(|key| account.is_none() || is_its(key));
            let publisher = account.map(|account| Publisher { account, client_id });
            let may = |publisher: &Publisher| self.may_still_publish(publisher, view.topic);
            if !publisher.as_ref().is_none_or(may) {
                continue;
            }
            let route = self.subscriptions.route(view.topic);
            self.accept_of(&view, &route, from, publisher);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_stand_before_the_topic() {
        assert_eq!(split("a/b"), Ok(None));
        assert_eq!(split("$delayed"), Ok(None));
        assert_eq!(split("$delayed/0/a/b"), Ok(Some((0, "a/b"))));
        assert_eq!(split("$delayed/4294967//"), Ok(Some((LONGEST, "/"))));
        for none in [
            "",
            "5",
            "5/",
            "/a",
            "-1/a",
            "+1/a",
            "1s/a",
            "4294968/a",
            "99999999999/a",
        ] {
            let topic = format!("{PREFIX}{none}");
            assert_eq!(split(&topic), Err(ReasonCode::TopicNameInvalid), "{topic}");
        }
    }
}
