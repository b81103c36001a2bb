//! A broker and its clients without sockets, and what must be true of all that it sends.

use std::sync::Arc;

use polyport_mqtt_core::broker::Meter;
use polyport_mqtt_core::codec::FixedHeader;
use polyport_mqtt_core::store::{State, read_frames};
use polyport_mqtt_core::{
    AllowAll, AuthAnswer, Authentication, Authorizer, Broker, ConnectionId, Limits, Settings, Time,
};

/// One connection.
#[derive(Default)]
struct Client {
    id: Option<ConnectionId>,
    /// Bytes that the broker did not use yet.
    unread: Vec<u8>,
    /// What came and was not looked at.
    output: Vec<u8>,
    welcomed: bool,
}

/// A broker, its log and its clients.
pub(crate) struct World {
    settings: Settings,
    broker: Broker,
    log: Vec<u8>,
    clients: Vec<Client>,
    now: Time,
}

impl World {
    pub(crate) fn new(clients: usize, settings: Settings) -> World {
        World {
            broker: Broker::new(settings.clone(), || 7, Time(0)),
            settings,
            log: Vec::new(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            now: Time(0),
        }
    }

    /// A client sends bytes, connecting first if it is not connected.
    pub(crate) fn send(&mut self, at: usize, bytes: &[u8]) {
        let client = &mut self.clients[at];
        let id = match client.id {
            Some(id) => id,
            None => {
                let limits = Limits::default();
                let id = self
                    .broker
                    .open(Arc::new(Meter::default()), limits, self.now);
                *client = Client {
                    id: Some(id),
                    ..Client::default()
                };
                id
            }
        };
        client.unread.extend_from_slice(bytes);
        loop {
            let client = &mut self.clients[at];
            let received = self.broker.receive(id, &client.unread, None, self.now);
            assert!(received.consumed <= client.unread.len());
            client.unread.drain(..received.consumed);
            match received.login {
                Some(request) => self.answer(id, request.authentication.as_ref()),
                None => break,
            }
        }
        self.finish();
    }

    /// Everybody is let in; in an exchange, with what does not begin with `c`.
    fn answer(&mut self, id: ConnectionId, step: Option<&Authentication>) {
        let Some(step) = step else {
            let rights = Ok(Arc::new(AllowAll) as Arc<dyn Authorizer>);
            return self.broker.login_answer(id, rights, self.now);
        };
        let data = step.data.clone();
        let goes_on = data.as_deref().is_some_and(|data| data.starts_with(b"c"));
        let answer = match goes_on {
            true => AuthAnswer::Continue {
                data,
                state: vec![1],
            },
            false => AuthAnswer::Success {
                authorizer: (!step.again).then(|| Arc::new(AllowAll) as Arc<dyn Authorizer>),
                data,
            },
        };
        self.broker.auth_answer(id, answer, self.now);
    }

    /// A connection breaks.
    pub(crate) fn lose(&mut self, at: usize) {
        if let Some(id) = self.clients[at].id.take() {
            self.broker.lost(id, self.now);
            self.finish();
        }
    }

    /// Seconds pass.
    pub(crate) fn pass(&mut self, seconds: u8) {
        let until = self.now.after_seconds(seconds.into());
        while let Some(due) = self.broker.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.broker.tick(self.now);
            self.finish();
            let next = self.broker.next_deadline();
            assert!(
                next.is_none_or(|next| next > self.now),
                "a timer that does not go"
            );
        }
        self.now = until;
    }

    /// The broker is killed and starts again from its log.
    pub(crate) fn kill(&mut self) {
        let mut state = State::default();
        let whole = read_frames(&self.log, |record| state.apply(record));
        assert_eq!(whole, self.log.len(), "a record that cannot be read");
        self.log = compacted(&state);
        self.broker = Broker::new(self.settings.clone(), || 7, self.now);
        self.broker.restore(state);
        for client in &mut self.clients {
            client.id = None;
        }
    }

