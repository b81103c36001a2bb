//! `pub`: publishes one message, or each line of standard input.

use std::io::{BufRead, Read};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};

use polyport_mqtt_core::codec::ack::{self, Ack};
use polyport_mqtt_core::codec::primitives::VARIABLE_BYTE_INTEGER_MAX;
use polyport_mqtt_core::codec::publish::Head;
use polyport_mqtt_core::codec::{PacketType, QoS, ReasonCode};
use polyport_mqtt_core::topic;
use polyport_sdk::client::Failure;

use super::link::{Link, not_mqtt};
use super::{Target, packets, read};

const OWN: [&str; 5] = [
    "-t --topic TOPIC",
    "-m --message MESSAGE",
    "-f --file FILE",
    "-l --stdin-line",
    "-r --retain",
];

/// Lines read ahead of what the broker took.
const AHEAD: usize = 64;

pub fn run(typed: Vec<String>) -> Result<(), Failure> {
    let (options, target) = read(typed, &OWN)?;
    let Some(topic) = options.value("-t") else {
        return Err(Failure::usage("-t: expected a topic, got none"));
    };
    if !topic::is_name(topic) {
        return Err(Failure::Usage(format!(
            "-t: expected a topic without + and #, got {topic:?}"
        )));
    }
    let sources = [options.has("-m"), options.has("-f"), options.has("-l")];
    if sources.iter().filter(|given| **given).count() != 1 {
        return Err(Failure::usage("expected one of -m, -f and -l"));
    }
    let retain = options.has("-r");
    let whole = match (options.value("-m"), options.value("-f")) {
        (Some(message), _) => Some(message.as_bytes().to_vec()),
        (_, Some(file)) => Some(content(file)?),
        _ => None,
    };
    if let Some(message) = &whole {
        check_size(topic, message)?;
    }
    let (link, _) = Link::open(&target)?;
    let mut publisher = Publisher {
        link,
        target: &target,
        topic,
        retain,
        identifier: 0,
    };
    match whole {
        Some(message) => publisher.publish(&message)?,
        None => publisher.lines(&lines())?,
    }
    publisher.link.close()
}

fn content(file: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    match file {
        "-" => std::io::stdin().read_to_end(&mut bytes).map(|_| bytes),
        path => std::fs::read(path),
    }
    .map_err(Failure::local(file))
}

fn check_size(topic: &str, message: &[u8]) -> Result<(), Failure> {
    // Remaining length: topic, identifier, an empty property list, payload.
    let most = VARIABLE_BYTE_INTEGER_MAX as usize - topic.len() - 5;
    if message.len() > most {
        return Err(Failure::Failed(format!(
            "expected a message of at most {most} bytes, got {}",
            message.len()
        )));
    }
    Ok(())
}

/// Lines of standard input, read by a thread of its own so that pings go on while nobody types.
fn lines() -> Receiver<std::io::Result<Vec<u8>>> {
    let (sender, receiver) = mpsc::sync_channel(AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

struct Publisher<'a> {
    link: Link,
    target: &'a Target,
    topic: &'a str,
    retain: bool,
    identifier: u16,
}

impl Publisher<'_> {
    fn lines(&mut self, lines: &Receiver<std::io::Result<Vec<u8>>>) -> Result<(), Failure> {
        loop {
            match lines.recv_timeout(self.link.patience()) {
                Ok(line) => {
                    let line = line.map_err(Failure::local("standard input"))?;
                    let line = line.strip_suffix(b"\r").unwrap_or(&line);
                    check_size(self.topic, line)?;
                    self.publish(line)?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    // Sends the ping and takes an earlier one's answer.
                    self.link.receive(std::time::Duration::from_millis(50))?;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }

    /// Publishes and waits until the broker has it, as the QoS says.
    fn publish(&mut self, message: &[u8]) -> Result<(), Failure> {
        let head = Head {
            version: self.target.hello.version,
            qos: self.target.qos,
            retain: self.retain,
            dup: false,
            topic: self.topic,
            topic_alias: 0,
            message_expiry_interval: None,
            subscription_identifiers: &[],
            properties: &[],
            payload: message.len(),
        };
        let mut packet = Vec::with_capacity(message.len() + self.topic.len() + 16);
        let at = head.encode(&mut packet);
        if self.target.qos != QoS::AtMostOnce {
            self.identifier = self.identifier.checked_add(1).unwrap_or(1);
            packet[at..at + 2].copy_from_slice(&self.identifier.to_be_bytes());
        }
        packet.extend_from_slice(message);
        self.link.send(&packet)?;
        match self.target.qos {
            QoS::AtMostOnce => Ok(()),
            QoS::AtLeastOnce => self.acknowledged(PacketType::Puback),
            QoS::ExactlyOnce => {
                self.acknowledged(PacketType::Pubrec)?;
                let mut packet = Vec::new();
                ack::encode(
                    &mut packet,
                    self.target.hello.version,
                    PacketType::Pubrel,
                    self.identifier,
                    ReasonCode::Success,
                );
                self.link.send(&packet)?;
                self.acknowledged(PacketType::Pubcomp)
            }
        }
    }

    fn acknowledged(&mut self, kind: PacketType) -> Result<(), Failure> {
        let packet = self.link.expect(kind)?;
        let ack = Ack::decode(self.target.hello.version, kind, &packet.body).map_err(not_mqtt)?;
        if ack.packet_identifier != self.identifier {
            return Err(Failure::Failed(format!(
                "broker: expected the answer to {}, got one to {}",
                self.identifier, ack.packet_identifier
            )));
        }
        if ack.failed {
            let reason = packets::reason(packet.body.get(2).copied().unwrap_or(0x80));
            return Err(Failure::Failed(format!(
                "{}: the broker refused the message: {reason}",
                self.topic
            )));
        }
        Ok(())
    }
}
