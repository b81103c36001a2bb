//! The front from the wire's side: what goes in, what comes out.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod http2;

use super::*;
use crate::limits::{Current, Known};
use crate::net::{Origin, Peer};

const HTTP_1: Protocol = Protocol {
    multiplexed: false,
    tls: false,
};

/// Answers by path.
struct Paths;

impl Handler for Paths {
    fn methods(&self) -> &str {
        "GET, HEAD, OPTIONS, PUT"
    }

    async fn handle(&self, mut request: Request) -> Result<Response, Problem> {
        request.set_user("xzz");
        let ok = Response::new(StatusCode::OK);
        match request.uri.path() {
            "/text" => Ok(ok.content("text/plain", "hello")),
            "/none" => Ok(Response::new(StatusCode::NOT_MODIFIED).header(header::ETAG, "\"1\"")),
            "/echo" => Ok(ok.body(Body::Bytes(request.body.read_all().await?))),
            "/large" => Ok(ok.body(vec![b'x'; 1 << 20])),
            "/host" => {
                let host = request.header(header::HOST).unwrap_or_default().to_owned();
                Ok(ok.body(format!("{host} {}", request.uri)))
            }
            "/unread" => Err(Problem::new(StatusCode::FORBIDDEN)),
            "/panic" => panic!("as told"),
            "/stream" => {
                let pieces = futures_util::stream::iter(["ab", "", "cd"])
                    .filter(|piece| std::future::ready(!piece.is_empty()))
                    .map(|piece| Ok(Bytes::from_static(piece.as_bytes())));
                Ok(ok.body(Body::Stream {
                    stream: Box::pin(pieces),
                    len: None,
                }))
            }
            other => Err(Problem::not_found().detail(other.to_owned())),
        }
    }
}

/// A client with nowhere to go.
fn accepted(stream: DuplexStream, origin: Origin) -> Accepted<DuplexStream> {
    Accepted {
        stream,
        origin,
        unread: Bytes::new(),
        crossing: None,
    }
}

struct Client {
    stream: DuplexStream,
    served: JoinHandle<Result<(), Error>>,
    drain: CancellationToken,
}

impl Client {
    fn connect(options: Options) -> Self {
        Self::held_to(LIMITS, options)
    }

    fn held_to(limits: Known, options: Options) -> Self {
        let (stream, server) = tokio::io::duplex(1 << 20);
        let drain = CancellationToken::new();
        let origin = Origin::new(Peer::Ip("127.0.0.1:4000".parse().unwrap()));
        let served = tokio::spawn(engine::serve(
            Live::new(options),
            Current::defaults(&limits),
            HTTP_1,
            drain.clone(),
            accepted(server, origin),
            Live::new(Paths),
        ));
        Self {
            stream,
            served,
            drain,
        }
    }

    async fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// What the server sends until it holds `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut got = Vec::new();
        while !String::from_utf8_lossy(&got).ends_with(end) {
            let byte = self.stream.read_u8().await.unwrap_or_else(|_| {
                panic!("closed before {end:?}: {:?}", String::from_utf8_lossy(&got))
            });
            got.push(byte);
        }
        String::from_utf8(got).unwrap()
    }

    /// What the server sends until it closes.
    async fn rest(&mut self) -> String {
        let mut got = String::new();
        self.stream.read_to_string(&mut got).await.unwrap();
        got
    }
}

async fn ask(request: &str) -> String {
    let mut client = Client::connect(Options::default());
    client.send(request).await;
    client.stream.shutdown().await.unwrap();
    client.rest().await
}

fn without_date(response: &str) -> String {
    response
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with("date: "))
        .collect()
}

