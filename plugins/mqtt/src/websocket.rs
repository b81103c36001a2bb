//! MQTT over WebSocket (section 6): a stream of bytes out of binary messages and into them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream as _};
use polyport_sdk::handover::Relayed;
use polyport_sdk::net::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async_with_config};

/// Subprotocols in the order of preference; `mqttv3.1` is what clients of 3.1 ask for.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];
/// Largest message sent; it may hold several packets, or a part of one. Each connection keeps a buffer for it.
const MESSAGE: usize = 64 * 1024;
/// What a message may hold beside the largest packet.
const BESIDE: usize = 1 << 20;
/// Read at once; each connection keeps a buffer for it.
const READ: usize = 8 * 1024;

/// What a control frame of a client has around its payload (RFC 6455, 5.2).
const CONTROL: usize = 6;

/// Who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Door {
    /// Asking for one of these paths.
    pub(crate) paths: Vec<String>,
    /// In a browser: from pages of these origins, `*` for all. Other clients have no origin, or any they like.
    pub(crate) origins: Vec<String>,
}

/// Performs the opening handshake. `max_packet` is the largest MQTT packet: many clients put each
/// into one message.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    door: &Door,
    max_packet: usize,
) -> Result<WebSocket<S>, Error> {
    let largest = max_packet.saturating_add(BESIDE);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_message_size(Some(largest))
        .max_frame_size(Some(largest));
    // The callback's error type is the library's.
    #[allow(clippy::result_large_err)]
    let answer = |request: &Request, response: Response| answer(request, response, door);
    let stream = Counted { stream, read: 0 };
    let stream = accept_hdr_async_with_config(stream, answer, Some(config)).await?;
    Ok(WebSocket {
        stream,
        unread: Bytes::new(),
    })
}

#[allow(clippy::result_large_err)]
fn answer(
    request: &Request,
    mut response: Response,
    door: &Door,
) -> Result<Response, ErrorResponse> {
    let refuse = |status: StatusCode, why: &str| {
        let mut refusal = ErrorResponse::new(Some(why.to_owned()));
        *refusal.status_mut() = status;
        Err(refusal)
    };
    if !door.paths.iter().any(|path| path == request.uri().path()) {
        return refuse(StatusCode::NOT_FOUND, "no MQTT at this path\n");
    }
    // RFC 6455, 4.2.2: 403 for an origin that is not to come.
    let allowed = |origin: &HeaderValue| {
        let mut known = door.origins.iter();
        known.any(|known| known == "*" || origin.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
    };
    if !request
        .headers()
        .get_all(header::ORIGIN)
        .iter()
        .all(allowed)
    {
        return refuse(StatusCode::FORBIDDEN, "not from pages of this origin\n");
    }
    let offered: Vec<&str> = request
        .headers()
        .get_all(header::SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim))
        .collect();
    match SUBPROTOCOLS
        .into_iter()
        .find(|known| offered.contains(known))
    {
        Some(chosen) => {
            response.headers_mut().insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(chosen),
            );
            Ok(response)
        }
        // MQTT-6.0.0-3: the client must offer it.
        None => refuse(
            StatusCode::BAD_REQUEST,
            "expected the subprotocol mqtt or mqttv3.1\n",
        ),
    }
}

/// A WebSocket as a stream of bytes.
pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<Counted<S>>,
    unread: Bytes,
}

/// A stream that knows how much was read from it since it was asked to forget that.
struct Counted<S> {
    stream: S,
    read: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// The stream beneath it.
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream.get_ref().stream
    }

    /// Bytes of a message that has not ended.
    pub(crate) fn kept(&self) -> usize {
        self.stream.get_ref().read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => {
                    self.unread = bytes;
                    // Beyond its end no more was read than goes into the buffer.
                    self.stream.get_mut().read = 0;
                }
                // MQTT-6.0.0-1: only binary frames.
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::new(
                        io::ErrorKind::InvalidData,
                        "WebSocket text frame",
                    )));
                }
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(control)) => {
                    let read = &mut self.stream.get_mut().read;
                    *read = read.saturating_sub(control.len() + CONTROL);
                }
                Some(Err(error)) => return closed(error),
            }
        }
        let count = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..count]);
        self.unread.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(Pin::new(&mut self.stream).poll_ready(cx)).map_err(to_io)?;
        let mut message = Vec::new();
        for buf in bufs {
            let room = MESSAGE - message.len();
            message.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        let length = message.len();
        Pin::new(&mut self.stream)
            .start_send(Message::binary(message))
            .map_err(to_io)?;
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(to_io)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.stream).poll_close(cx)) {
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(to_io(error))),
        }
    }
}

impl Relayed for WebSocket<Stream> {
    fn client(&self) -> &Stream {
        self.get_ref()
    }

    fn client_mut(&mut self) -> &mut Stream {
        &mut self.stream.get_mut().stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read += buf.filled().len() - before;
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The end of a WebSocket as the end of the stream, or its error.
fn closed(error: Error) -> Poll<io::Result<()>> {
    match error {
        Error::ConnectionClosed | Error::AlreadyClosed | Error::Protocol(_) => Poll::Ready(Ok(())),
        other => Poll::Ready(Err(to_io(other))),
    }
}

fn to_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}
