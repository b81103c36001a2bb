//! Moves the bytes of one transfer, beside the control connection.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use polyport_ftp_core::ascii::Encoder;
use polyport_ftp_core::{Answer, Failure, Opened, Representation, Stopped};
use polyport_sdk::net::Stream;
use rustix::fs::Advice;
use rustix::io::Errno;
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::blocking;
use crate::config::Ascii;
use crate::files::{Sink, Source, failure};
use crate::listing::Lines;
use crate::writer::Writer;

/// Bytes handed to one `sendfile`: what a cold disk may hold up a thread of the runtime for.
const SEND: usize = 1 << 20;
/// Bytes converted or written at a time.
const BLOCK: usize = 1 << 20;

/// What a transfer is to do.
pub(super) enum Job {
    /// LIST, NLST, MLSD.
    Lines(Box<Lines>),
    /// RETR.
    Download(Source),
    /// STOR, APPE, STOU.
    Upload {
        sink: Sink,
        representation: Representation,
        ascii: Ascii,
        /// Whether an end without TLS close_notify is taken for a break.
        strict_end: bool,
    },
}

impl Job {
    /// The answer that begins a listing.
    pub(super) fn opened(&self) -> Answer {
        Answer::Opened(Opened {
            size: None,
            representation: Representation::Ascii,
            name: None,
        })
    }
}

/// A transfer under way; dropping it ends it.
pub(super) struct Running {
    what: String,
    upload: bool,
    octets: Arc<AtomicU64>,
    abort: CancellationToken,
    task: JoinSet<Ended>,
}

/// How a transfer ended.
pub(super) enum Ended {
    /// Nothing is left to do.
    Sent(Result<(), Stopped>),
    /// The data connection of an upload has ended.
    Uploaded {
        sink: Sink,
        result: Result<(), Stopped>,
    },
}

impl Running {
    pub(super) fn start(
        what: String,
        job: Job,
        connect: impl Future<Output = Result<Stream, Stopped>> + Send + 'static,
    ) -> Self {
        let octets = Arc::new(AtomicU64::new(0));
        let abort = CancellationToken::new();
        let upload = matches!(job, Job::Upload { .. });
        let mut task = JoinSet::new();
        task.spawn(run(job, connect, Arc::clone(&octets), abort.clone()));
        Self {
            what,
            upload,
            octets,
            abort,
            task,
        }
    }

    pub(super) fn what(&self) -> &str {
        &self.what
    }

    pub(super) fn is_upload(&self) -> bool {
        self.upload
    }

    /// Octets moved over the data connection so far.
    pub(super) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }

    pub(super) fn abort(&self) {
        self.abort.cancel();
    }

    pub(super) async fn ended(&mut self) -> Ended {
        match self.task.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => Ended::Sent(Err(Stopped::File(Failure::Other(format!(
                "the transfer failed: {error}"
            ))))),
            None => std::future::pending().await,
        }
    }
}

impl Ended {
    /// Makes an upload the file it is to be, if it is whole. A part never takes the place of a
    /// file; under a free name it is kept for REST or APPE to go on with, if wanted.
    pub(super) async fn settle(self, attended: bool, keep_part: bool) -> Result<(), Stopped> {
        let (sink, result) = match self {
            Self::Sent(result) => return result,
            Self::Uploaded { sink, result } => (sink, result),
        };
        let result = if attended {
            result
        } else {
            result.and(Err(Stopped::Broken))
        };
        blocking(move || match (sink, result) {
            (Sink::New(upload), Ok(())) => upload
                .commit()
                .map(drop)
                .map_err(|error| Stopped::File(failure(error))),
            (Sink::Existing(file), Ok(())) => {
                file.sync().map_err(|error| Stopped::File(failure(error)))
            }
            (Sink::New(upload), Err(why)) => {
                if keep_part
                    && !upload.is_empty()
                    && let Err(error) = upload.commit_if_new()
                {
                    tracing::debug!("part of an upload is not kept: {error}");
                }
                Err(why)
            }
            (Sink::Existing(_), Err(why)) => Err(why),
        })
        .await
    }
}

async fn run(
    job: Job,
    connect: impl Future<Output = Result<Stream, Stopped>>,
    octets: Arc<AtomicU64>,
    abort: CancellationToken,
) -> Ended {
    match job {
        Job::Lines(lines) => {
            let work = async { send_lines(lines, connect.await?, &octets).await };
            Ended::Sent(unless(&abort, work).await)
        }
        Job::Download(source) => {
            let work = async { send_file(source, connect.await?, &octets).await };
            Ended::Sent(unless(&abort, work).await)
        }
        Job::Upload {
            sink,
            representation,
            ascii,
            strict_end,
        } => {
            let result = match sink.writer() {
                Ok(file) => {
                    let writer = Writer::new(file, representation, ascii);
                    let work = async { receive(connect.await?, writer, strict_end, &octets).await };
                    unless(&abort, work).await
                }
                Err(error) => Err(Stopped::File(failure(error))),
            };
            Ended::Uploaded { sink, result }
        }
    }
}

async fn unless(
    abort: &CancellationToken,
    work: impl Future<Output = Result<(), Stopped>>,
) -> Result<(), Stopped> {
    tokio::select! {
        () = abort.cancelled() => Err(Stopped::Aborted),
        done = work => done,
    }
}

async fn send_lines(
    mut lines: Box<Lines>,
    mut stream: Stream,
    octets: &AtomicU64,
) -> Result<(), Stopped> {
    loop {
        let piece;
        (piece, lines) = blocking(move || (lines.next_piece(), lines)).await;
        let Some(piece) = piece.map_err(Stopped::File)? else {
            return finish(stream).await;
        };
        for block in piece.chunks(64 * 1024) {
            stream.write_all(block).await.map_err(broken)?;
            octets.fetch_add(block.len() as u64, Ordering::Relaxed);
        }
    }
}

