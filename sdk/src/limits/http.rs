//! What an HTTP client reads for which there is no place. It stands here and not in `http`, for protocols that only
//! begin as HTTP.

use super::Busy;

/// RFC 9113, 3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Empty SETTINGS, then GOAWAY: no stream was served, ENHANCE_YOUR_CALM (RFC 9113, 6.5, 6.8 and 7).
const HTTP2_ANSWER: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00\
    \x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0b";

const HTTP1_ANSWER: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Retry-After: 5\r\nContent-Type: text/plain\r\nContent-Length: 22\r\nConnection: close\r\n\r\n\
    too many connections\r\n";

/// 503 with `Retry-After`, once the request's header is there: a client that is answered before it asked may take the
/// answer for a mistake. HTTP/2 clients get a GOAWAY.
#[must_use]
pub fn http_busy(received: &[u8]) -> Busy {
    let is_http2 = received.iter().zip(HTTP2_PREFACE).all(|(a, b)| a == b);
    let (is_there, answer) = if is_http2 {
        (received.len() >= HTTP2_PREFACE.len(), HTTP2_ANSWER)
    } else {
        let ends = received.windows(4).any(|bytes| bytes == b"\r\n\r\n");
        (ends, HTTP1_ANSWER)
    };
    match is_there {
        true => Busy::Answer(answer.to_vec()),
        false => Busy::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_header_is_answered_in_its_version() {
        assert_eq!(http_busy(b""), Busy::Wait);
        assert_eq!(http_busy(b"GET / HTTP/1.1\r\nHost: a\r\n"), Busy::Wait);
        let Busy::Answer(answer) = http_busy(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") else {
            panic!("no answer");
        };
        let text = String::from_utf8(answer).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(header.starts_with("HTTP/1.1 503 ") && header.contains("\r\nRetry-After: "));
        assert!(header.contains(&format!("Content-Length: {}\r\n", body.len())));
        for end in 0..HTTP2_PREFACE.len() {
            assert_eq!(http_busy(&HTTP2_PREFACE[..end]), Busy::Wait);
        }
        let Busy::Answer(answer) = http_busy(HTTP2_PREFACE) else {
            panic!("no answer");
        };
        assert_eq!(
            (answer.len(), answer[9 + 3], answer[9 + 9 + 7]),
            (26, 7, 11)
        );
    }
}
