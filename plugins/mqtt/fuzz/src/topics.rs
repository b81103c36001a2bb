//! Topic filters and topic names in the tries, against a model that knows only the text of section 4.7.

use std::collections::{BTreeMap, BTreeSet};

use polyport_mqtt_core::Settings;
use polyport_mqtt_core::topic::{self, Filter};

use crate::clients::World;

const CLIENTS: usize = 4;
const SENDER: usize = CLIENTS;

/// The input is lines. Each begins with what happens and, of a subscription, to which client; the rest is the topic.
///
/// | begins with | meaning |
/// |---|---|
/// | `0` to `3` | the client subscribes to the filter |
/// | `a` to `d` | the client unsubscribes from it |
/// | `r` | a retained message is published |
/// | `e` | the retained message is removed |
/// | anything else | a message is published |
pub fn topics(data: &[u8]) {
    let mut world = World::new(CLIENTS + 1, Settings::default());
    for at in 0..=CLIENTS {
        world.send(
            at,
            &[
                0x10,
                13,
                0,
                4,
                b'M',
                b'Q',
                b'T',
                b'T',
                4,
                2,
                0,
                0,
                0,
                1,
                b'a' + at as u8,
            ],
        );
        world.take(at);
    }
    let mut subscribed: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut retained: BTreeSet<String> = BTreeSet::new();
    for line in data.split(|byte| *byte == b'\n').take(200) {
        let Some((&begin, text)) = line.split_first() else {
            continue;
        };
        let Ok(text) = std::str::from_utf8(text) else {
            continue;
        };
        // Controls are not in topics, and what begins with these has rules of its own.
        let own_rules = ["$share", "$SYS", "$delayed", "$queue", "$exclusive"];
        if text.len() > 100
            || text.chars().any(|c| !is_plain(c))
            || own_rules.iter().any(|own| text.starts_with(own))
        {
            continue;
        }
        assert_eq!(Filter::parse(text).is_some(), is_filter(text), "{text:?}");
        assert_eq!(topic::is_name(text), is_name(text), "{text:?}");
        match begin {
            b'0'..=b'3' if is_filter(text) => {
                let at = usize::from(begin - b'0');
                let body = [&[0, 1], &string(text)[..], &[0]].concat();
                world.send(at, &packet(0x82, &body));
                subscribed.insert((at, text.to_owned()));
                let wanted = retained.iter().filter(|topic| matches(text, topic));
                let wanted: Vec<_> = wanted.map(|topic| (topic.clone(), true)).collect();
                assert_eq!(messages(&mut world, at), wanted, "retained for {text:?}");
            }
            b'a'..=b'd' if is_filter(text) => {
                let at = usize::from(begin - b'a');
                world.send(at, &packet(0xa2, &[&[0, 1], &string(text)[..]].concat()));
                subscribed.remove(&(at, text.to_owned()));
                assert_eq!(messages(&mut world, at), []);
            }
            b'0'..=b'3' | b'a'..=b'd' => {}
            _ if is_name(text) => {
                let mut body = string(text);
                if begin != b'e' {
                    body.push(b'm');
                }
                let retain = matches!(begin, b'r' | b'e');
                world.send(SENDER, &packet(0x30 | u8::from(retain), &body));
                match begin {
                    b'r' => _ = retained.insert(text.to_owned()),
                    b'e' => _ = retained.remove(text),
                    _ => {}
                }
                let mut wanted: BTreeMap<usize, Vec<(String, bool)>> = BTreeMap::new();
                for (at, filter) in &subscribed {
                    if matches(filter, text) {
                        wanted.insert(*at, vec![(text.to_owned(), false)]);
                    }
                }
                for at in 0..CLIENTS {
                    let wanted = wanted.remove(&at).unwrap_or_default();
                    assert_eq!(messages(&mut world, at), wanted, "client {at}, {text:?}");
                }
            }
            _ => {}
        }
    }
}

/// Topic and retain flag of the messages that a client got, ordered by topic.
fn messages(world: &mut World, at: usize) -> Vec<(String, bool)> {
    let publishes = world
        .take(at)
        .into_iter()
        .filter(|(first, _)| first >> 4 == 3);
    let mut messages: Vec<_> = publishes
        .map(|(first, body)| {
            let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
            (
                String::from_utf8_lossy(&body[2..2 + length]).into_owned(),
                first & 1 != 0,
            )
        })
        .collect();
    messages.sort();
    messages
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    assert!(body.len() < 128);
    [&[first, body.len() as u8], body].concat()
}

fn is_plain(c: char) -> bool {
    let code = u32::from(c);
    !(c.is_control() || (0xfdd0..=0xfdef).contains(&code) || code & 0xfffe == 0xfffe)
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(['+', '#'])
}

/// 4.7.1: `#` stands alone in the last level, `+` alone in its.
fn is_filter(text: &str) -> bool {
    let levels: Vec<&str> = text.split('/').collect();
    let plus = levels
        .iter()
        .all(|level| !level.contains('+') || *level == "+");
    let last = levels.len() - 1;
    let hash = levels
        .iter()
        .enumerate()
        .all(|(at, level)| !level.contains('#') || (*level == "#" && at == last));
    !text.is_empty() && plus && hash
}

/// 4.7.1 and 4.7.2, level by level.
fn matches(filter: &str, topic: &str) -> bool {
    fn rest(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) | ([], []) => true,
            (["+", filter @ ..], [_, topic @ ..]) => rest(filter, topic),
            ([wanted, filter @ ..], [level, topic @ ..]) => wanted == level && rest(filter, topic),
            _ => false,
        }
    }
    let hidden = topic.starts_with('$') && filter.starts_with(['+', '#']);
    let filter: Vec<&str> = filter.split('/').collect();
    let topic: Vec<&str> = topic.split('/').collect();
    !hidden && rest(&filter, &topic)
}