async fn send_file(source: Source, stream: Stream, octets: &AtomicU64) -> Result<(), Stopped> {
    // a hint; without it the file is read all the same
    let _ = rustix::fs::fadvise(&source.file, source.from, None, Advice::Sequential);
    match source.representation {
        Representation::Image => send_image(source, stream, octets).await,
        Representation::Ascii => send_converted(source, stream, octets).await,
    }
}

/// From the page cache to the socket without passing through this process.
async fn send_image(mut source: Source, stream: Stream, octets: &AtomicU64) -> Result<(), Stopped> {
    while source.from < source.to {
        let left = usize::try_from(source.to - source.from).unwrap_or(usize::MAX);
        let sent = stream
            .send_file(&source.file, &mut source.from, left.min(SEND))
            .await;
        match sent {
            // cut off while it was read
            Ok(0) => {
                return Err(Stopped::File(Failure::Other(
                    "the file became shorter".into(),
                )));
            }
            Ok(sent) => {
                octets.fetch_add(sent as u64, Ordering::Relaxed);
            }
            // a file system that cannot do it
            Err(error)
                if matches!(
                    Errno::from_io_error(&error),
                    Some(Errno::INVAL | Errno::NOSYS)
                ) =>
            {
                return send_converted(source, stream, octets).await;
            }
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => {
                return Err(disk(error));
            }
            Err(error) => return Err(broken(error)),
        }
    }
    finish(stream).await
}

/// Through memory, block by block.
async fn send_converted(
    source: Source,
    mut stream: Stream,
    octets: &AtomicU64,
) -> Result<(), Stopped> {
    let Source {
        file,
        mut from,
        mut skip,
        representation,
        ..
    } = source;
    let file = Arc::new(file);
    let mut encoder = Encoder::default();
    let mut wire = Vec::new();
    loop {
        let block = read_block(&file, from).await.map_err(disk)?;
        if block.is_empty() {
            // REST beyond the end of the converted file
            if skip > 0 {
                return Err(Stopped::File(Failure::BeyondEnd));
            }
            return finish(stream).await;
        }
        from += block.len() as u64;
        wire.clear();
        match representation {
            Representation::Ascii => encoder.encode(&block, &mut wire),
            Representation::Image => wire.extend_from_slice(&block),
        }
        let left_out = usize::try_from(skip).unwrap_or(usize::MAX).min(wire.len());
        skip -= left_out as u64;
        stream.write_all(&wire[left_out..]).await.map_err(broken)?;
        octets.fetch_add((wire.len() - left_out) as u64, Ordering::Relaxed);
    }
}

async fn read_block(file: &Arc<File>, from: u64) -> io::Result<Vec<u8>> {
    let file = Arc::clone(file);
    blocking(move || {
        let mut block = vec![0; BLOCK];
        let read = loop {
            match file.read_at(&mut block, from) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        block.truncate(read);
        Ok(block)
    })
    .await
}

/// The end of the data connection is the end of the file (RFC 959 section 3.4.1).
async fn finish(mut stream: Stream) -> Result<(), Stopped> {
    stream.shutdown().await.map_err(broken)
}

async fn receive(
    mut stream: Stream,
    mut writer: Writer<polyport_sdk::files::Writer>,
    strict_end: bool,
    octets: &AtomicU64,
) -> Result<(), Stopped> {
    let mut buffer = vec![0; BLOCK];
    loop {
        stream.readable().await.map_err(broken)?;
        let (filled, then) = fill(&stream, &mut buffer);
        let (ended, failed) = match then {
            Then::More => (false, None),
            Then::End => (true, None),
            // the end of the socket without that of TLS: who is on the way could have cut it off
            Then::Broken(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                (!strict_end, strict_end.then_some(Stopped::Truncated))
            }
            Then::Broken(error) => (false, Some(broken(error))),
        };
        octets.fetch_add(filled as u64, Ordering::Relaxed);
        (writer, buffer) = blocking(move || {
            writer
                .write(&buffer[..filled], ended)
                .map(|()| (writer, buffer))
        })
        .await
        .map_err(disk)?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        if ended {
            // clients wait for our close_notify; one that has gone already does not miss it
            let _ = stream.shutdown().await;
            return Ok(());
        }
    }
}

/// How a stream goes on behind what was read of it.
#[derive(Debug)]
enum Then {
    More,
    End,
    /// The system tells it once: who reads again is told that this was the end.
    Broken(io::Error),
}

/// Reads what is there, up to the size of the buffer. What arrived before a break counts.
fn fill(stream: &Stream, buffer: &mut [u8]) -> (usize, Then) {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.try_read(&mut buffer[filled..]) {
            Ok(0) => return (filled, Then::End),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return (filled, Then::Broken(error)),
        }
    }
    (filled, Then::More)
}

fn broken(_: io::Error) -> Stopped {
    Stopped::Broken
}

fn disk(error: io::Error) -> Stopped {
    Stopped::File(failure(error.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use rustix::net::sockopt::set_socket_linger;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_is_reset_behind_its_last_bytes_has_not_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (served, _) = listener.accept().unwrap();
        served.set_nonblocking(true).unwrap();
        let stream = Stream::from(tokio::net::TcpStream::from_std(served).unwrap());
        client.write_all(b"the beginning of a file").unwrap();
        set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
        drop(client);
        stream.readable().await.unwrap();
        let (filled, then) = fill(&stream, &mut [0; 1000]);
        assert!(matches!(then, Then::Broken(_)), "{filled} {then:?}");
    }
}
