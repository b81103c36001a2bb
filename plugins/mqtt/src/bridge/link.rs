//! Both connections of a bridge, and what goes to and fro between them.

use std::future::poll_fn;
use std::io;
use std::time::{Duration, Instant};

use polyport_mqtt_core::codec::subscribe::RetainHandling;
use polyport_mqtt_core::codec::{FixedHeader, PacketType, QoS, Version};
use polyport_sdk::net::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tracing::warn;

use super::local::{Local, OWN_IDENTIFIER, subscribe};
use super::relay::{Packets, Relay, Said};
use super::remote::Remote;
use super::report::Report;
use crate::client::packets;
use crate::config::bridges::Bridge;

/// Bytes read at once.
const READ: usize = 64 * 1024;
/// With more than this on its way there, nothing more is taken here.
const UNSENT_MAX: usize = 256 * 1024;
/// A broker that sends and never reads what it is answered is left.
const UNREAD_MAX: usize = 64 * 1024 * 1024;
/// How long the last packets may take.
const LEAVE: Duration = Duration::from_secs(2);

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended {
    /// Not as it should have.
    Failed(String),
    /// This side ends it.
    Here,
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Ended::Failed(match error.kind() {
            io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
            _ => error.to_string(),
        })
    }
}

/// Both connections.
pub(super) struct Link<'a> {
    local: Local,
    relay: Relay,
    version: Version,
    reading: ReadHalf<Stream>,
    writing: WriteHalf<Stream>,
    unread: Vec<u8>,
    /// Bytes of the other broker that belong to a packet that is passed over.
    skip: usize,
    max_packet: usize,
    to: Packets,
    /// Bytes of `to.remote` that are written.
    written: usize,
    keep_alive: Duration,
    last_sent: Instant,
    pinged: Option<Instant>,
    notification: Option<&'a str>,
    report: &'a Report,
    told_refused: bool,
    told_large: bool,
}

impl<'a> Link<'a> {
    pub(super) fn new(
        settings: &'a Bridge,
        local: Local,
        remote: Remote,
        relay: Relay,
        report: &'a Report,
    ) -> Self {
        let (reading, writing) = tokio::io::split(remote.stream);
        let keep_alive = remote.connack.keep_alive.unwrap_or(settings.keep_alive);
        let mut link = Self {
            local,
            relay,
            version: remote.version,
            reading,
            writing,
            unread: remote.unread,
            skip: 0,
            max_packet: settings.max_packet as usize,
            to: Packets::default(),
            written: 0,
            keep_alive: Duration::from_secs(keep_alive.into()),
            last_sent: Instant::now(),
            pinged: None,
            notification: settings.remote_notification_topic.as_deref(),
            report,
            told_refused: false,
            told_large: false,
        };
        link.notify(b"1");
        link
    }

    /// Tells the other broker the state of the bridge.
    fn notify(&mut self, state: &[u8]) {
        if let Some(topic) = self.notification {
            let packet = &mut self.to.remote;
            packets::publish_retained(packet, self.version, topic, state);
        }
    }

    /// Subscribes there, and unsubscribes from what is not wanted any more.
    pub(super) fn subscribe(&mut self, filters: &[(&str, QoS)], gone: &[&str]) {
        let packet = &mut self.to.remote;
        if !gone.is_empty() {
            let gone = gone.iter().copied();
            packets::unsubscribe(packet, self.version, OWN_IDENTIFIER, gone);
        }
        subscribe(packet, self.version, filters, RetainHandling::SendIfNew);
    }

    /// Relays until one side ends, or the other broker has answered an UNSUBSCRIBE: with these codes, and there may
    /// be more to relay.
    pub(super) async fn run(
        &mut self,
        name: &str,
        filters: &[(&str, QoS)],
    ) -> Result<Vec<u8>, Ended> {
        let over = self.relay(name, filters).await;
        self.report.count(self.relay.counts);
        over
    }

