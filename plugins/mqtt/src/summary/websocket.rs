//! What WebSocket frames carry, read along (RFC 6455 section 5.2).

use polyport_sdk::summary::{Direction, Line, Summary, line};

/// Hands the content of frames on to another reader.
pub(super) struct WebSocket {
    inner: Box<dyn Summary>,
    sides: [Side; 2],
}

#[derive(Default)]
struct Side {
    /// A header that is not over.
    header: Vec<u8>,
    frame: Option<Frame>,
}

struct Frame {
    opcode: u8,
    length: u64,
    left: u64,
    mask: [u8; 4],
}

impl WebSocket {
    pub(super) fn new(inner: Box<dyn Summary>) -> Self {
        Self {
            inner,
            sides: Default::default(),
        }
    }
}

impl Summary for WebSocket {
    fn feed(&mut self, direction: Direction, mut bytes: &[u8], lines: &mut Vec<Line>) {
        let side = &mut self.sides[usize::from(direction == Direction::Sent)];
        loop {
            let Some(frame) = &mut side.frame else {
                let Some((first, rest)) = bytes.split_first() else {
                    return;
                };
                side.header.push(*first);
                bytes = rest;
                side.frame = Frame::read(&side.header);
                continue;
            };
            let count =
                usize::try_from(frame.left).map_or(bytes.len(), |left| left.min(bytes.len()));
            if count == 0 && frame.left > 0 {
                return;
            }
            let (content, rest) = bytes.split_at(count);
            let done = (frame.length - frame.left) as usize;
            let plain: Vec<u8> = content
                .iter()
                .enumerate()
                .map(|(at, byte)| byte ^ frame.mask[(done.wrapping_add(at)) % 4])
                .collect();
            bytes = rest;
            frame.left -= count as u64;
            let control = match frame.opcode {
                8 => Some("WebSocket close"),
                9 => Some("WebSocket ping"),
                10 => Some("WebSocket pong"),
                _ => None,
            };
            match control {
                None => self.inner.feed(direction, &plain, lines),
                // A control frame is short: 125 bytes at most.
                Some(name) if frame.left == 0 => lines.push(line(frame.length as usize, name)),
                Some(_) => {}
            }
            if frame.left == 0 {
                side.frame = None;
                side.header.clear();
            }
        }
    }
}

impl Frame {
    /// The frame that a header announces, once it is whole.
    fn read(header: &[u8]) -> Option<Self> {
        let (&first, &second) = (header.first()?, header.get(1)?);
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = match extended {
            0 => u64::from(second & 0x7f),
            _ => header
                .get(2..2 + extended)?
                .iter()
                .fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let mask = match second & 0x80 {
            0 => [0; 4],
            _ => header
                .get(2 + extended..6 + extended)
                .and_then(|mask| mask.try_into().ok())?,
        };
        Some(Self {
            opcode: first & 0x0f,
            length,
            left: length,
            mask,
        })
    }
}
