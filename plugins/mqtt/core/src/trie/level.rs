//! The text of one level of a topic filter, without an allocation of its own where it is short.

/// Bytes that need no allocation.
const SHORT: usize = 14;

#[derive(Debug)]
pub(super) enum Level {
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    /// Behind a thin pointer: all other levels would have to carry a wide one's size.
    Long(Box<Long>),
}

#[derive(Debug)]
pub(super) struct Long(Box<[u8]>);

impl Default for Level {
    fn default() -> Self {
        Level::Short {
            length: 0,
            bytes: [0; SHORT],
        }
    }
}

impl Level {
    pub(super) fn new(text: &str) -> Level {
        let text = text.as_bytes();
        if text.len() > SHORT {
            return Level::Long(Box::new(Long(text.into())));
        }
        let mut bytes = [0; SHORT];
        bytes[..text.len()].copy_from_slice(text);
        Level::Short {
            length: text.len() as u8,
            bytes,
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Level::Short { length, bytes } => &bytes[..usize::from(*length)],
            Level::Long(long) => &long.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_of_any_length_is_kept() {
        for length in [0, 1, SHORT - 1, SHORT, SHORT + 1, 65_535] {
            let text = "x".repeat(length);
            assert_eq!(Level::new(&text).as_bytes(), text.as_bytes(), "{length}");
        }
    }
}