    /// Another broker takes over.
    pub(crate) fn cross(&mut self) {
        let exported = self.broker.export(self.now, |_| true);
        let numbers: Vec<Option<u64>> = self
            .clients
            .iter()
            .map(|client| self.broker.connection_number(client.id?))
            .collect();
        let before = self.broker.sizes();
        let next = Broker::import(self.settings.clone(), || 7, &exported, self.now);
        self.broker = match next {
            Ok(next) => next,
            Err(damaged) => panic!("{damaged}"),
        };
        let after = self.broker.sizes();
        let sizes = |sizes: polyport_mqtt_core::broker::Sizes| {
            (sizes.sessions, sizes.subscriptions, sizes.retained)
        };
        assert_eq!(sizes(before), sizes(after));
        for (at, number) in numbers.into_iter().enumerate() {
            self.clients[at].id = number.map(|number| {
                let meter = Arc::new(Meter::default());
                let id = self
                    .broker
                    .attach(number, Some(Arc::new(AllowAll)), meter, 0, self.now);
                id.unwrap_or_else(|| panic!("connection {number} is not awaited"))
            });
            self.finish();
        }
    }

    /// The packets that a client was sent since it last looked.
    pub(crate) fn take(&mut self, at: usize) -> Vec<(u8, Vec<u8>)> {
        let output = std::mem::take(&mut self.clients[at].output);
        packets(&output)
    }

    /// What a host does after each batch.
    fn finish(&mut self) {
        let journal = self.broker.journal();
        self.log.extend_from_slice(journal.bytes());
        journal.clear();
        self.broker.take_events();
        while let Some(id) = self.broker.next_touched() {
            let Some(output) = self.broker.output(id) else {
                continue;
            };
            let closes = output.closes();
            let bytes: Vec<u8> = output.pieces().into_iter().flatten().collect();
            let client = self.clients.iter_mut().find(|client| client.id == Some(id));
            if let Some(client) = client {
                check(&bytes, &mut client.welcomed);
                client.output.extend_from_slice(&bytes);
                if closes {
                    client.id = None;
                }
            }
            if closes {
                self.broker.lost(id, self.now);
            }
        }
    }
}

/// A state as the frames of a compacted log, which hold the same state.
pub(crate) fn compacted(state: &State) -> Vec<u8> {
    let bytes = state.to_journal().bytes().to_vec();
    let mut again = State::default();
    let whole = read_frames(&bytes, |record| again.apply(record));
    assert_eq!(whole, bytes.len(), "a compacted log that cannot be read");
    assert_eq!(again.sessions, state.sessions);
    assert_eq!(again.retained, state.retained);
    assert!(again.last_number >= state.last_number);
    bytes
}

/// Splits output into packets: first byte and body.
fn packets(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let Ok(Some(header)) = FixedHeader::read(bytes) else {
            panic!("output without a fixed header: {bytes:02x?}");
        };
        let Some((packet, rest)) = bytes.split_at_checked(header.frame()) else {
            panic!("output ends inside a packet: {bytes:02x?}");
        };
        packets.push((header.first, packet[header.length..].to_vec()));
        bytes = rest;
    }
    packets
}

/// Whole packets of a server, the first and only the first of them CONNACK.
fn check(bytes: &[u8], welcomed: &mut bool) {
    for (first, body) in packets(bytes) {
        match first {
            0x20 => {
                assert!(!*welcomed, "a second CONNACK");
                *welcomed = true;
                continue;
            }
            0x40 | 0x50 | 0x62 | 0x70 | 0x90 | 0xb0 => {
                assert!(
                    body.len() >= 2 && body[..2] != [0, 0],
                    "{first:02x} {body:02x?}"
                );
            }
            0xd0 => assert!(body.is_empty()),
            0xe0 => {}
            0xf0 => continue,
            publish => {
                assert_eq!(publish >> 4, 3, "not a packet of a server: {publish:02x}");
                let qos = publish >> 1 & 3;
                assert!(qos < 3 && (qos > 0 || publish & 8 == 0), "{publish:02x}");
            }
        }
        assert!(*welcomed, "{first:02x} before CONNACK");
    }
}
