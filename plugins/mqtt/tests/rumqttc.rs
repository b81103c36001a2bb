//! rumqttc, the client that most programs in Rust use, against the real host: 3.1.1 and 5.0.

#![allow(clippy::unwrap_used, reason = "every function here is part of a test")]

use std::collections::VecDeque;
use std::net::SocketAddr;

use polyport_testkit::{Host, PATIENCE, Relay};
use rumqttc::v5::mqttbytes::v5 as packets;

mod wire;

/// A PUBLISH as a client was given it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Message {
    topic: String,
    payload: String,
    qos: u8,
    retain: bool,
    dup: bool,
    /// Of 5.0.
    properties: Option<packets::PublishProperties>,
}

/// Topic, payload and QoS.
fn brief(message: Message) -> (String, String, u8) {
    (message.topic, message.payload, message.qos)
}

fn said(topic: &str, payload: &str, qos: u8) -> (String, String, u8) {
    (topic.into(), payload.into(), qos)
}

/// What a client is to be like.
#[derive(Clone, Copy, Default)]
struct Wish {
    /// Its session goes on.
    kept: bool,
    /// It leaves this to `will`, QoS 1.
    will: Option<&'static str>,
    /// It acknowledges nothing that it is sent.
    silent: bool,
    /// It takes topic aliases; its events have the empty topic then that came with the alias.
    aliases: bool,
}

/// One client of one version. `drop` ends its connection without DISCONNECT.
trait Peer: Sized {
    /// A client that CONNACK has answered.
    fn open(addr: SocketAddr, id: &str, wish: Wish) -> Self;
    /// Whether CONNACK said so.
    fn session_present(&self) -> bool;
    /// SUBACK has come when this returns.
    fn subscribe(&mut self, filter: &str, qos: u8);
    /// What acknowledges it has come when this returns, or it was sent, for QoS 0; a connection that breaks is
    /// made again.
    fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str);
    /// The next PUBLISH.
    fn next(&mut self) -> Message;
    /// As many messages of QoS 2 as this were received to the end, PUBCOMP included: rumqttc ends a connection on
    /// which a PUBREL comes for what another client of the same session was sent.
    fn complete(&mut self, count: usize);
    /// With DISCONNECT, which the broker has taken when this returns: it has closed the connection.
    fn leave(self);
}