    async fn relay(&mut self, name: &str, filters: &[(&str, QoS)]) -> Result<Vec<u8>, Ended> {
        loop {
            while let Some(said) = self.take_local()? {
                match said {
                    Said::Connected { code: 0, .. } => {}
                    Said::Connected { code, .. } => {
                        let reason = packets::reason(code);
                        let text = format!("this broker refused the bridge: {reason}");
                        return Err(Ended::Failed(text));
                    }
                    Said::Subscribed(codes) => {
                        if let Some(code) = codes.iter().find(|code| **code >= 0x80) {
                            let reason = packets::reason(*code);
                            warn!(bridge = %name, "this broker refused a subscription: {reason}");
                        }
                    }
                    // Shutting down, or making way.
                    Said::Disconnect(0x8b, _) => return Err(Ended::Here),
                    Said::Disconnect(code, words) => {
                        let text = format!("this broker: {}", described(code, words));
                        return Err(Ended::Failed(text));
                    }
                    Said::Unsubscribed(_) | Said::Pong | Said::Refused(_) => {}
                }
            }
            while let Some(said) = self.take_remote(name)? {
                match said {
                    Said::Pong => self.pinged = None,
                    Said::Subscribed(codes) => refused_filters(name, filters, &codes),
                    Said::Unsubscribed(codes) => return Ok(codes),
                    Said::Disconnect(code, words) => {
                        return Err(Ended::Failed(described(code, words)));
                    }
                    Said::Refused(code) if !self.told_refused => {
                        self.told_refused = true;
                        let reason = packets::reason(code);
                        warn!(bridge = %name, "a message was refused there, and more may be: {reason}");
                    }
                    Said::Refused(_) | Said::Connected { .. } => {}
                }
            }
            self.report.count(self.relay.counts);
            if self.local.send(&mut self.to.local).is_err() {
                return Err(Ended::Here);
            }
            self.keep_alive()?;
            if self.unsent() > UNREAD_MAX {
                let text = "it does not read what it is sent".into();
                return Err(Ended::Failed(text));
            }
            self.wait().await?;
        }
    }

    /// Moves what can be moved, or waits for it.
    async fn wait(&mut self) -> Result<(), Ended> {
        let unsent = self.unsent();
        let due = self.due();
        self.unread.reserve(READ);
        tokio::select! {
            read = self.reading.read_buf(&mut self.unread) => {
                if read? == 0 {
                    return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
                }
            }
            written = self.writing.write(&self.to.remote[self.written..]), if unsent > 0 => {
                self.written += written?;
                if self.written == self.to.remote.len() {
                    self.written = 0;
                    self.to.remote.clear();
                    self.to.remote.shrink_to(2 * UNSENT_MAX);
                    self.writing.flush().await?;
                }
                self.last_sent = Instant::now();
            }
            more = poll_fn(|cx| self.local.poll_take(cx)), if unsent < UNSENT_MAX => {
                if !more {
                    let text = "this broker closed the bridge's session".into();
                    return Err(Ended::Failed(text));
                }
            }
            () = tokio::time::sleep_until(due.into()) => {}
        }
        Ok(())
    }

    fn unsent(&self) -> usize {
        self.to.remote.len() - self.written
    }

    fn due(&self) -> Instant {
        match self.pinged {
            Some(sent) => sent + self.keep_alive,
            // Without a keep alive there is nothing to be in time for.
            None if self.keep_alive.is_zero() => Instant::now() + Duration::from_secs(3600),
            None => self.last_sent + self.keep_alive * 3 / 4,
        }
    }

    /// Pings when that is due, and gives up when the answer is.
    fn keep_alive(&mut self) -> Result<(), Ended> {
        if self.keep_alive.is_zero() || Instant::now() < self.due() {
            return Ok(());
        }
        if self.pinged.is_some() {
            return Err(Ended::Failed("no answer to a ping".into()));
        }
        self.to.remote.extend(packets::PINGREQ);
        self.pinged = Some(Instant::now());
        Ok(())
    }