#[tokio::test]
async fn requests_on_one_connection_are_answered_in_order() {
    let got =
        ask("GET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /none HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(got.contains("\r\ndate: "));
    assert_eq!(
        without_date(&got),
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nserver: polyport\r\ncontent-length: 5\r\n\r\nhello\
         HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\nserver: polyport\r\n\r\n"
    );
}

#[tokio::test]
async fn head_has_the_header_of_get_and_no_body() {
    let get = ask("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let head = ask("HEAD /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(without_date(&get), format!("{}hello", without_date(&head)));
    let head = ask("HEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        head.ends_with("\r\n\r\n") && !head.contains("content-length"),
        "{head}"
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_is_chunked_or_ends_with_the_connection() {
    let got = ask("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(got.contains("\r\ntransfer-encoding: chunked\r\n"), "{got}");
    assert!(
        got.ends_with("\r\n\r\n2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"),
        "{got}"
    );
    let got = ask("GET /stream HTTP/1.0\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.0 200 OK") && got.ends_with("\r\n\r\nabcd"),
        "{got}"
    );
}

#[tokio::test]
async fn a_panic_costs_one_response() {
    let got =
        ask("GET /panic HTTP/1.1\r\nHost: a\r\n\r\nGET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 500 Internal Server Error"),
        "{got}"
    );
    assert!(got.ends_with("hello"), "{got}");
    assert!(!got.contains("as told"), "{got}");
}

#[tokio::test]
async fn host_is_needed_once() {
    for request in [
        "GET /text HTTP/1.1\r\n\r\n",
        "GET /text HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    ] {
        let got = ask(request).await;
        assert!(got.starts_with("HTTP/1.1 400 Bad Request"), "{got}");
        assert!(got.contains("connection: close\r\n"), "{got}");
    }
    assert!(
        ask("GET /text HTTP/1.0\r\n\r\n")
            .await
            .starts_with("HTTP/1.0 200 OK")
    );
}

#[tokio::test]
async fn options_of_the_server_tells_the_methods() {
    let got = ask("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 204 No Content\r\nallow: GET, HEAD, OPTIONS, PUT\r\n"),
        "{got}"
    );
    assert!(!got.contains("content-length"), "{got}");
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_is_read() {
    let mut client = Client::connect(Options::default());
    client
        .send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(
        client.until("\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.send("body").await;
    assert!(client.until("body").await.starts_with("HTTP/1.1 200 OK"));

    let mut client = Client::connect(Options::default());
    client
        .send(
            "PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n",
        )
        .await;
    assert!(
        client
            .until("\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 403 Forbidden")
    );
}

#[tokio::test]
async fn a_large_body_nobody_reads_does_not_cost_the_client_the_answer() {
    let mut client = Client::connect(Options {
        max_body_size: None,
        ..Options::default()
    });
    let len = 3 << 20;
    client
        .send(&format!(
            "PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {len}\r\n\r\n"
        ))
        .await;
    client.stream.write_all(&vec![b'x'; len]).await.unwrap();
    let got = client.rest().await;
    assert!(got.starts_with("HTTP/1.1 403 Forbidden"), "{got}");
    assert!(got.contains("connection: close\r\n"), "{got}");
}

#[tokio::test]
async fn a_small_body_nobody_reads_does_not_cost_the_connection() {
    let mut client = Client::connect(Options::default());
    let head = "PUT /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n";
    for _ in 0..2 {
        client.send(&format!("{head}four")).await;
        // The handler has long answered when the rest comes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.send("more").await;
        let got = client.until("}\n").await;
        assert!(got.starts_with("HTTP/1.1 403 Forbidden"), "{got}");
        assert!(!got.contains("connection: close\r\n"), "{got}");
    }
    client.send(head).await;
    let got = client.rest().await;
    assert!(got.starts_with("HTTP/1.1 403 Forbidden"), "{got}");
    assert!(
        got.contains("connection: close\r\n"),
        "the rest does not come: {got}"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_declared_or_not() {
    let options = Options {
        max_body_size: Some(3),
        ..Options::default()
    };
    for body in [
        "Content-Length: 4\r\n\r\nbody",
        "Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
    ] {
        let mut client = Client::connect(options.clone());
        client
            .send(&format!("PUT /echo HTTP/1.1\r\nHost: a\r\n{body}"))
            .await;
        let got = client.until("}\n").await;
        assert!(got.starts_with("HTTP/1.1 413 Payload Too Large"), "{got}");
        assert!(got.contains("expected at most 3 bytes"), "{got}");
    }
}

#[tokio::test]
async fn a_header_over_the_limit_is_refused() {
    let limits = LIMITS.max_header(1000, 1000..=1000);
    let mut client = Client::held_to(limits, Options::default());
    client
        .send(&format!(
            "GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "x".repeat(2000)
        ))
        .await;
    let got = client.until("\r\n\r\n").await;
    assert!(
        got.starts_with("HTTP/1.1 431 Request Header Fields Too Large"),
        "{got}"
    );
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_slow_header_too() {
    let limit = Duration::from_millis(60);
    let began = Instant::now();
    let mut idle = Client::held_to(LIMITS.idle_timeout(limit), Options::default());
    assert_eq!(idle.rest().await, "");
    assert!(began.elapsed() >= limit);
    idle.served.await.unwrap().unwrap();

    let mut slow = Client::held_to(LIMITS.handshake_timeout(limit), Options::default());
    slow.send("GET /text HTTP/1.1\r\nHo").await;
    assert_eq!(slow.rest().await, "");
    assert!(slow.served.await.unwrap().is_err());
}

#[tokio::test]
async fn idle_time_begins_anew_after_each_response() {
    let limits = LIMITS.idle_timeout(Duration::from_secs(1));
    let mut client = Client::held_to(limits, Options::default());
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1200) {
        client.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.until("hello").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_client_that_stops_sending_its_body_is_told() {
    let options = Options {
        body_timeout: Duration::from_millis(60),
        ..Options::default()
    };
    let mut client = Client::connect(options);
    client
        .send("PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo")
        .await;
    let got = client.until("}\n").await;
    assert!(got.starts_with("HTTP/1.1 408 Request Timeout"), "{got}");
    assert!(got.contains("connection: close\r\n"), "{got}");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_given_up() {
    let (mut stream, server) = tokio::io::duplex(8);
    let options = Options {
        write_timeout: Duration::from_millis(60),
        ..Options::default()
    };
    let served = tokio::spawn(engine::serve(
        Live::new(options),
        Current::defaults(&LIMITS),
        HTTP_1,
        CancellationToken::new(),
        accepted(server, Origin::new(Peer::Unix)),
        Live::new(Paths),
    ));
    stream
        .write_all(b"GET /text HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    assert!(served.await.unwrap().is_err());
}

#[tokio::test]
async fn what_was_read_before_comes_first() {
    let (mut stream, server) = tokio::io::duplex(1 << 20);
    let client = Accepted {
        unread: Bytes::from_static(b"GET /text HTTP/1.1\r\nHost: a\r\n\r\nGET /ho"),
        ..accepted(server, Origin::new(Peer::Unix))
    };
    tokio::spawn(engine::serve(
        Live::new(Options::default()),
        Current::defaults(&LIMITS),
        HTTP_1,
        CancellationToken::new(),
        client,
        Live::new(Paths),
    ));
    stream
        .write_all(b"st HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut got = String::new();
    stream.read_to_string(&mut got).await.unwrap();
    assert!(got.contains("\r\n\r\nhello"), "{got}");
    assert!(got.ends_with("\r\n\r\nb /host"), "{got}");
}

#[tokio::test]
async fn while_draining_the_next_response_is_the_last() {
    let mut client = Client::connect(Options::default());
    client.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("hello").await;
    client.drain.cancel();
    client.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let got = client.rest().await;
    assert!(
        got.contains("connection: close\r\n") && got.ends_with("hello"),
        "{got}"
    );
    client.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn while_draining_an_idle_connection_is_closed_soon() {
    let options = Options {
        drain_idle: Duration::from_millis(60),
        ..Options::default()
    };
    let mut client = Client::connect(options);
    client.send("GET /text HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.until("hello").await;
    client.drain.cancel();
    assert_eq!(client.rest().await, "");
    client.served.await.unwrap().unwrap();
}
