//! A folder as one file, made while it is sent: nothing of it is held in memory or on disk but
//! what is under way.

mod tar_gz;
mod walk;
mod zip;

use std::io::{self, Write};
use std::sync::Arc;

use futures_util::stream;
use polyport_sdk::files::{ClientPath, View};
use polyport_sdk::http::{Body, Bytes, Problem, Request, Response, StatusCode, header};
use tokio::sync::{Semaphore, mpsc};

use crate::disposition;
use crate::target::file_name;

/// Bytes handed over at once, and how many such pieces may wait for the client.
const PIECE: usize = 128 * 1024;
const AHEAD: usize = 4;

/// Archives made at the same time by one instance: each holds a thread while its client reads.
pub const AT_ONCE: usize = 32;

/// The kinds of archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A gzipped tar file with GNU long names.
    TarGz,
    /// A ZIP file with deflated entries, ZIP64 where it is needed.
    Zip,
}

impl Format {
    /// Which archive a request asks for: `?archive=tar.gz` or `?archive=zip`, or the spelling of
    /// miniserve, `?download=tar_gz`.
    ///
    /// # Errors
    /// 400 for another kind.
    pub fn of(request: &Request) -> Result<Option<Self>, Problem> {
        let Some(kind) = request
            .query_value("archive")
            .or_else(|| request.query_value("download"))
        else {
            return Ok(None);
        };
        match kind.as_str() {
            "tar.gz" | "tar_gz" => Ok(Some(Self::TarGz)),
            "zip" => Ok(Some(Self::Zip)),
            other => Err(Problem::bad_request(format!(
                "archive: expected tar.gz or zip, got {other:?}"
            ))),
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }
}

/// The response with a folder as an archive: all of it that the account may list and read.
///
/// # Errors
/// 503 when too many archives are being made.
pub fn respond(
    format: Format,
    view: &View,
    folder: &ClientPath,
    places: &Arc<Semaphore>,
    head_only: bool,
) -> Result<Response, Problem> {
    let name = if folder.is_root() {
        "files".to_owned()
    } else {
        file_name(folder)
    };
    let response = Response::new(StatusCode::OK)
        .header(header::CONTENT_TYPE, format.content_type())
        .header(header::CACHE_CONTROL, "no-cache")
        .header_text(
            header::CONTENT_DISPOSITION,
            &disposition::attachment(&format!("{name}.{}", format.ending())),
        );
    if head_only {
        return Ok(response.body(Body::Stream {
            stream: Box::pin(stream::empty()),
            len: None,
        }));
    }
    let place = Arc::clone(places).try_acquire_owned().map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("too many archives are being made")
            .header(header::RETRY_AFTER, "10")
    })?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let walk = walk::Walk::new(view.clone(), folder.clone(), name);
    tokio::task::spawn_blocking(move || {
        let mut pieces = Pieces {
            sender,
            buffer: Vec::with_capacity(PIECE),
        };
        let made = match format {
            Format::TarGz => tar_gz::write(walk, &mut pieces),
            Format::Zip => zip::write(walk, &mut pieces),
        };
        if let Err(error) = made.and_then(|()| pieces.flush())
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            // The receiver may be gone as well: then nobody needs to know.
            let _ = pieces.sender.blocking_send(Err(error));
        }
        drop(place);
    });
    let pieces = stream::unfold(
        receiver,
        async |mut receiver: mpsc::Receiver<io::Result<Bytes>>| {
            receiver.recv().await.map(|piece| (piece, receiver))
        },
    );
    Ok(response.body(Body::Stream {
        stream: Box::pin(pieces),
        len: None,
    }))
}

/// Hands what is written to the connection; waits while the client does not take it.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (now, _) = bytes.split_at(bytes.len().min(PIECE - self.buffer.len()));
        self.buffer.extend_from_slice(now);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.into()))
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
