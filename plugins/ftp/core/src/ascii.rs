//! TYPE A: line ends on the wire are CRLF, in files LF (RFC 959 section 3.1.1.1).
//!
//! Both converters are incremental; any cut of the stream gives the same result.

/// Whether a file's first bytes (8 KiB are enough) look like something that TYPE A would ruin.
///
/// Clients that never leave TYPE A fetch pictures and films with it; a NUL byte, which text has
/// in no 8-bit encoding, gives those away.
pub fn looks_binary(head: &[u8]) -> bool {
    head.contains(&0)
}

/// File to wire: LF becomes CRLF; a CRLF that is already there stays one.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    after_cr: bool,
}

impl Encoder {
    /// Converts the next bytes of the file and appends them.
    pub fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) {
        output.reserve(input.len() + input.len() / 16);
        for &byte in input {
            if byte == b'\n' && !self.after_cr {
                output.push(b'\r');
            }
            self.after_cr = byte == b'\r';
            output.push(byte);
        }
    }
}

/// Wire to file: CRLF becomes LF, every other CR stays.
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    held_cr: bool,
}

impl Decoder {
    /// Converts the next bytes from the wire and appends them.
    pub fn decode(&mut self, input: &[u8], output: &mut Vec<u8>) {
        output.reserve(input.len() + 1);
        for &byte in input {
            if self.held_cr && byte != b'\n' {
                output.push(b'\r');
            }
            self.held_cr = byte == b'\r';
            if !self.held_cr {
                output.push(byte);
            }
        }
    }

    /// Appends what was held back, at the end of the stream.
    pub fn finish(&mut self, output: &mut Vec<u8>) {
        if std::mem::take(&mut self.held_cr) {
            output.push(b'\r');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut encoder, mut output) = (Encoder::default(), Vec::new());
        chunks
            .iter()
            .for_each(|chunk| encoder.encode(chunk, &mut output));
        output
    }

    fn decode(chunks: &[&[u8]]) -> Vec<u8> {
        let (mut decoder, mut output) = (Decoder::default(), Vec::new());
        chunks
            .iter()
            .for_each(|chunk| decoder.decode(chunk, &mut output));
        decoder.finish(&mut output);
        output
    }

    #[test]
    fn line_ends_convert_in_any_cut() {
        let file = b"one\ntwo\r\nthree\r\r\nfour\rfive\n\n";
        let wire = b"one\r\ntwo\r\nthree\r\r\nfour\rfive\r\n\r\n";
        assert_eq!(encode(&[file]), wire);
        assert_eq!(decode(&[wire]), b"one\ntwo\nthree\r\nfour\rfive\n\n");
        for cut in 0..file.len() {
            assert_eq!(encode(&[&file[..cut], &file[cut..]]), wire);
        }
        for cut in 0..wire.len() {
            assert_eq!(decode(&[&wire[..cut], &wire[cut..]]), decode(&[wire]));
        }
    }

    #[test]
    fn a_last_cr_is_not_lost() {
        assert_eq!(decode(&[b"end\r"]), b"end\r");
    }
}
