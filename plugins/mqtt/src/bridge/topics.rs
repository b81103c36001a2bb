//! Which topics go over a bridge, and what they are called on the other side.

use polyport_mqtt_core::codec::QoS;
use polyport_mqtt_core::topic;

use crate::config::bridges::{Direction, Topic};

/// The topics of one bridge.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    out: Vec<Rule>,
    into: Vec<Rule>,
}

/// One direction of a topic.
#[derive(Clone, Debug)]
struct Rule {
    /// Behind the prefix of the side that it comes from.
    filter: String,
    qos: QoS,
    from: String,
    to: String,
}

impl Rule {
    fn map(&self, name: &str) -> Option<String> {
        let rest = name.strip_prefix(&self.from)?;
        topic::matches(&self.filter, name).then(|| format!("{}{rest}", self.to))
    }
}

impl Topics {
    pub(super) fn new(topics: &[Topic]) -> Self {
        let rules = |other: Direction, outward: bool| {
            let wanted = topics.iter().filter(move |topic| topic.direction != other);
            let rule = |topic: &Topic| {
                let (from, to) = match outward {
                    true => (&topic.local_prefix, &topic.remote_prefix),
                    false => (&topic.remote_prefix, &topic.local_prefix),
                };
                Rule {
                    filter: format!("{from}{}", topic.filter),
                    qos: QoS::from_bits(topic.qos).unwrap_or(QoS::ExactlyOnce),
                    from: from.clone(),
                    to: to.clone(),
                }
            };
            wanted.map(rule).collect()
        };
        Self {
            out: rules(Direction::In, true),
            into: rules(Direction::Out, false),
        }
    }

    /// What a topic here is called there; none if it does not go there. The first line that fits decides.
    pub(super) fn outward(&self, name: &str) -> Option<String> {
        self.out.iter().find_map(|rule| rule.map(name))
    }

    /// What a topic there is called here.
    pub(super) fn inward(&self, name: &str) -> Option<String> {
        self.into.iter().find_map(|rule| rule.map(name))
    }

    /// The filters to subscribe to here, each once.
    pub(super) fn local_filters(&self) -> Vec<(&str, QoS)> {
        filters(&self.out)
    }

    /// The filters to subscribe to there.
    pub(super) fn remote_filters(&self) -> Vec<(&str, QoS)> {
        filters(&self.into)
    }
}

fn filters(rules: &[Rule]) -> Vec<(&str, QoS)> {
    let mut filters: Vec<(&str, QoS)> = Vec::new();
    for rule in rules {
        match filters
            .iter_mut()
            .find(|(filter, _)| *filter == rule.filter)
        {
            Some((_, qos)) => *qos = (*qos).max(rule.qos),
            None => filters.push((&rule.filter, rule.qos)),
        }
    }
    filters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::bridges::tests::bridge;

    #[test]
    fn prefixes_change_places() {
        let bridge = bridge(&[
            ("#", Direction::Both, 1, "l/", "r/"),
            ("", Direction::Out, 0, "one", "other"),
            ("x/+", Direction::In, 2, "", "far/"),
        ]);
        let topics = Topics::new(&bridge.topics);
        let out = |name| topics.outward(name);
        let into = |name| topics.inward(name);
        assert_eq!(out("l/a/b").as_deref(), Some("r/a/b"));
        assert_eq!(out("one").as_deref(), Some("other"));
        assert_eq!((out("one/a"), out("a"), out("x/a")), (None, None, None));
        assert_eq!(into("r/a").as_deref(), Some("l/a"));
        assert_eq!(into("far/x/a").as_deref(), Some("x/a"));
        assert_eq!((into("far/x/a/b"), into("other")), (None, None));
        assert_eq!(
            topics.local_filters(),
            [("l/#", QoS::AtLeastOnce), ("one", QoS::AtMostOnce)]
        );
        assert_eq!(
            topics.remote_filters(),
            [("r/#", QoS::AtLeastOnce), ("far/x/+", QoS::ExactlyOnce)]
        );
    }

    #[test]
    fn topics_with_a_dollar_sign_are_for_filters_that_name_it() {
        let both = [
            ("#", Direction::Out, 0, "", ""),
            ("$SYS/#", Direction::Out, 0, "", "sys/"),
        ];
        let topics = Topics::new(&bridge(&both).topics);
        assert_eq!(topics.outward("$SYS/a").as_deref(), Some("sys/$SYS/a"));
        let all = Topics::new(&bridge(&both[..1]).topics);
        assert_eq!(all.outward("$SYS/a"), None);
    }

    #[test]
    fn a_filter_is_subscribed_to_once_with_the_highest_qos() {
        let bridge = bridge(&[
            ("a", Direction::Out, 0, "", ""),
            ("a", Direction::Both, 2, "", ""),
        ]);
        let topics = Topics::new(&bridge.topics);
        assert_eq!(topics.local_filters(), [("a", QoS::ExactlyOnce)]);
    }
}
