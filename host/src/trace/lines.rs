//! Events with the lines that the plugins make of them. Which protocol they speak is theirs to know.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use polyport_abi::summary::{
    DIRECTION_RECEIVED, DIRECTION_SENT, SummaryHandle, SummaryLine, SummaryV1,
};

use super::wire::{Kind, Seen};
use super::{Ends, Event, Piece, What};

/// What reads along with the connections for one who looks.
#[derive(Default)]
pub struct Readers {
    with_bytes: bool,
    open: HashMap<u64, Reader>,
    /// When there are so many, those of connections whose end was dropped are looked for.
    sweep_at: usize,
}

struct Reader {
    ends: Arc<Ends>,
    /// What comes next in each direction, once something came.
    next: [Option<u64>; 2],
    summary: Option<Summary>,
}

/// A reader of the plugin's.
struct Summary {
    table: &'static SummaryV1,
    handle: SummaryHandle,
}

impl Readers {
    /// Readers for one who wants the bytes, or only the lines.
    pub fn new(with_bytes: bool) -> Self {
        Self {
            with_bytes,
            ..Self::default()
        }
    }

    /// An event as it is told.
    pub fn read(&mut self, event: &Event, dropped: u64) -> Seen {
        let ends = &event.ends;
        let at = event.at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut seen = Seen {
            at: u64::try_from(at.as_micros()).unwrap_or(u64::MAX),
            connection: ends.number,
            peer: ends.peer.clone(),
            local: ends.local.clone(),
            scheme: ends.scheme.clone(),
            event: Kind::Opened,
            offset: 0,
            length: 0,
            lines: Vec::new(),
            bytes: String::new(),
            dropped,
        };
        let (kind, piece) = match &event.what {
            What::Opened => return seen,
            What::Closed => {
                self.open.remove(&ends.number);
                seen.event = Kind::Closed;
                return seen;
            }
            What::Received(piece) => (Kind::Received, piece),
            What::Sent(piece) => (Kind::Sent, piece),
        };
        seen.event = kind;
        seen.offset = piece.offset;
        seen.length = piece.bytes.len() as u64;
        seen.lines = self.reader(ends).feed(kind, piece);
        if self.with_bytes {
            seen.bytes = BASE64_STANDARD.encode(&piece.bytes);
        }
        seen
    }

    fn reader(&mut self, ends: &Arc<Ends>) -> &mut Reader {
        if self.open.len() >= self.sweep_at.max(64) {
            self.open
                .retain(|_, reader| Arc::strong_count(&reader.ends) > 1);
            self.sweep_at = self.open.len() * 2;
        }
        self.open.entry(ends.number).or_insert_with(|| Reader {
            ends: Arc::clone(ends),
            next: [None; 2],
            summary: Summary::open(ends),
        })
    }
}

impl Reader {
    fn feed(&mut self, kind: Kind, piece: &Piece) -> Vec<SummaryLine> {
        let side = usize::from(kind == Kind::Sent);
        if self.next[side].is_some_and(|next| next != piece.offset) {
            // After a gap nothing can be said of what was begun before it.
            self.summary = Summary::open(&self.ends);
            self.next = [None; 2];
        }
        let length = piece.bytes.len() as u64;
        self.next[side] = Some(piece.offset + length);
        match &self.summary {
            Some(summary) => summary.feed(kind, &piece.bytes),
            None => vec![SummaryLine {
                length,
                text: format!("data, {length} bytes"),
            }],
        }
    }
}

impl Summary {
    fn open(ends: &Ends) -> Option<Self> {
        let table = ends.summary?;
        let handle = (table.open)(ends.scheme.as_str().into());
        Some(Self { table, handle })
    }

    fn feed(&self, kind: Kind, bytes: &[u8]) -> Vec<SummaryLine> {
        let direction = match kind {
            Kind::Sent => DIRECTION_SENT,
            _ => DIRECTION_RECEIVED,
        };
        let lines = (self.table.feed)(self.handle, direction, bytes.into());
        // One that gives no lines shows nothing, and hurts nothing else.
        serde_json::from_slice(lines.as_slice()).unwrap_or_default()
    }
}

impl Drop for Summary {
    fn drop(&mut self) {
        (self.table.close)(self.handle);
    }
}