/// The two modules of rumqttc have the same shape and different types.
macro_rules! peer {
    ($name:ident, $client:path, $connection:path, $event:path, $packet:path, $outgoing:path, $qos:path,
     $options:expr, $message:expr) => {
        struct $name {
            client: $client,
            connection: $connection,
            session_present: bool,
            /// PUBCOMPs sent.
            completed: usize,
            /// Came while something else was waited for.
            early: VecDeque<Message>,
        }

        impl $name {
            /// Events until one gives a value. A broken connection is made again by the next call.
            fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(&$event) -> Option<T>) -> T {
                use $event as Event;
                use $outgoing as Outgoing;
                use $packet as Packet;
                let mut broken = String::new();
                for _ in 0..1000 {
                    let event = match self.connection.recv_timeout(PATIENCE) {
                        Ok(Ok(event)) => event,
                        Ok(Err(error)) => {
                            broken = error.to_string();
                            continue;
                        }
                        Err(error) => panic!("{what}: {error:?}"),
                    };
                    if let Event::Incoming(Packet::Publish(publish)) = &event {
                        self.early.push_back($message(publish));
                    }
                    if let Event::Outgoing(Outgoing::PubComp(_)) = &event {
                        self.completed += 1;
                    }
                    if let Some(found) = wanted(&event) {
                        return found;
                    }
                }
                panic!("{what}: 1,000 events without it, last error {broken:?}");
            }
        }

        impl Peer for $name {
            fn open(addr: SocketAddr, id: &str, wish: Wish) -> Self {
                use $client as Client;
                use $event as Event;
                use $packet as Packet;
                let (client, connection) = Client::new($options(addr, id, wish), 10);
                let mut peer = Self {
                    client,
                    connection,
                    session_present: false,
                    completed: 0,
                    early: VecDeque::new(),
                };
                peer.session_present = peer.until("CONNACK", |event| match event {
                    Event::Incoming(Packet::ConnAck(connack)) => Some(connack.session_present),
                    _ => None,
                });
                peer
            }

            fn session_present(&self) -> bool {
                self.session_present
            }

            fn subscribe(&mut self, filter: &str, qos: u8) {
                use $event as Event;
                use $packet as Packet;
                use $qos as level;
                self.client.subscribe(filter, level(qos).unwrap()).unwrap();
                self.until("SUBACK", |event| match event {
                    Event::Incoming(Packet::SubAck(suback)) => {
                        let granted = format!("{:?}", suback.return_codes);
                        assert_eq!(granted, format!("[Success({:?})]", level(qos).unwrap()));
                        Some(())
                    }
                    _ => None,
                });
            }

            fn publish(&mut self, topic: &str, qos: u8, retain: bool, payload: &str) {
                use $event as Event;
                use $outgoing as Outgoing;
                use $packet as Packet;
                use $qos as level;
                self.client
                    .publish(topic, level(qos).unwrap(), retain, payload.to_owned())
                    .unwrap();
                self.until("the acknowledgement", |event| match (qos, event) {
                    (0, Event::Outgoing(Outgoing::Publish(_)))
                    | (1, Event::Incoming(Packet::PubAck(_)))
                    | (2, Event::Incoming(Packet::PubComp(_))) => Some(()),
                    _ => None,
                });
            }

            fn next(&mut self) -> Message {
                use $event as Event;
                use $packet as Packet;
                if self.early.is_empty() {
                    self.until("PUBLISH", |event| match event {
                        Event::Incoming(Packet::Publish(_)) => Some(()),
                        _ => None,
                    });
                }
                self.early.pop_front().unwrap()
            }

            fn complete(&mut self, count: usize) {
                while self.completed < count {
                    let before = self.completed;
                    self.until("PUBCOMP", |event| {
                        use $event as Event;
                        use $outgoing as Outgoing;
                        matches!(event, Event::Outgoing(Outgoing::PubComp(_))).then_some(())
                    });
                    assert!(self.completed > before);
                }
            }

            fn leave(mut self) {
                self.client.disconnect().unwrap();
                for _ in 0..1000 {
                    match self.connection.recv_timeout(PATIENCE) {
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return,
                        Err(error) => panic!("the end of the connection: {error:?}"),
                    }
                }
                panic!("the end of the connection: 1,000 events without it");
            }
        }
    };
}

peer!(
    V311,
    rumqttc::Client,
    rumqttc::Connection,
    rumqttc::Event,
    rumqttc::Packet,
    rumqttc::Outgoing,
    rumqttc::qos,
    |addr: SocketAddr, id: &str, wish: Wish| {
        let mut options = rumqttc::MqttOptions::new(id, addr.ip().to_string(), addr.port());
        options
            .set_clean_session(!wish.kept)
            .set_manual_acks(wish.silent);
        if let Some(will) = wish.will {
            let qos = rumqttc::QoS::AtLeastOnce;
            options.set_last_will(rumqttc::LastWill::new("will", will, qos, false));
        }
        options
    },
    |publish: &rumqttc::Publish| Message {
        topic: publish.topic.clone(),
        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        qos: publish.qos as u8,
        retain: publish.retain,
        dup: publish.dup,
        properties: None,
    }
);

