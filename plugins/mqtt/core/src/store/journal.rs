//! Framing of records: a batch is one frame of length, CRC-32 and records, so that it is there as a
//! whole or not at all. Each record has its length before it. Lengths and checksum are little endian.

use super::record::Record;

/// Bytes before the records of a frame.
const HEADER: usize = 8;
/// Bytes before each record.
const LENGTH: usize = 4;

/// The records of one batch.
#[derive(Debug, Default)]
pub struct Journal {
    bytes: Vec<u8>,
    /// Where the frame that is being filled begins.
    open: Option<usize>,
    must_commit: bool,
}

impl Journal {
    /// Appends a record that the batch's output has to wait for.
    pub fn require(&mut self, record: &Record<'_>) {
        self.must_commit = true;
        self.note(record);
    }

    /// The batch's output has to wait for the records of earlier batches, also if this one has none.
    pub fn follow(&mut self) {
        self.must_commit = true;
    }

    /// Appends a record that nothing waits for: losing it with the last moments before a crash
    /// leads to a repetition that the standard allows.
    pub fn note(&mut self, record: &Record<'_>) {
        if self.open.is_none() {
            self.open = Some(self.bytes.len());
            self.bytes.extend_from_slice(&[0; HEADER]);
        }
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; LENGTH]);
        record.encode(&mut self.bytes);
        let length = (self.bytes.len() - start - LENGTH) as u32;
        self.bytes[start..start + LENGTH].copy_from_slice(&length.to_le_bytes());
    }

    /// Ends the frame: what is appended from here on can be lost without what is before.
    pub fn seal(&mut self) {
        let Some(start) = self.open.take() else {
            return;
        };
        let records = &self.bytes[start + HEADER..];
        let length = (records.len() as u32).to_le_bytes();
        let crc = crc32fast::hash(records).to_le_bytes();
        self.bytes[start..start + 4].copy_from_slice(&length);
        self.bytes[start + 4..start + HEADER].copy_from_slice(&crc);
    }

    /// True when there are no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The sealed frames; call [`seal`](Journal::seal) first.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.open.unwrap_or(self.bytes.len())]
    }

    /// Bytes in the frame that is not sealed.
    #[must_use]
    pub fn unsealed(&self) -> usize {
        self.open.map_or(0, |start| self.bytes.len() - start)
    }

    /// True when output has to wait until these records, and all before them, are committed.
    #[must_use]
    pub fn must_commit(&self) -> bool {
        self.must_commit
    }

    /// Empties the journal, keeping its buffer.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
        self.open = None;
        self.must_commit = false;
    }
}

/// Gives each record of each whole frame to `each` and returns how many bytes of frames were whole
/// and sound. Reading stops at the first frame that is cut short, fails its checksum, or has a
/// record that `each` refuses.
pub fn read_frames(bytes: &[u8], mut each: impl FnMut(&[u8]) -> bool) -> usize {
    let mut at = 0;
    while let Some((header, rest)) = bytes[at..].split_first_chunk::<HEADER>() {
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        let Some(mut records) = rest.get(..length).filter(|_| length > 0) else {
            break;
        };
        if crc32fast::hash(records) != crc {
            break;
        }
        while let Some((length, rest)) = records.split_first_chunk::<LENGTH>() {
            let Some((record, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
            else {
                return at;
            };
            if !each(record) {
                return at;
            }
            records = rest;
        }
        at += HEADER + length;
    }
    at
}

/// The length of the first frame if it is there from end to end, sound or not.
#[must_use]
pub fn first_frame(bytes: &[u8]) -> Option<usize> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
    (rest.len() >= length).then_some(HEADER + length)
}
