//! A response as hyper takes it.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::http::{HeaderValue, Method, StatusCode, Version, header};
use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Frame, SizeHint};

use super::super::activity::Activity;
use super::super::exchange::Ending;
use super::super::file_body::{FileReader, PIECE};
use super::super::timed::Deadline;
use super::super::{Body, BodyStream, Response};
use crate::accounts::Pace;

/// Bytes of a file that are read at once for each of the responses side by side.
const SMALL_PIECE: usize = 32 * 1024;

/// Bytes that are sent at once to an account whose rate is limited.
const PACED_PIECE: usize = 16 * 1024;

/// Frames a response, and leaves the body out where there must be none.
pub(super) fn outgoing(
    response: Response,
    method: &Method,
    version: Version,
    mut ending: Ending,
) -> hyper::Response<Outgoing> {
    let Response {
        status,
        mut headers,
        body,
    } = response;
    let bodiless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    if let (false, Some(len)) = (bodiless, body.len()) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    let content = if bodiless || *method == Method::HEAD {
        Content::Empty
    } else {
        match body {
            Body::Empty => Content::Empty,
            Body::Bytes(bytes) => Content::Bytes(bytes),
            Body::File { file, offset, len } => {
                // Each of the responses side by side holds its pieces in memory.
                let piece = if version == Version::HTTP_2 {
                    SMALL_PIECE
                } else {
                    PIECE
                };
                Content::File(FileReader::new(file, offset, len, piece))
            }
            Body::Stream { stream, len } => Content::Stream(stream, len),
        }
    };
    let content = if content.len() == Some(0) {
        Content::Empty
    } else {
        content
    };
    let fields: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    // "HTTP/1.1 200 OK", "date: Sun, 22 Nov 2026 12:02:00 GMT" and the empty line.
    let header_len = 13 + status.canonical_reason().map_or(0, str::len) + 2 + 37 + fields + 2;
    ending.begin_response(status.as_u16(), header_len as u64, content.len());
    let pace = ending.exchange().pace().filter(Pace::limits_sent);
    let mut framed = hyper::Response::new(Outgoing {
        content,
        withheld: Withheld::new(&ending),
        paced: pace.map(Paced::new),
        ending,
    });
    *framed.status_mut() = status;
    *framed.headers_mut() = headers;
    *framed.version_mut() = version;
    framed
}

enum Content {
    Empty,
    Bytes(Bytes),
    File(FileReader),
    Stream(BodyStream, Option<u64>),
}

impl Content {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(_) => Poll::Ready(match std::mem::replace(self, Self::Empty) {
                Self::Bytes(bytes) => Some(Ok(bytes)),
                _ => None,
            }),
            Self::File(reader) => Pin::new(reader).poll_next(cx),
            Self::Stream(stream, _) => {
                let polled = AssertUnwindSafe(|| stream.as_mut().poll_next(cx));
                std::panic::catch_unwind(polled).unwrap_or_else(|_| {
                    let error = io::Error::other("panic while making the body");
                    Poll::Ready(Some(Err(error)))
                })
            }
        }
    }

    fn len(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::File(reader) => Some(reader.left()),
            Self::Stream(_, len) => *len,
        }
    }
}

/// A response's body as it goes out. Dropping it ends the exchange.
pub(super) struct Outgoing {
    content: Content,
    withheld: Option<Withheld>,
    paced: Option<Paced>,
    ending: Ending,
}

/// Tells that a response waits for its client: the engine asks for the next piece once the last one may go.
struct Withheld {
    activity: Arc<Activity>,
    waits: bool,
}

impl Withheld {
    /// None where the stream itself tells.
    fn new(ending: &Ending) -> Option<Self> {
        let activity = ending.exchange().activity();
        activity.is_multiplexed().then(|| Self {
            activity: Arc::clone(activity),
            waits: false,
        })
    }

    fn set(&mut self, waits: bool) {
        if waits != std::mem::replace(&mut self.waits, waits) {
            self.activity.withhold(waits);
        }
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// Holds a body to the account's `rate_down`.
struct Paced {
    pace: Pace,
    /// What is left of a piece that was too large to be sent at once.
    rest: Bytes,
    pause: Option<Deadline>,
}

impl Paced {
    fn new(pace: Pace) -> Self {
        Self {
            pace,
            rest: Bytes::new(),
            pause: None,
        }
    }

    /// What of a piece goes out now; the next one waits for it.
    fn share(&mut self, mut piece: Bytes) -> Bytes {
        if piece.len() > PACED_PIECE {
            self.rest = piece.split_off(PACED_PIECE);
        }
        self.pause = Deadline::after(self.pace.sent(piece.len()));
        piece
    }
}

impl Outgoing {
    fn rest_len(&self) -> u64 {
        self.paced
            .as_ref()
            .map_or(0, |paced| paced.rest.len() as u64)
    }
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if let Some(withheld) = &mut this.withheld {
            withheld.set(false);
        }
        if let Some(pause) = this.paced.as_mut().and_then(|paced| paced.pause.as_mut()) {
            ready!(pause.poll(cx));
        }
        let rest = this
            .paced
            .as_mut()
            .map(|paced| std::mem::take(&mut paced.rest));
        let mut piece = match rest.filter(|rest| !rest.is_empty()) {
            Some(rest) => Some(Ok(rest)),
            None => ready!(this.content.poll_next(cx)),
        };
        if let (Some(paced), Some(Ok(bytes))) = (&mut this.paced, &mut piece) {
            *bytes = paced.share(std::mem::take(bytes));
        }
        match &piece {
            Some(Ok(bytes)) => this.ending.add_produced(bytes.len()),
            Some(Err(error)) => tracing::error!("a response broke off: {error}"),
            None => this.ending.complete(),
        }
        if let (Some(withheld), Some(Ok(_))) = (&mut this.withheld, &piece) {
            withheld.set(true);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.len() == Some(0) && self.rest_len() == 0
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            // A stream's length was said in the header; hyper holds it to that.
            Content::Stream(..) => SizeHint::default(),
            content => content
                .len()
                .map(|len| len + self.rest_len())
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
