//! Matching what came against what an `S` line allows.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Piece {
    Byte(u8),
    AnyByte,
    /// Any bytes, also none, as few as will do.
    Any,
}

/// Literal runs with gaps of any length between them.
#[derive(Debug)]
pub(super) struct Pattern(Vec<Piece>);

#[derive(Debug, PartialEq)]
pub(super) enum Found {
    /// The first so many bytes match.
    Yes(usize),
    /// What came can still become a match.
    More,
    No,
}

impl Pattern {
    pub(super) fn new(pieces: Vec<Piece>) -> Self {
        Self(pieces)
    }

    /// Looks for the pattern at the beginning of `bytes`.
    ///
    /// A gap ends where what follows it is found first. One at the very end takes all up to the end
    /// of the connection, so it is never found here but by [`Pattern::find_at_end`].
    pub(super) fn find(&self, bytes: &[u8]) -> Found {
        let mut at = 0;
        for (index, run) in self.runs().enumerate() {
            match (
                index,
                search(run, bytes.get(at..).unwrap_or_default(), index > 0),
            ) {
                (_, Some((start, Fit::Whole))) => at += start + run.len(),
                (_, Some((_, Fit::Part))) => return Found::More,
                (0, None) => return Found::No,
                (_, None) => return Found::More,
            }
        }
        match self.0.last() {
            Some(Piece::Any) => Found::More,
            _ => Found::Yes(at),
        }
    }

    /// Whether the pattern matches all of `bytes`, to which nothing will be added.
    pub(super) fn find_at_end(&self, bytes: &[u8]) -> bool {
        let Some((Piece::Any, head)) = self.0.split_last() else {
            return false;
        };
        matches!(Pattern(head.to_vec()).find(bytes), Found::Yes(_))
    }

    fn runs(&self) -> impl Iterator<Item = &[Piece]> {
        self.0.split(|piece| *piece == Piece::Any)
    }
}

enum Fit {
    Whole,
    /// It matches as far as the bytes go.
    Part,
}

fn search(run: &[Piece], bytes: &[u8], anywhere: bool) -> Option<(usize, Fit)> {
    let last = if anywhere { bytes.len() } else { 0 };
    (0..=last).find_map(|start| {
        let here = bytes.get(start..).unwrap_or_default();
        let fits = run.iter().zip(here).all(|(piece, byte)| match piece {
            Piece::Byte(wanted) => wanted == byte,
            Piece::AnyByte | Piece::Any => true,
        });
        let fit = if here.len() >= run.len() {
            Fit::Whole
        } else {
            Fit::Part
        };
        fits.then_some((start, fit))
    })
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let literal = |piece: &Piece| match piece {
            Piece::Byte(byte) => Some(*byte),
            Piece::AnyByte | Piece::Any => None,
        };
        let is_text = |byte: u8| byte.is_ascii_graphic() || b" \r\n\t".contains(&byte);
        let as_text =
            !self.0.contains(&Piece::AnyByte) && self.0.iter().filter_map(literal).all(is_text);
        f.write_str(if as_text { "\"" } else { "hex " })?;
        for piece in &self.0 {
            match piece {
                Piece::Byte(byte) if as_text => write!(f, "{}", byte.escape_ascii())?,
                Piece::Byte(byte) => write!(f, "{byte:02x} ")?,
                Piece::AnyByte => f.write_str(".. ")?,
                Piece::Any if as_text => f.write_str("...")?,
                Piece::Any => f.write_str("... ")?,
            }
        }
        f.write_str(if as_text { "\"" } else { "" })
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        let mut pieces = Vec::new();
        for (index, part) in text.split("...").enumerate() {
            if index > 0 {
                pieces.push(Piece::Any);
            }
            pieces.extend(part.bytes().map(|byte| {
                if byte == b'?' {
                    Piece::AnyByte
                } else {
                    Piece::Byte(byte)
                }
            }));
        }
        Pattern::new(pieces)
    }

    #[test]
    fn literals_match_at_the_beginning_only() {
        assert_eq!(pattern("ab").find(b"abc"), Found::Yes(2));
        assert_eq!(pattern("ab").find(b"a"), Found::More);
        assert_eq!(pattern("ab").find(b"xab"), Found::No);
        assert_eq!(pattern("a?c").find(b"abc"), Found::Yes(3));
    }

    #[test]
    fn a_gap_ends_at_the_first_place_that_fits() {
        assert_eq!(
            pattern("220 ...\r\n").find(b"220 hello\r\n220 x\r\n"),
            Found::Yes(11)
        );
        assert_eq!(pattern("220 ...\r\n").find(b"220 hello\r"), Found::More);
        assert_eq!(pattern("a...b...c").find(b"a--b--c"), Found::Yes(7));
        assert_eq!(pattern("a...b").find(b"x"), Found::No);
    }

    #[test]
    fn a_last_gap_takes_all_there_will_be() {
        assert_eq!(pattern("a...").find(b"abc"), Found::More);
        assert!(pattern("a...").find_at_end(b"abc"));
        assert!(!pattern("a...").find_at_end(b"b"));
        assert!(!pattern("ab").find_at_end(b"a"));
    }
}
