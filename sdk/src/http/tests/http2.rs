//! The same over HTTP/2, with a foreign client.

use ::http::{Method, Response as Answer, Uri};
use bytes::BytesMut;
use futures_util::TryStreamExt;
use futures_util::future::join;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;

use super::*;

const HTTP_2: Protocol = Protocol {
    multiplexed: true,
    tls: true,
};

#[derive(Clone)]
struct Tasks;

impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, future: F) {
        tokio::spawn(future);
    }
}

/// A body that comes by and by.
struct Pieces(mpsc::UnboundedReceiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.0.poll_recv(cx);
        polled.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

struct Client {
    requests: SendRequest<Pieces>,
    connection: JoinHandle<hyper::Result<()>>,
    served: JoinHandle<Result<(), Error>>,
    drain: CancellationToken,
}

impl Client {
    async fn connect() -> Self {
        Self::held_to(LIMITS, Options::default(), Builder::new(Tasks)).await
    }

    async fn held_to(limits: Known, options: Options, client: Builder<Tasks>) -> Self {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let drain = CancellationToken::new();
        let served = tokio::spawn(engine::serve(
            Live::new(options),
            Current::defaults(&limits),
            HTTP_2,
            drain.clone(),
            accepted(server, Origin::new(Peer::Unix)),
            Live::new(Paths),
        ));
        let (requests, connection) = client.handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            requests,
            connection: tokio::spawn(connection),
            served,
            drain,
        }
    }

    /// Sends a request, and gives what its body is sent with.
    fn begin(
        &mut self,
        method: Method,
        path: &str,
    ) -> (
        mpsc::UnboundedSender<Bytes>,
        impl Future<Output = hyper::Result<Answer<Incoming>>> + use<>,
    ) {
        let (pieces, body) = mpsc::unbounded_channel();
        let uri: Uri = format!("https://files.example:8443{path}").parse().unwrap();
        let mut request = ::http::Request::new(Pieces(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        (pieces, self.requests.send_request(request))
    }

    async fn ask(&mut self, method: Method, path: &str) -> (u16, HeaderMap, Bytes) {
        let (_, answer) = self.begin(method, path);
        whole(answer.await.unwrap()).await.unwrap()
    }
}

async fn whole(answer: Answer<Incoming>) -> hyper::Result<(u16, HeaderMap, Bytes)> {
    let (head, mut body) = answer.into_parts();
    let frames = futures_util::stream::poll_fn(move |cx| {
        hyper::body::Body::poll_frame(std::pin::Pin::new(&mut body), cx)
    });
    let pieces = frames.try_filter_map(async |frame| Ok(frame.into_data().ok()));
    let all = pieces.try_fold(BytesMut::new(), async |mut all, piece| {
        all.extend_from_slice(&piece);
        Ok(all)
    });
    Ok((head.status.as_u16(), head.headers, all.await?.freeze()))
}

#[tokio::test]
async fn requests_side_by_side_are_answered_as_they_are_ready() {
    let mut client = Client::connect().await;
    let (pieces, first) = client.begin(Method::PUT, "/echo");
    let first = tokio::spawn(first);
    let (status, fields, body) = client.ask(Method::GET, "/text").await;
    assert_eq!((status, &body[..]), (200, &b"hello"[..]));
    assert_eq!(fields["content-length"], "5");
    pieces.send(Bytes::from_static(b"bo")).unwrap();
    pieces.send(Bytes::from_static(b"dy")).unwrap();
    drop(pieces);
    let (status, _, body) = whole(first.await.unwrap().unwrap()).await.unwrap();
    assert_eq!((status, &body[..]), (200, &b"body"[..]));
    let (status, fields, body) = client.ask(Method::HEAD, "/text").await;
    assert_eq!(
        (status, &fields["content-length"]),
        (200, &HeaderValue::from(5))
    );
    assert!(body.is_empty());
    assert_eq!(client.ask(Method::GET, "/stream").await.2, "abcd");
    assert_eq!(client.ask(Method::GET, "/large").await.2.len(), 1 << 20);
    assert_eq!(client.ask(Method::GET, "/panic").await.0, 500);
    assert_eq!(client.ask(Method::GET, "/none").await.0, 304);
}

#[tokio::test]
async fn the_authority_is_the_host_and_no_field_is_about_the_connection() {
    let mut client = Client::connect().await;
    let (_, _, body) = client.ask(Method::GET, "/host?a=b").await;
    assert_eq!(body, "files.example:8443 /host?a=b");
    let (status, fields, _) = client.ask(Method::PUT, "/unread").await;
    assert_eq!(status, 403);
    assert!(!fields.contains_key(header::CONNECTION), "{fields:?}");
}

#[tokio::test]
async fn browsers_are_told_to_stay_on_https_if_the_operator_says_so() {
    let mut client = Client::connect().await;
    let (_, fields, _) = client.ask(Method::GET, "/text").await;
    assert!(!fields.contains_key(header::STRICT_TRANSPORT_SECURITY));
    let options = Options {
        hsts_max_age: 31_536_000,
        ..Options::default()
    };
    let mut client = Client::held_to(LIMITS, options, Builder::new(Tasks)).await;
    let (_, fields, _) = client.ask(Method::GET, "/text").await;
    assert_eq!(
        fields[header::STRICT_TRANSPORT_SECURITY],
        "max-age=31536000"
    );
}

#[tokio::test]
async fn a_body_nobody_reads_costs_its_own_request_alone() {
    let mut client = Client::connect().await;
    let (pieces, answer) = client.begin(Method::PUT, "/unread");
    pieces.send(Bytes::from(vec![b'x'; 1 << 20])).unwrap();
    let answer = answer.await.unwrap();
    assert_eq!(answer.status(), 403);
    assert_eq!(client.ask(Method::GET, "/text").await.0, 200);
}

#[tokio::test]
async fn limits_hold_for_header_and_body() {
    let mut client = Client::held_to(
        LIMITS.max_header(1000, 1000..=1000),
        Options {
            max_body_size: Some(3),
            body_timeout: Duration::from_millis(60),
            ..Options::default()
        },
        Builder::new(Tasks),
    )
    .await;
    // The client keeps to what the server announced.
    let path = format!("/{}", "x".repeat(2000));
    let (_, answer) = client.begin(Method::GET, &path);
    let refused = answer.await.map(|answer| answer.status().as_u16());
    assert!(matches!(refused, Err(_) | Ok(431)), "{refused:?}");
    let (pieces, answer) = client.begin(Method::PUT, "/echo");
    pieces.send(Bytes::from_static(b"body")).unwrap();
    assert_eq!(answer.await.unwrap().status(), 413);
    let (_pieces, answer) = client.begin(Method::PUT, "/echo");
    assert_eq!(
        answer.await.unwrap().status(),
        408,
        "the body stopped coming"
    );
}

#[tokio::test]
async fn an_idle_connection_is_told_to_end_and_closed() {
    let limit = Duration::from_millis(200);
    let options = Options {
        drain_idle: Duration::from_secs(60),
        ..Options::default()
    };
    let limits = LIMITS.idle_timeout(limit);
    let mut client = Client::held_to(limits, options, Builder::new(Tasks)).await;
    let began = Instant::now();
    assert_eq!(client.ask(Method::GET, "/text").await.0, 200);
    // The client answers the farewell, so that nobody waits for `drain_idle`.
    client.connection.await.unwrap().unwrap();
    // Whoever of the two closes first.
    let _ = client.served.await.unwrap();
    assert!(began.elapsed() >= limit);
}

#[tokio::test]
async fn a_response_that_is_not_taken_ends_the_connection_in_time() {
    let options = Options {
        write_timeout: Duration::from_millis(100),
        ..Options::default()
    };
    let mut narrow = Builder::new(Tasks);
    narrow.initial_stream_window_size(1000);
    let mut client = Client::held_to(LIMITS, options, narrow).await;
    let (_, answer) = client.begin(Method::GET, "/large");
    let answer = answer.await.unwrap();
    let error = client.served.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("timed out"), "{error}");
    drop(answer);
}

#[tokio::test]
async fn while_draining_what_is_under_way_ends_well() {
    let mut client = Client::connect().await;
    let (pieces, answer) = client.begin(Method::PUT, "/echo");
    let (status, ..) = client.ask(Method::GET, "/text").await;
    assert_eq!(status, 200);
    client.drain.cancel();
    let finish = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        pieces.send(Bytes::from_static(b"late")).unwrap();
        drop(pieces);
    };
    let (answer, ()) = join(answer, finish).await;
    assert_eq!(whole(answer.unwrap()).await.unwrap().2, "late");
    client.connection.await.unwrap().unwrap();
    // Whoever of the two closes first.
    let _ = client.served.await.unwrap();
}
