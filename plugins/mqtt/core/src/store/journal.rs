//! Framing of records: length, CRC-32 and body, all little endian.

use super::record::Record;

/// Bytes before each body.
const HEADER: usize = 8;
/// A longer record is not believed: no packet, and so no record, comes near it.
const BODY_MAX: usize = 300 << 20;

/// The records of one batch, framed.
#[derive(Debug, Default)]
pub struct Journal {
    bytes: Vec<u8>,
    must_commit: bool,
}

impl Journal {
    /// Appends a record that the batch's output has to wait for.
    pub fn require(&mut self, record: &Record<'_>) {
        self.must_commit = true;
        self.note(record);
    }

    /// Appends a record that nothing waits for: losing it with the last moments before a crash
    /// leads to a repetition that the standard allows.
    pub fn note(&mut self, record: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER]);
        record.encode(&mut self.bytes);
        let body = &self.bytes[start + HEADER..];
        let length = (body.len() as u32).to_le_bytes();
        let crc = crc32fast::hash(body).to_le_bytes();
        self.bytes[start..start + 4].copy_from_slice(&length);
        self.bytes[start + 4..start + HEADER].copy_from_slice(&crc);
    }

    /// The framed records.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// True when output has to wait until these records are committed.
    #[must_use]
    pub fn must_commit(&self) -> bool {
        self.must_commit
    }

    /// Empties the journal, keeping its buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.must_commit = false;
    }
}

/// Gives the body of each whole frame to `each` and returns how many bytes were whole and sound.
/// Reading stops at the first frame that is cut short, fails its checksum or is refused by `each`.
pub fn read_frames(bytes: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> usize {
    let mut at = 0;
    while let Some((header, rest)) = bytes[at..].split_first_chunk::<HEADER>() {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let Some(body) = rest.get(..length).filter(|_| length > 0 && length <= BODY_MAX) else { break };
        if crc32fast::hash(body) != crc || !each(body) {
            break;
        }
        at += HEADER + length;
    }
    at
}
