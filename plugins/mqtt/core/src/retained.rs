//! Retained messages by topic name (3.3.1.3), in the order of their levels: a lookup by wildcard skips what cannot
//! match, and can stop anywhere and go on later, whatever has changed meanwhile.

mod accounts;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::Arc;

use crate::message::Message;
use crate::origin::{Origin, Publisher};
use crate::time::Time;

use accounts::Accounts;
pub(crate) use accounts::Held;

/// How topics of the broker's own begin: they count against no limit and are not stored.
pub(crate) const SYS: &str = "$SYS/";

/// No place among publishers.
pub(crate) const NOBODY: u32 = u32::MAX;

/// Smaller than every character of a topic name but `/`, which this order puts first: what is beneath a topic
/// follows right after it.
const PAST: char = '\u{1}';

/// The retained messages.
#[derive(Debug, Default)]
pub(crate) struct Retained {
    messages: BTreeSet<Kept>,
    /// Those of clients, and their bytes.
    count: usize,
    bytes: usize,
    last: u64,
    /// Of each account, while that is asked for.
    accounts: Option<Accounts>,
}

/// A retained message, and how many were retained before it.
#[derive(Debug)]
struct Kept {
    message: Arc<Message>,
    number: u64,
    origin: Origin,
}

/// A retained message that was found, and where it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub message: Arc<Message>,
    pub origin: Origin,
}

impl From<&Kept> for Found {
    fn from(kept: &Kept) -> Self {
        Found {
            message: Arc::clone(&kept.message),
            origin: kept.origin.clone(),
        }
    }
}

/// Something that is found by a topic name.
trait Named {
    fn name(&self) -> &str;
}

impl Named for Kept {
    fn name(&self) -> &str {
        &self.message.topic
    }
}

impl Named for &str {
    fn name(&self) -> &str {
        self
    }
}

impl<'a> Borrow<dyn Named + 'a> for Kept {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for dyn Named + '_ {}

impl PartialOrd for dyn Named + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Named + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        by_levels(self.name(), other.name())
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        by_levels(self.name(), other.name())
    }
}

/// What a message is to the counts: one, and its bytes.
fn counted(message: &Message) -> (usize, usize) {
    match message.topic.starts_with(SYS) {
        true => (0, 0),
        false => (1, message.size()),
    }
}

