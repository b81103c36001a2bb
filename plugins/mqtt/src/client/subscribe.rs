//! `sub`: subscribes and writes what comes, over breaks of the connection.

use std::cell::Cell;
use std::collections::HashSet;
use std::io::Write;
use std::time::Duration;

use polyport_mqtt_core::codec::ack::{self, Ack};
use polyport_mqtt_core::codec::property::PUBLISH_FROM_SERVER;
use polyport_mqtt_core::codec::publish::Publish;
use polyport_mqtt_core::codec::{PacketType, QoS, ReasonCode};
use polyport_mqtt_core::topic::Filter;
use polyport_sdk::client::{Failure, with_retries};

use super::link::{Link, Packet, not_mqtt};
use super::{Target, packets, read};

const OWN: [&str; 5] = [
    "-t --topic FILTER",
    "-v --verbose",
    "-C --count COUNT",
    "-R --no-retained",
    "-c --disable-clean-session",
];

/// How long one wait for a packet lasts; there is always another.
const WAIT: Duration = Duration::from_secs(3600);

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let (options, target) = read(typed, &OWN)?;
    let filters: Vec<String> = options.values("-t").map(str::to_owned).collect();
    if filters.is_empty() {
        return Err(Failure::usage("-t: expected a topic filter, got none"));
    }
    if let Some(bad) = filters
        .iter()
        .find(|filter| Filter::parse(filter).is_none())
    {
        return Err(Failure::Usage(format!(
            "-t: expected a topic filter, got {bad:?}"
        )));
    }
    let count = options
        .value("-C")
        .map(|_| options.number("-C", 1u64, 1, u64::MAX));
    let mut subscriber = Subscriber {
        target: &target,
        filters,
        verbose: options.has("-v"),
        skip_retained: options.has("-R"),
        left: count.transpose()?,
        unreleased: HashSet::new(),
    };
    // What cannot be reached at all is an error; what was reached once is waited for.
    let mut link = Some(subscriber.open()?);
    let opened = Cell::new(true);
    with_retries(
        u32::MAX,
        || opened.replace(false),
        || {
            let link = match link.take() {
                Some(link) => link,
                None => subscriber.open()?,
            };
            opened.set(true);
            subscriber.follow(link)
        },
    )
}

struct Subscriber<'a> {
    target: &'a Target,
    filters: Vec<String>,
    verbose: bool,
    skip_retained: bool,
    left: Option<u64>,
    /// QoS 2 messages that were written and not released yet (4.3.3, method B).
    unreleased: HashSet<u16>,
}

impl Subscriber<'_> {
    /// Connects and subscribes. Messages may come before the SUBACK.
    fn open(&mut self) -> Result<Link, Failure> {
        let (mut link, session_present) = Link::open(self.target)?;
        if !session_present {
            self.unreleased.clear();
        }
        let mut packet = Vec::new();
        packets::subscribe(
            &mut packet,
            self.target.hello.version,
            1,
            &self.filters,
            self.target.qos,
        );
        link.send(&packet)?;
        Ok(link)
    }

    /// Takes what comes until the count is reached or the connection breaks.
    fn follow(&mut self, mut link: Link) -> Result<(), Failure> {
        while self.left != Some(0) {
            let Some(packet) = link.receive(WAIT)? else {
                continue;
            };
            match packet.kind {
                PacketType::Suback => self.subscribed(&packet)?,
                PacketType::Publish => self.message(&mut link, &packet)?,
                PacketType::Pubrel => self.released(&mut link, &packet)?,
                other => {
                    return Err(Failure::Failed(format!("broker: unexpected {other:?}")));
                }
            }
        }
        link.close()
    }

    fn subscribed(&self, packet: &Packet) -> Result<(), Failure> {
        let (_, codes) =
            packets::suback(self.target.hello.version, &packet.body).map_err(not_mqtt)?;
        let answers = self.filters.iter().zip(codes);
        for (filter, code) in answers {
            if *code >= 0x80 {
                return Err(Failure::Failed(format!(
                    "{filter}: the broker refused the subscription: {}",
                    packets::reason(*code)
                )));
            }
        }
        Ok(())
    }

    /// Writes a message before it acknowledges it.
    fn message(&mut self, link: &mut Link, packet: &Packet) -> Result<(), Failure> {
        let version = self.target.hello.version;
        let publish =
            Publish::decode_with(version, packet.first, &packet.body, PUBLISH_FROM_SERVER)
                .map_err(not_mqtt)?;
        let again =
            publish.qos == QoS::ExactlyOnce && !self.unreleased.insert(publish.packet_identifier);
        if !(again || self.skip_retained && publish.retain) {
            self.write(&publish)
                .map_err(Failure::local("standard output"))?;
            self.left = self.left.map(|left| left - 1);
        }
        let kind = match publish.qos {
            QoS::AtMostOnce => return Ok(()),
            QoS::AtLeastOnce => PacketType::Puback,
            QoS::ExactlyOnce => PacketType::Pubrec,
        };
        let mut answer = Vec::new();
        ack::encode(
            &mut answer,
            version,
            kind,
            publish.packet_identifier,
            ReasonCode::Success,
        );
        link.send(&answer)
    }

    fn write(&self, publish: &Publish<'_>) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.verbose {
            write!(out, "{} ", publish.topic)?;
        }
        out.write_all(publish.payload)?;
        out.write_all(b"\n")?;
        out.flush()
    }

    fn released(&mut self, link: &mut Link, packet: &Packet) -> Result<(), Failure> {
        let version = self.target.hello.version;
        let released = Ack::decode(version, PacketType::Pubrel, &packet.body).map_err(not_mqtt)?;
        self.unreleased.remove(&released.packet_identifier);
        let mut answer = Vec::new();
        let identifier = released.packet_identifier;
        ack::encode(
            &mut answer,
            version,
            PacketType::Pubcomp,
            identifier,
            ReasonCode::Success,
        );
        link.send(&answer)
    }
}
