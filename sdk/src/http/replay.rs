//! A request that the instance which took this one's place is to answer: it goes there as if it had just come.

use ::http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use bytes::Bytes;

use super::{Problem, Request};

/// A request as it can be sent once more.
#[derive(Clone, Debug)]
pub(super) struct Replay {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Problem {
    /// For a handler that changed nothing yet and cannot any more, because another instance has what it takes: 503,
    /// unless [`Problem::with_request`] sends the request there.
    #[must_use]
    pub fn elsewhere() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE)
            .detail("another instance is taking over")
            .header(header::RETRY_AFTER, "1")
            .closing()
            .marked_elsewhere()
    }

    /// Gives the request along, whose body is read to its end if it was not: where the connection can go to the other
    /// instance, the request goes with it and is answered there.
    pub async fn with_request(self, mut request: Request) -> Self {
        let body = match request.body.take_whole().await {
            Ok(Some(body)) => body,
            // Its beginning is not known any more.
            Ok(None) => return self,
            Err(problem) => return problem,
        };
        self.replaying(Replay {
            method: request.method,
            uri: request.uri,
            headers: request.headers,
            body,
        })
    }
}

impl Replay {
    /// The request as it may have come by HTTP/1 (RFC 9112), its body in one piece.
    pub(super) fn into_bytes(self, version: Version) -> Vec<u8> {
        let Self {
            method,
            uri,
            headers,
            body,
        } = self;
        let version = if version < Version::HTTP_11 {
            "1.0"
        } else {
            "1.1"
        };
        let framed = headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING);
        let mut out = format!("{method} {uri} HTTP/{version}\r\n").into_bytes();
        for (name, value) in &headers {
            // What was expected has come.
            let framing = [
                header::CONTENT_LENGTH,
                header::TRANSFER_ENCODING,
                header::TRAILER,
                header::EXPECT,
            ];
            if !framing.contains(name) {
                out.extend_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(b": ");
                out.extend_from_slice(value.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        if framed {
            out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_with_its_body_in_one_piece() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            (header::HOST, "h"),
            (header::TRANSFER_ENCODING, "chunked"),
            (header::EXPECT, "100-continue"),
            (header::ACCEPT, "a/b"),
            (header::ACCEPT, "c/d"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let replay = Replay {
            method: Method::PUT,
            uri: "/a%20b?c=d".parse().unwrap(),
            headers,
            body: Bytes::from_static(b"{}"),
        };
        assert_eq!(
            String::from_utf8(replay.into_bytes(Version::HTTP_11)).unwrap(),
            "PUT /a%20b?c=d HTTP/1.1\r\nhost: h\r\naccept: a/b\r\naccept: c/d\r\ncontent-length: 2\r\n\r\n{}"
        );
    }
}