fn by_levels(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((&a, &b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

/// Where a lookup stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Search {
    pub filter: Box<str>,
    /// No topic before this one is left.
    pub from: Box<str>,
    /// Messages that were retained after the search began are not found.
    pub until: u64,
}

/// What a topic is to a filter.
enum Verdict {
    Matches,
    /// Nothing from here to there matches.
    Skip(String),
    /// Nothing behind it matches.
    End,
}

impl Retained {
    /// How many there are in all.
    pub(crate) fn total(&self) -> usize {
        self.messages.len()
    }

    /// How many clients retained.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Topics, payloads and properties of those.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, topic: &str) -> Option<&Arc<Message>> {
        let kept = self.messages.get(&topic as &dyn Named);
        kept.map(|kept| &kept.message)
    }

    pub(crate) fn insert(&mut self, message: Arc<Message>, origin: Origin) {
        self.last += 1;
        let number = self.last;
        let (count, bytes) = counted(&message);
        self.count += count;
        self.bytes += bytes;
        if let Some(accounts) = &mut self.accounts {
            accounts.add(&origin, (count, bytes));
        }
        let before = self.messages.replace(Kept {
            message,
            number,
            origin,
        });
        self.uncount(before.as_ref());
    }

    fn uncount(&mut self, before: Option<&Kept>) {
        let Some(before) = before else {
            return;
        };
        let (count, bytes) = counted(&before.message);
        self.count -= count;
        self.bytes -= bytes;
        if let Some(accounts) = &mut self.accounts {
            accounts.remove(&before.origin, (count, bytes));
        }
    }

    /// Whether it is counted from now on what each account has retained. To begin is to look at all there are.
    pub(crate) fn count_accounts(&mut self, wanted: bool) {
        if wanted != self.accounts.is_some() {
            self.accounts = wanted.then(|| self.counted_accounts());
        }
    }

    /// Whether it is.
    pub(crate) fn counts_accounts(&self) -> bool {
        self.accounts.is_some()
    }

    fn counted_accounts(&self) -> Accounts {
        let mut accounts = Accounts::default();
        for kept in &self.messages {
            accounts.add(&kept.origin, counted(&kept.message));
        }
        accounts
    }

    /// What an account has retained in other topics than this one; nothing while that is not counted.
    pub(crate) fn held_elsewhere(&self, account: &str, topic: &str) -> Held {
        let Some(accounts) = &self.accounts else {
            return Held::default();
        };
        let mut held = accounts.get(account);
        let kept = self.messages.get(&topic as &dyn Named);
        let own = kept.filter(|kept| {
            let publisher = kept.origin.publisher.as_ref();
            publisher.is_some_and(|publisher| *publisher.account == *account)
        });
        if let Some(own) = own {
            let (count, bytes) = counted(&own.message);
            held.count -= count;
            held.bytes -= bytes;
        }
        held
    }

    /// Where each comes from, in their order.
    pub(crate) fn origins(&self) -> impl Iterator<Item = &Origin> {
        self.messages.iter().map(|kept| &kept.origin)
    }

    /// When each was retained, as another broker told it.
    pub(crate) fn set_since(&mut self, since: &[Time]) {
        self.change_origins(since, |origin, &since| origin.since = since);
    }

    /// Who published each, as another broker told it: places among the publishers, [`NOBODY`] where there is none.
    pub(crate) fn set_publishers(&mut self, publishers: &[Publisher], of_each: &[u32]) {
        self.change_origins(of_each, |origin, &place| {
            origin.publisher = publishers.get(place as usize).cloned();
        });
    }

    fn change_origins<T>(&mut self, told: &[T], change: impl Fn(&mut Origin, &T)) {
        let messages = std::mem::take(&mut self.messages);
        let changed = messages.into_iter().zip(told).map(|(mut kept, told)| {
            change(&mut kept.origin, told);
            kept
        });
        self.messages = changed.collect();
        self.accounts = self.accounts.is_some().then(|| self.counted_accounts());
    }

    /// The numbers that another broker gave to the same messages, in their order.
    pub(crate) fn renumber(&mut self, numbers: &[u64], last: u64) {
        let messages = std::mem::take(&mut self.messages);
        self.messages = messages
            .into_iter()
            .zip(numbers)
            .map(|(kept, &number)| Kept { number, ..kept })
            .collect();
        self.last = last;
    }

    /// How many were retained so far.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Removes the message of a topic; false when there was none.
    pub(crate) fn remove(&mut self, topic: &str) -> bool {
        let removed = self.messages.take(&topic as &dyn Named);
        self.uncount(removed.as_ref());
        removed.is_some()
    }

    /// All of them, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<Message>, &Origin)> {
        let messages = self.messages.iter();
        messages.map(|kept| (&kept.message, &kept.origin))
    }

    /// Those behind a topic, in order.
    pub(crate) fn behind(&self, topic: &str) -> impl Iterator<Item = (&Arc<Message>, &Origin)> {
        let start = &topic as &dyn Named;
        let range = (Bound::Excluded(start), Bound::Unbounded);
        let behind = self.messages.range::<dyn Named, _>(range);
        behind.map(|kept| (&kept.message, &kept.origin))
    }

    /// Their numbers, in the same order.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u64> {
        self.messages.iter().map(|kept| kept.number)
    }

    /// Adds messages from where a search stands on, whatever its filter, until there are `wanted`. False when there is
    /// no more.
    pub(crate) fn page(&self, search: &mut Search, wanted: usize, found: &mut Vec<Found>) -> bool {
        let from = &*search.from;
        let start = &from as &dyn Named;
        let range = (Bound::Included(start), Bound::Unbounded);
        let mut next = None;
        for kept in self.messages.range::<dyn Named, _>(range) {
            if found.len() >= wanted {
                next = Some(kept.name().into());
                break;
            }
            found.push(kept.into());
        }
        let more = next.is_some();
        if let Some(next) = next {
            search.from = next;
        }
        more
    }

    /// A search for what is retained now and matches a filter.
    pub(crate) fn search(&self, filter: &str) -> Search {
        let fixed = filter.find(['+', '#']).unwrap_or(filter.len());
        Search {
            filter: filter.into(),
            from: filter[..fixed].trim_end_matches('/').into(),
            until: self.last,
        }
    }

    /// Adds what matches to `found`, until there are `wanted` or `looks` at topics were taken. False when there is
    /// no more; else the search stands behind the last one.
    pub(crate) fn find(
        &self,
        search: &mut Search,
        wanted: usize,
        mut looks: usize,
        found: &mut Vec<Found>,
    ) -> bool {
        let mut from = String::from(&*search.from);
        loop {
            let start = &&*from as &dyn Named;
            let range = (Bound::Included(start), Bound::Unbounded);
            let mut skip = None;
            for kept in self.messages.range::<dyn Named, _>(range) {
                if looks == 0 || found.len() >= wanted {
                    search.from = kept.name().into();
                    return true;
                }
                looks -= 1;
                match judge(&search.filter, kept.name()) {
                    Verdict::Matches => {
                        if kept.number <= search.until {
                            found.push(kept.into());
                        }
                    }
                    Verdict::Skip(to) => {
                        skip = Some(to);
                        break;
                    }
                    Verdict::End => break,
                }
            }
            match skip {
                Some(to) => from = to,
                None => return false,
            }
        }
    }
}