peer!(
    V5,
    rumqttc::v5::Client,
    rumqttc::v5::Connection,
    rumqttc::v5::Event,
    packets::Packet,
    rumqttc::Outgoing,
    rumqttc::v5::mqttbytes::qos,
    |addr: SocketAddr, id: &str, wish: Wish| {
        let mut options = rumqttc::v5::MqttOptions::new(id, addr.ip().to_string(), addr.port());
        options
            .set_clean_start(!wish.kept)
            .set_manual_acks(wish.silent);
        options.set_topic_alias_max(wish.aliases.then_some(10));
        options.set_session_expiry_interval(wish.kept.then_some(600));
        if let Some(will) = wish.will {
            let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
            options.set_last_will(packets::LastWill::new("will", will, qos, false, None));
        }
        options
    },
    |publish: &packets::Publish| Message {
        topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
        qos: publish.qos as u8,
        retain: publish.retain,
        dup: publish.dup,
        properties: publish.properties.clone(),
    }
);

fn host() -> Host {
    Host::builder()
        .service("mqtt")
        .accounts(wire::ANONYMOUS)
        .start()
}

/// Each QoS from a publisher of one version to a subscriber of another, as messages of the moment, retained ones
/// and a will.
fn messages<From: Peer, To: Peer>() {
    let host = host();
    let addr = host.addr("mqtt");
    let mut to = To::open(addr, "to", Wish::default());
    for qos in 0..3 {
        to.subscribe(&format!("at/{qos}/#"), qos);
    }
    to.subscribe("will", 2);
    let mut from = From::open(
        addr,
        "from",
        Wish {
            will: Some("gone"),
            ..Wish::default()
        },
    );
    for sent in 0..3 {
        for granted in 0..3 {
            let (topic, payload) = (format!("at/{granted}/{sent}"), format!("{sent} {granted}"));
            from.publish(&topic, sent, false, &payload);
            assert_eq!(brief(to.next()), said(&topic, &payload, sent.min(granted)));
        }
        from.publish(&format!("kept/{sent}"), sent, true, "still");
    }
    to.subscribe("kept/#", 2);
    let mut kept: Vec<_> = (0..3).map(|_| to.next()).collect();
    kept.sort_by_key(|message| message.qos);
    for (qos, message) in kept.into_iter().enumerate() {
        assert!(message.retain, "{message:?}");
        assert_eq!(
            brief(message),
            said(&format!("kept/{qos}"), "still", qos as u8)
        );
    }
    // Removed, nobody is given it any more; what is removed is said as a message of the moment.
    from.publish("kept/1", 1, true, "");
    let removed = to.next();
    assert!(!removed.retain && removed.payload.is_empty(), "{removed:?}");
    to.subscribe("kept/1", 1);
    drop(from);
    assert_eq!(brief(to.next()), said("will", "gone", 1));
    let polite = From::open(
        addr,
        "from",
        Wish {
            will: Some("never"),
            ..Wish::default()
        },
    );
    polite.leave();
    let mut last = From::open(addr, "last", Wish::default());
    last.publish("at/0/0", 0, false, "last");
    assert_eq!(brief(to.next()), said("at/0/0", "last", 0));
}

#[test]
fn messages_of_every_qos_retained_ones_and_wills_go_both_ways_in_both_versions() {
    messages::<V311, V311>();
    messages::<V311, V5>();
    messages::<V5, V311>();
    messages::<V5, V5>();
}

