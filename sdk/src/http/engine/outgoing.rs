//! A response as hyper takes it.

use std::io;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::{HeaderValue, Method, StatusCode, Version, header};
use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Frame, SizeHint};

use super::super::exchange::Ending;
use super::super::file_body::FileReader;
use super::super::{Body, BodyStream, Response};

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
            Body::File { file, offset, len } => Content::File(FileReader::new(file, offset, len)),
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
    let mut framed = hyper::Response::new(Outgoing { content, ending });
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
    ending: Ending,
}

impl hyper::body::Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let piece = match &mut this.content {
            Content::Empty => None,
            Content::Bytes(_) => match std::mem::replace(&mut this.content, Content::Empty) {
                Content::Bytes(bytes) => Some(Ok(bytes)),
                _ => None,
            },
            Content::File(reader) => ready!(Pin::new(reader).poll_next(cx)),
            Content::Stream(stream, _) => {
                match std::panic::catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx))) {
                    Ok(polled) => ready!(polled),
                    Err(_) => Some(Err(io::Error::other("panic while making the body"))),
                }
            }
        };
        match &piece {
            Some(Ok(bytes)) => this.ending.add_produced(bytes.len()),
            Some(Err(error)) => tracing::error!("a response broke off: {error}"),
            None => this.ending.complete(),
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.content.len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            // A stream's length was said in the header; hyper holds it to that.
            Content::Stream(..) => SizeHint::default(),
            content => content
                .len()
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