    /// The packets of this broker, up to one that says something.
    fn take_local(&mut self) -> io::Result<Option<Said>> {
        let mut at = 0;
        let mut said = None;
        while said.is_none() {
            let rest = &self.local.unread[at..];
            let Some(header) = FixedHeader::read(rest).map_err(here)? else {
                break;
            };
            let Some(frame) = rest.get(..header.frame()) else {
                break;
            };
            let body = &frame[header.length..];
            said = self
                .relay
                .take_local(header.first, body, &mut self.to)
                .map_err(here)?;
            at += header.frame();
        }
        shift(&mut self.local.unread, at);
        Ok(said)
    }

    /// The packets of the other broker, up to one that says something.
    fn take_remote(&mut self, name: &str) -> io::Result<Option<Said>> {
        let mut at = 0;
        let mut said = None;
        while said.is_none() {
            let skipped = self.skip.min(self.unread.len() - at);
            self.skip -= skipped;
            at += skipped;
            let rest = &self.unread[at..];
            let Some(header) = FixedHeader::read(rest).map_err(there)? else {
                break;
            };
            if header.frame() > self.max_packet {
                if PacketType::from_first_byte(header.first) != Some(PacketType::Publish) {
                    let text = format!("sent a packet of {} bytes", header.frame());
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
                let start = &rest[header.length..];
                if !self.relay.pass_over(header.first, start, &mut self.to) {
                    break;
                }
                if !self.told_large {
                    self.told_large = true;
                    let bytes = header.frame();
                    warn!(bridge = %name, "a message of {bytes} bytes is over max_packet and left out, and more may be");
                }
                self.skip = header.frame();
                continue;
            }
            let Some(frame) = rest.get(..header.frame()) else {
                break;
            };
            let body = &frame[header.length..];
            said = self
                .relay
                .take_remote(header.first, body, &mut self.to)
                .map_err(there)?;
            at += header.frame();
        }
        shift(&mut self.unread, at);
        Ok(said)
    }

    /// Ends the connection there in order.
    pub(super) async fn leave(mut self, unsubscribed: &[&str], forgets: bool) {
        if !unsubscribed.is_empty() {
            let filters = unsubscribed.iter().copied();
            packets::unsubscribe(&mut self.to.remote, self.version, OWN_IDENTIFIER, filters);
        }
        self.notify(b"0");
        match forgets && self.version.is_v5() {
            // The session ends with the connection.
            true => self.to.remote.extend(packets::DISCONNECT_AND_FORGET),
            false => self.to.remote.extend(packets::DISCONNECT),
        }
        let Self {
            mut writing,
            mut reading,
            to,
            written,
            ..
        } = self;
        let last = async {
            writing.write_all(&to.remote[written..]).await?;
            writing.shutdown().await?;
            // It closes next; what it still sends comes again.
            let mut ignored = [0; 1024];
            while reading.read(&mut ignored).await? > 0 {}
            io::Result::Ok(())
        };
        let _ = timeout(LEAVE, last).await;
    }
}

/// Takes `count` bytes off the front, and gives a large empty buffer back.
fn shift(bytes: &mut Vec<u8>, count: usize) {
    bytes.drain(..count);
    if bytes.is_empty() {
        bytes.shrink_to(2 * READ);
    }
}

fn here(error: polyport_mqtt_core::codec::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("this broker: {error}"))
}

fn there(error: polyport_mqtt_core::codec::Error) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("it sent what it must not: {error}"),
    )
}

fn described(code: u8, words: Option<String>) -> String {
    let reason = packets::reason(code);
    match words {
        Some(words) => format!("it ended the connection: {reason}: {words:?}"),
        None => format!("it ended the connection: {reason}"),
    }
}

fn refused_filters(name: &str, filters: &[(&str, QoS)], codes: &[u8]) {
    for ((filter, _), code) in filters.iter().zip(codes) {
        if *code >= 0x80 {
            let reason = packets::reason(*code);
            warn!(bridge = %name, "the subscription to {filter:?} was refused there: {reason}");
        }
    }
}