/// Section 4.7; topics that begin with `$` are not matched by a wildcard at the first level (MQTT-4.7.2-1).
fn judge(filter: &str, topic: &str) -> Verdict {
    let past = |end: Option<usize>| match end {
        Some(end) => Verdict::Skip(format!("{}{PAST}", &topic[..end])),
        None => Verdict::End,
    };
    // Where the level ends that the last `+` stands for: the next one of these is all that may still match.
    let mut plus = None;
    let mut start = 0;
    let mut rest = Some(topic);
    for level in filter.split('/') {
        let wild = matches!(level, "+" | "#");
        if wild && start == 0 && topic.starts_with('$') {
            return Verdict::Skip("%".into());
        }
        if level == "#" {
            return Verdict::Matches;
        }
        let Some(left) = rest else {
            let level = if wild { "" } else { level };
            return Verdict::Skip(format!("{topic}/{level}"));
        };
        let (here, after) = match left.split_once('/') {
            Some((here, after)) => (here, Some(after)),
            None => (left, None),
        };
        if wild {
            plus = Some(start + here.len());
        } else {
            match level.cmp(here) {
                Ordering::Equal => {}
                Ordering::Greater => return Verdict::Skip(format!("{}{level}", &topic[..start])),
                Ordering::Less => return past(plus),
            }
        }
        start += here.len() + 1;
        rest = after;
    }
    match rest {
        None => Verdict::Matches,
        Some(_) => past(plus),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::QoS;
    use crate::topic;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn message(topic: &str) -> Arc<Message> {
        Arc::new(Message {
            stored: 0,
            topic: topic.into(),
            payload: Bytes::from_static(b"x"),
            properties: Box::default(),
            expires: None,
            qos: QoS::AtMostOnce,
            retain: true,
        })
    }

    fn retained<'a>(topics: impl IntoIterator<Item = &'a str>) -> Retained {
        let mut retained = Retained::default();
        for topic in topics {
            retained.insert(message(topic), Origin::default());
        }
        retained
    }

    #[test]
    fn replacing_and_removing_keep_count() {
        let mut retained = retained(["a/b", "a/b", "a"]);
        assert_eq!((retained.len(), retained.bytes()), (2, 4 + 2));
        assert!(retained.remove("a/b") && !retained.remove("a/b") && retained.get("a").is_some());
        assert!(retained.remove("a"));
        assert_eq!((retained.len(), retained.bytes()), (0, 0));
    }

    #[test]
    fn what_is_retained_after_a_search_began_is_not_found() {
        let mut retained = retained(["a/1", "a/2", "a/3"]);
        let mut search = retained.search("a/+");
        let mut found = Vec::new();
        assert!(retained.find(&mut search, 1, 100, &mut found));
        retained.insert(message("a/2"), Origin::default());
        retained.insert(message("a/4"), Origin::default());
        assert!(!retained.find(&mut search, 100, 100, &mut found));
        let found: Vec<_> = found.iter().map(|found| &*found.message.topic).collect();
        assert_eq!(found, ["a/1", "a/3"]);
    }

    #[test]
    fn a_wildcard_skips_what_cannot_match() {
        let topics: Vec<_> = (0..10_000)
            .map(|number| format!("room/{}/{}/temperature", number / 100, number % 100))
            .collect();
        let retained = retained(topics.iter().map(|topic| &**topic));
        let mut found = Vec::new();
        let mut search = retained.search("room/+/7/temperature");
        assert!(
            !retained.find(&mut search, 1000, 301, &mut found),
            "three looks at each of a hundred"
        );
        assert_eq!(found.len(), 100);
        assert!(!retained.find(&mut retained.search("room/7/#"), 1000, 101, &mut found));
        assert_eq!(found.len(), 200);
    }

    proptest! {
        #[test]
        fn a_search_agrees_with_the_definition_wherever_it_stops(
            topics in prop::collection::btree_set("(a|b| |a-|\\$s|)(/(a|b|a |)){0,3}", 0..14),
            filter in "(a|b|\\+|\\$s|)(/(a|b|\\+|)){0,3}(/#)?|#",
            (wanted, looks) in (1usize..4, 1usize..6),
        ) {
            let topics: Vec<_> = topics.into_iter().filter(|topic| topic::is_name(topic)).collect();
            let retained = retained(topics.iter().map(|topic| &**topic));
            let mut search = retained.search(&filter);
            let mut all = Vec::new();
            for turn in 0.. {
                let mut found = Vec::new();
                let more = retained.find(&mut search, wanted, looks, &mut found);
                prop_assert!(found.len() <= wanted && turn <= topics.len() * 8);
                all.extend(found);
                if !more {
                    break;
                }
            }
            let mut all: Vec<_> = all.iter().map(|found| found.message.topic.to_string()).collect();
            all.sort();
            let expected: Vec<_> = topics.into_iter().filter(|topic| topic::matches(&filter, topic)).collect();
            prop_assert_eq!(all, expected, "filter {:?}", filter);
        }
    }
}
