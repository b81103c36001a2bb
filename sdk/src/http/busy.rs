//! The answer to a client that is not served: 503, in the version of the protocol that it speaks.

use ::http::Version;

use crate::limits::{Busy, Refusal};

/// What a client of HTTP/2 begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Seconds after which it may come again.
const RETRY_AFTER: &[u8] = b"5";

/// How a client is told that the service is too busy for it: [`Plugin::busy`](crate::Plugin::busy) of plugins that
/// serve with a [`Front`](super::Front).
#[must_use]
pub fn busy(why: Refusal, received: &[u8]) -> Busy {
    if received.is_empty() {
        return Busy::Wait;
    }
    match version(received) {
        Some(Version::HTTP_2) => {
            match first_request(received.get(PREFACE.len()..).unwrap_or_default()) {
                Some(stream) => Busy::Answer(http2(stream)),
                None => Busy::Wait,
            }
        }
        Some(_) => Busy::Answer(http1(why)),
        None => Busy::Wait,
    }
}

/// None: not enough has come to tell.
fn version(received: &[u8]) -> Option<Version> {
    if received.starts_with(PREFACE) {
        Some(Version::HTTP_2)
    } else if PREFACE.starts_with(received) {
        None
    } else {
        Some(Version::HTTP_11)
    }
}

fn http1(why: Refusal) -> Vec<u8> {
    let body = format!(
        "{{\"type\":\"about:blank\",\"title\":\"Service Unavailable\",\"status\":503,\"detail\":\"{}\"}}\n",
        detail(why)
    );
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: {}\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        String::from_utf8_lossy(RETRY_AFTER),
        body.len()
    );
    (head + &body).into_bytes()
}

fn detail(why: Refusal) -> &'static str {
    match why {
        Refusal::Address => "too many connections from this address",
        Refusal::Rate => "this address connects too often",
        _ => "too many connections",
    }
}

/// Frame types and flags of RFC 9113, 6.
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const ACK: u8 = 1;
const END_STREAM_AND_HEADERS: u8 = 1 | 4;

/// The stream of the first request in these frames.
fn first_request(mut frames: &[u8]) -> Option<[u8; 4]> {
    loop {
        let ([high, middle, low, kind, _, s0, s1, s2, s3], rest) = frames.split_first_chunk()?;
        if *kind == HEADERS {
            return Some([s0 & 0x7f, *s1, *s2, *s3]);
        }
        let len = u32::from_be_bytes([0, *high, *middle, *low]);
        frames = rest.get(usize::try_from(len).ok()?..)?;
    }
}

/// Our settings, an answer to the client's, the response, and the farewell.
fn http2(stream: [u8; 4]) -> Vec<u8> {
    // RFC 7541, 6.2.2: fields that are not indexed, with the names that appendix A has at 8 (:status) and
    // 53 (retry-after; above 15, so that the rest stands in a byte of its own).
    let mut fields = vec![0x08, 3];
    fields.extend(b"503");
    fields.extend([0x0f, 53 - 15, RETRY_AFTER.len() as u8]);
    fields.extend(RETRY_AFTER);
    let farewell = [stream, [0; 4]].concat();
    [
        frame(SETTINGS, 0, [0; 4], &[]),
        frame(SETTINGS, ACK, [0; 4], &[]),
        frame(HEADERS, END_STREAM_AND_HEADERS, stream, &fields),
        frame(GOAWAY, 0, [0; 4], &farewell),
    ]
    .concat()
}

fn frame(kind: u8, flags: u8, stream: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u8;
    [&[0, 0, len, kind, flags], &stream[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As nghttp2 begins: settings, the connection's window, a request.
    fn request(stream: u8) -> Vec<u8> {
        let mut sent = PREFACE.to_vec();
        sent.extend(frame(SETTINGS, 0, [0; 4], &[0, 3, 0, 0, 0, 100]));
        sent.extend(frame(8, 0, [0; 4], &[0, 1, 0, 0]));
        sent.extend(frame(HEADERS, 5, [0, 0, 0, stream], &[0x82, 0x86, 0x84]));
        sent
    }

    #[test]
    fn a_request_of_http_1_is_answered_without_its_end() {
        let Busy::Answer(answer) = busy(Refusal::Address, b"GE") else {
            panic!("no answer");
        };
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("Content-Length: {}", body.len())));
        assert!(body.contains("too many connections from this address"));
        assert_eq!(busy(Refusal::Rate, b""), Busy::Wait);
        assert_eq!(busy(Refusal::Rate, b"P"), Busy::Wait, "PUT or PRI");
        assert!(matches!(busy(Refusal::Rate, b"PU"), Busy::Answer(_)));
    }

    #[tokio::test]
    async fn a_request_of_http_2_is_answered_on_its_stream() {
        let sent = request(1);
        for cut in 1..sent.len() - 3 {
            assert_eq!(busy(Refusal::Rate, &sent[..cut]), Busy::Wait, "{cut}");
        }
        // A foreign client takes it for a response.
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let (mut client, connection) =
            hyper::client::conn::http2::handshake(Tasks, hyper_util::rt::TokioIo::new(ours))
                .await
                .unwrap();
        tokio::spawn(connection);
        let serving = tokio::spawn(async move {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            let mut received = Vec::new();
            loop {
                if let Busy::Answer(answer) = busy(Refusal::Rate, &received) {
                    theirs.write_all(&answer).await.unwrap();
                    return theirs;
                }
                theirs.read_buf(&mut received).await.unwrap();
            }
        });
        let request = ::http::Request::get("http://a/")
            .body(String::new())
            .unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["retry-after"], "5");
        drop(serving.await.unwrap());
    }

    #[derive(Clone)]
    struct Tasks;

    impl<F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Tasks {
        fn execute(&self, future: F) {
            tokio::spawn(future);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_an_answer(head in any::<bool>(), bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut received = if head { PREFACE.to_vec() } else { Vec::new() };
            received.extend(bytes);
            prop_assert!(busy(Refusal::Rate, &received) != Busy::Close);
        }
    }
}