/// What was not acknowledged comes again, marked, in order, before what came later.
fn session<P: Peer>() {
    let host = host();
    let addr = host.addr("mqtt");
    let kept = Wish {
        kept: true,
        ..Wish::default()
    };
    let mut silent = P::open(
        addr,
        "kept",
        Wish {
            silent: true,
            ..kept
        },
    );
    assert!(!silent.session_present());
    silent.subscribe("s/#", 2);
    let mut other = P::open(addr, "other", Wish::default());
    let (first, second) = (said("s/1", "one", 1), said("s/2", "two", 2));
    other.publish("s/1", 1, false, "one");
    other.publish("s/2", 2, false, "two");
    assert_eq!(brief(silent.next()), first);
    assert_eq!(brief(silent.next()), second);
    drop(silent);
    other.publish("s/3", 2, false, "while away");
    // The second time they come from another instance of the broker.
    for _ in 0..2 {
        let mut again = P::open(
            addr,
            "kept",
            Wish {
                silent: true,
                ..kept
            },
        );
        assert!(again.session_present());
        for expected in [&first, &second] {
            let message = again.next();
            assert!(message.dup, "{message:?}");
            assert_eq!(&brief(message), expected);
        }
        let later = again.next();
        assert_eq!(brief(later), said("s/3", "while away", 2));
        let mark = host.log_mark();
        let _ = host.command(&["restart", "mqtt"]).expect_success();
        host.wait_log(mark, "service mqtt: handed over");
    }
    // Acknowledged at last, they do not come a further time.
    let mut again = P::open(addr, "kept", kept);
    for _ in 0..3 {
        assert!(again.next().dup);
    }
    other.publish("s/4", 0, false, "new");
    assert_eq!(brief(again.next()), said("s/4", "new", 0));
    again.complete(2);
    again.leave();
    let mut again = P::open(addr, "kept", kept);
    assert!(again.session_present());
    other.publish("s/5", 1, false, "newer");
    assert_eq!(brief(again.next()), said("s/5", "newer", 1));
    again.leave();
    let clean = P::open(addr, "kept", Wish::default());
    assert!(!clean.session_present());
}

#[test]
fn a_session_of_3_1_1_goes_on_with_what_was_not_acknowledged() {
    session::<V311>();
}

#[test]
fn a_session_of_5_0_goes_on_with_what_was_not_acknowledged() {
    session::<V5>();
}

/// A publisher whose connection breaks at any byte of an exchange of QoS 2 sends again, and the message is there
/// once.
fn broken<P: Peer>() {
    let host = host();
    let mut to = P::open(host.addr("mqtt"), "to", Wish::default());
    to.subscribe("#", 2);
    let mut whole = None;
    for step in 0.. {
        let relay = Relay::new(host.addr("mqtt"), &[]);
        let id = format!("p{step:03}");
        let kept = Wish {
            kept: true,
            ..Wish::default()
        };
        if whole.is_none() {
            // How many bytes CONNECT and CONNACK take, and how many the exchange, by this client's own packets.
            let mut peer = P::open(relay.addr(), &id, kept);
            let opened = relay.passed()[0];
            peer.publish("t", 2, false, "payload of some length");
            whole = Some((opened, relay.passed()[0]));
            assert_eq!(brief(to.next()), said("t", "payload of some length", 2));
            continue;
        }
        let (opened, end) = whole.unwrap();
        let cut = opened + 3 * step;
        if cut >= end {
            break;
        }
        let relay = Relay::new(host.addr("mqtt"), &[cut]);
        let mut peer = P::open(relay.addr(), &id, kept);
        peer.publish("t", 2, false, &id);
        assert_eq!(brief(to.next()), said("t", &id, 2), "cut after {cut} bytes");
        peer.publish("t", 2, false, "after it");
        assert_eq!(
            brief(to.next()),
            said("t", "after it", 2),
            "cut after {cut} bytes"
        );
    }
}

#[test]
fn a_message_of_qos_2_over_a_connection_that_breaks_anywhere_is_there_once() {
    broken::<V311>();
    broken::<V5>();
}

