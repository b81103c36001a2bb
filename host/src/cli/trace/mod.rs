//! `polyport trace`: what passes over a service's connections, live, as lines and as a capture file.

mod capture;
mod show;

use std::io::{self, Write};
use std::path::PathBuf;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::signal::unix::{SignalKind, signal};

use super::{Options, Outcome};
use crate::control::{Command as Ask, client};
use crate::trace::wire::Seen;
use capture::Capture;

/// Arguments of `polyport trace`.
#[derive(Debug, Args)]
pub struct Command {
    /// The service's name in the configuration
    service: String,
    /// Only connections of this client: ADDRESS, ADDRESS:PORT, or the #NUMBER that a line shows
    #[arg(long, value_name = "PEER")]
    connection: Option<String>,
    /// Show the bytes of each piece as well, passwords included
    #[arg(long)]
    bytes: bool,
    /// Write a capture file (pcap) for Wireshark as well; it holds all bytes, passwords included
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// End after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

impl Command {
    /// Shows what passes until Ctrl-C, `--count`, or the host's end.
    pub fn run(self, options: &Options) -> Outcome {
        let socket = options.control_socket()?;
        let ask = Ask::Trace {
            service: self.service.clone(),
            connection: self.connection.clone(),
            bytes: self.bytes || self.write.is_some(),
        };
        let (_, stream) = client::begin(&socket, &ask)?;
        let capture = match &self.write {
            Some(path) => Some(
                Capture::create(path)
                    .map_err(|error| format!("capture {}: {error}", path.display()))?,
            ),
            None => None,
        };
        let early = stream.buffer().to_vec();
        let stream = stream.into_inner();
        stream.set_nonblocking(true)?;
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(self.follow(early, stream, capture))
    }

    async fn follow(
        self,
        early: Vec<u8>,
        stream: std::os::unix::net::UnixStream,
        mut capture: Option<Capture<std::fs::File>>,
    ) -> Outcome {
        let mut events =
            BufReader::new(early.as_slice().chain(UnixStream::from_std(stream)?)).lines();
        let mut interrupt = signal(SignalKind::interrupt())?;
        eprintln!("tracing {}; Ctrl-C ends it", self.service);
        let mut out = io::stdout().lock();
        let (mut shown, mut dropped) = (0, 0);
        let end = 'end: loop {
            let event = tokio::select! {
                _ = interrupt.recv() => break Ok(()),
                event = events.next_line() => event,
            };
            let Some(event) = event? else {
                break Err("the host ended".into());
            };
            let seen: Seen = serde_json::from_str(&event)?;
            let bytes = BASE64_STANDARD.decode(&seen.bytes)?;
            if let Some(capture) = &mut capture {
                capture.put(&seen, &bytes)?;
            }
            let mut lines = show::lines(&seen);
            if self.bytes {
                lines.extend(show::dump(&bytes));
            }
            if seen.dropped > dropped {
                let lost = seen.dropped - dropped;
                lines.insert(
                    0,
                    format!(
                        "({lost} events were dropped: they came faster than they could be shown)"
                    ),
                );
                dropped = seen.dropped;
            }
            for line in lines {
                if writeln!(out, "{line}").is_err() {
                    // Nobody reads any more, as behind `| head`.
                    break 'end Ok(());
                }
                shown += 1;
                if self.count.is_some_and(|count| shown >= count) {
                    break 'end Ok(());
                }
            }
        };
        out.flush().or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })?;
        eprintln!("{shown} lines, {dropped} events dropped");
        end
    }
}
