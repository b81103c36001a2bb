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

/// Bytes that are read and sent at once for each of the responses side by side.
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
    let pace = ending.exchange().pace().filter(Pace::limits_sent);
    let multiplexed = ending.exchange().activity().is_multiplexed();
    // Each of the responses side by side holds its pieces in memory.
    let piece = if multiplexed { SMALL_PIECE } else { PIECE };
    let content = if bodiless || *method == Method::HEAD {
        Content::Empty
    } else {
        match body {
            Body::Empty => Content::Empty,
            Body::Bytes(bytes) => Content::Bytes(bytes),
            Body::File { file, offset, len } => {
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
    let most = match &pace {
        Some(_) => PACED_PIECE,
        None if multiplexed => SMALL_PIECE,
        None => usize::MAX,
    };
    let mut framed = hyper::Response::new(Outgoing {
        content,
        most,
        rest: Bytes::new(),
        withheld: multiplexed.then(|| Withheld::new(&ending)),
        paced: pace.map(|pace| Paced { pace, pause: None }),
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
    /// The most bytes that go out at once.
    most: usize,
    /// What is left of a piece that was larger.
    rest: Bytes,
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
    fn new(ending: &Ending) -> Self {
        Self {
            activity: Arc::clone(ending.exchange().activity()),
            waits: false,
        }
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
    pause: Option<Deadline>,
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
        let mut piece = if this.rest.is_empty() {
            ready!(this.content.poll_next(cx))
        } else {
            Some(Ok(std::mem::take(&mut this.rest)))
        };
        if let Some(Ok(bytes)) = &mut piece {
            if bytes.len() > this.most {
                this.rest = bytes.split_off(this.most);
            }
            if let Some(paced) = &mut this.paced {
                paced.pause = Deadline::after(paced.pace.sent(bytes.len()));
            }
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
        self.content.len() == Some(0) && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            // A stream's length was said in the header; hyper holds it to that.
            Content::Stream(..) => SizeHint::default(),
            content => content
                .len()
                .map(|len| len + self.rest.len() as u64)
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