#[test]
fn properties_aliases_and_identifiers_of_5_0_arrive_as_they_were_sent() {
    let host = host();
    let addr = host.addr("mqtt");
    let mut to = V5::open(
        addr,
        "to",
        Wish {
            aliases: true,
            ..Wish::default()
        },
    );
    let properties = packets::SubscribeProperties {
        id: Some(77),
        user_properties: Vec::new(),
    };
    let qos = rumqttc::v5::mqttbytes::QoS::AtLeastOnce;
    to.client
        .subscribe_with_properties("p/#", qos, properties)
        .unwrap();
    to.until("SUBACK", |event| match event {
        rumqttc::v5::Event::Incoming(packets::Packet::SubAck(_)) => Some(()),
        _ => None,
    });
    let mut from = V5::open(addr, "from", Wish::default());
    let sent = packets::PublishProperties {
        payload_format_indicator: Some(1),
        message_expiry_interval: Some(500),
        topic_alias: Some(4),
        response_topic: Some("answers/here".into()),
        correlation_data: Some(vec![0, 255, 7].into()),
        user_properties: vec![
            ("b".into(), "1".into()),
            ("a".into(), "2".into()),
            ("b".into(), "1".into()),
        ],
        subscription_identifiers: Vec::new(),
        content_type: Some("text/plain".into()),
    };
    // The second one has the alias alone.
    for topic in ["p/long/topic", ""] {
        from.client
            .publish_with_properties(topic, qos, false, "x", sent.clone())
            .unwrap();
        from.until("PUBACK", |event| match event {
            rumqttc::v5::Event::Incoming(packets::Packet::PubAck(_)) => Some(()),
            _ => None,
        });
    }
    let mut alias = None;
    for topic in ["p/long/topic", ""] {
        let message = to.next();
        assert_eq!((&*message.topic, &*message.payload), (topic, "x"));
        let mut got = message.properties.unwrap();
        let left = got.message_expiry_interval.take().unwrap();
        assert!((1..=500).contains(&left), "{left} seconds left");
        // Not the publisher's, but one of the ten that this client takes, and the second time it stands alone.
        let given = got.topic_alias.take().unwrap();
        assert!((1..=10).contains(&given), "alias {given}");
        assert_eq!(*alias.get_or_insert(given), given);
        let mut expected = sent.clone();
        expected.message_expiry_interval = None;
        expected.topic_alias = None;
        expected.subscription_identifiers = vec![77];
        assert_eq!(got, expected);
    }
}

#[test]
fn a_shared_subscription_loses_nothing_and_gives_nothing_twice_when_members_leave() {
    let host = host();
    let addr = host.addr("mqtt");
    let mut members: Vec<V5> = (0..3)
        .map(|number| {
            let mut member = V5::open(addr, &format!("m{number}"), Wish::default());
            member.subscribe("$share/group/work/#", 1);
            member
        })
        .collect();
    let mut from = V311::open(addr, "from", Wish::default());
    let mut got: Vec<String> = Vec::new();
    for round in 0..3 {
        for number in 0..30 {
            from.publish(
                &format!("work/{number}"),
                1,
                false,
                &format!("{round} {number}"),
            );
        }
        // A member has had its share when what it is sent afterwards, for itself alone, has come.
        for (number, member) in members.iter_mut().enumerate() {
            member.subscribe(&format!("end/{round}/{number}"), 1);
            from.publish(&format!("end/{round}/{number}"), 1, false, "end");
            let mut share = 0;
            loop {
                let message = member.next();
                if message.payload == "end" {
                    break;
                }
                got.push(message.payload);
                share += 1;
            }
            assert!(share > 0, "member {number} had no work in round {round}");
        }
        if let Some(member) = members.pop().filter(|_| round < 2) {
            member.leave();
        }
    }
    let mut expected: Vec<String> = (0..3)
        .flat_map(|round| (0..30).map(move |number| format!("{round} {number}")))
        .collect();
    got.sort();
    expected.sort();
    assert_eq!(got, expected);
}

#[test]
fn connections_stay_over_a_swap_and_keep_what_they_had() {
    let host = host();
    let addr = host.addr("mqtt");
    let (mut old, mut new) = (
        V311::open(addr, "old", Wish::default()),
        V5::open(addr, "new", Wish::default()),
    );
    old.subscribe("to/old", 2);
    new.subscribe("to/new", 2);
    for round in 0..5 {
        let payload = round.to_string();
        old.publish("to/new", 2, false, &payload);
        new.publish("to/old", 2, false, &payload);
        assert_eq!(brief(old.next()), said("to/old", &payload, 2));
        assert_eq!(brief(new.next()), said("to/new", &payload, 2));
        let mark = host.log_mark();
        let _ = host.command(&["restart", "mqtt"]).expect_success();
        host.wait_log(mark, "service mqtt: handed over");
    }
}
