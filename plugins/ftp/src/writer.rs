//! Writes an upload as it arrives, its line ends converted if it is text.
//!
//! The calls block; run them on a blocking thread. Knows no socket.

use std::io::{self, Write};

use polyport_ftp_core::Representation;
use polyport_ftp_core::ascii::{Decoder, looks_binary};

use crate::config::Ascii;

/// Bytes by which text is told from other things.
const HEAD: usize = 8 * 1024;

/// An upload's file and the form it is in.
pub(crate) struct Writer<W: Write> {
    file: W,
    form: Form,
    converted: Vec<u8>,
}

enum Form {
    Image,
    /// Held back until enough has arrived to tell.
    Undecided(Vec<u8>),
    Ascii(Decoder),
}

impl<W: Write> Writer<W> {
    /// Writes to the place `file` stands at.
    pub(crate) fn new(file: W, representation: Representation, ascii: Ascii) -> Self {
        let form = match (representation, ascii) {
            (Representation::Image, _) | (_, Ascii::Never) => Form::Image,
            (Representation::Ascii, Ascii::Always) => Form::Ascii(Decoder::default()),
            (Representation::Ascii, Ascii::Text) => Form::Undecided(Vec::new()),
        };
        Self {
            file,
            form,
            converted: Vec::new(),
        }
    }

    /// Writes what arrived; `ended` with the last of it.
    pub(crate) fn write(&mut self, bytes: &[u8], ended: bool) -> io::Result<()> {
        let held;
        let mut bytes = bytes;
        if let Form::Undecided(head) = &mut self.form {
            head.extend_from_slice(bytes);
            if head.len() < HEAD && !ended {
                return Ok(());
            }
            held = std::mem::take(head);
            bytes = &held;
            let is_text = !looks_binary(&held[..held.len().min(HEAD)]);
            self.form = if is_text {
                Form::Ascii(Decoder::default())
            } else {
                Form::Image
            };
        }
        match &mut self.form {
            Form::Ascii(decoder) => {
                self.converted.clear();
                decoder.decode(bytes, &mut self.converted);
                if ended {
                    decoder.finish(&mut self.converted);
                }
                self.file.write_all(&self.converted)
            }
            Form::Image | Form::Undecided(_) => self.file.write_all(bytes),
        }
    }
}

/// An upload that breaks off keeps what was held back.
impl<W: Write> Drop for Writer<W> {
    fn drop(&mut self) {
        if let Err(error) = self.write(&[], true) {
            tracing::debug!("end of a broken upload: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek};

    use super::*;

    fn written(chunks: &[&[u8]], ascii: Ascii, ended: bool) -> Vec<u8> {
        let mut file = tempfile::tempfile().unwrap();
        let mut writer = Writer::new(file.try_clone().unwrap(), Representation::Ascii, ascii);
        for (at, chunk) in chunks.iter().enumerate() {
            writer
                .write(chunk, ended && at + 1 == chunks.len())
                .unwrap();
        }
        drop(writer);
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn t30_text_is_told_from_other_things_in_any_cut() {
        let text = "line\r\n".repeat(5000).into_bytes();
        let film = [&b"\r\n".repeat(100), &b"\0"[..], &text].concat();
        let plain = "line\n".repeat(5000).into_bytes();
        for ended in [true, false] {
            for cut in [0, 1, 5, 6, 100, 8191, 8192, 8193, 20_000] {
                let cuts = |bytes| <[u8]>::split_at(bytes, cut);
                let (head, rest) = cuts(&text);
                assert!(written(&[head, rest], Ascii::Text, ended) == plain, "{cut}");
                assert!(written(&[head, rest], Ascii::Never, ended) == text, "{cut}");
                let (head, rest) = cuts(&film);
                assert!(written(&[head, rest], Ascii::Text, ended) == film, "{cut}");
            }
        }
    }

    #[test]
    fn what_breaks_off_is_kept() {
        assert_eq!(written(&[b"a\r\n", b"b\r"], Ascii::Text, false), b"a\nb\r");
        assert_eq!(written(&[b"\0\r\n"], Ascii::Text, false), b"\0\r\n");
    }
}
