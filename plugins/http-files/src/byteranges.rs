//! `multipart/byteranges`: several ranges of a file in one response (RFC 9110, 14.6).

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use polyport_sdk::http::{Body, Bytes, file_stream};

use crate::range::ByteRange;

/// A delimiter that no file is likely to hold: it is made anew for each response.
pub fn boundary() -> String {
    // Every RandomState has keys of its own.
    let (one, two) = (
        RandomState::new().build_hasher().finish(),
        RandomState::new().build_hasher().finish(),
    );
    format!("{one:016x}{two:016x}")
}

/// The parts of a file of `len` bytes and type `kind`, read while they are sent.
pub fn body(file: &Arc<File>, ranges: &[ByteRange], len: u64, kind: &str, boundary: &str) -> Body {
    let mut total = 0;
    let mut pieces = Vec::with_capacity(ranges.len() * 2 + 1);
    let text = |text: String| stream::iter([Ok(Bytes::from(text))]).boxed();
    for (number, range) in ranges.iter().enumerate() {
        let head = format!(
            "{}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {}\r\n\r\n",
            if number == 0 { "" } else { "\r\n" },
            range.content_range(len)
        );
        total += head.len() as u64 + range.len;
        pieces.push(text(head));
        pieces.push(file_stream(Arc::clone(file), range.start, range.len));
    }
    let end = format!("\r\n--{boundary}--\r\n");
    total += end.len() as u64;
    pieces.push(text(end));
    Body::Stream {
        stream: stream::iter(pieces).flatten().boxed(),
        len: Some(total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[tokio::test]
    async fn parts_are_framed_and_their_length_is_known() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let ranges = [
            ByteRange { start: 0, len: 2 },
            ByteRange { start: 9, len: 1 },
        ];
        let Body::Stream { mut stream, len } =
            body(&Arc::new(file), &ranges, 10, "text/plain", "B")
        else {
            panic!("no stream");
        };
        let mut text = Vec::new();
        while let Some(piece) = stream.next().await {
            text.extend_from_slice(&piece.unwrap());
        }
        assert_eq!(
            String::from_utf8_lossy(&text),
            "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
             \r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 9-9/10\r\n\r\n9\r\n--B--\r\n"
        );
        assert_eq!(len, Some(text.len() as u64));
        assert_ne!(boundary(), boundary());
    }
}
