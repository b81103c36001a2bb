//! Range requests: which bytes a `Range` field selects (RFC 9110, 14).

/// More ranges than this in one request are answered with the whole file: nobody needs them.
const MAX_RANGES: usize = 64;

/// Ranges this close are sent as one: the header of a part costs about as much.
const MIN_GAP: u64 = 80;

/// Bytes from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first byte.
    pub start: u64,
    /// Number of bytes, at least 1.
    pub len: u64,
}

impl ByteRange {
    fn end(self) -> u64 {
        self.start.saturating_add(self.len)
    }

    /// The value of `Content-Range` for a file of `len` bytes.
    pub fn content_range(self, len: u64) -> String {
        format!("bytes {}-{}/{len}", self.start, self.end() - 1)
    }
}

/// What a `Range` field comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The whole file: no range, one that is not understood, or ranges that select too much.
    Whole,
    /// One range.
    One(ByteRange),
    /// Two or more, in the order asked for unless some overlap.
    Many(Vec<ByteRange>),
    /// Nothing of the file: 416.
    Unsatisfiable,
}

/// Applies a `Range` field to a file of `len` bytes. A field that is not valid is ignored, as
/// RFC 9110, 14.2 allows.
pub fn select(field: &str, len: u64) -> Selection {
    let Some(specs) = field.trim().split_once('=').and_then(|(unit, specs)| {
        unit.trim_end()
            .eq_ignore_ascii_case("bytes")
            .then_some(specs)
    }) else {
        return Selection::Whole;
    };
    let mut ranges = Vec::new();
    let mut count = 0;
    for spec in specs
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty())
    {
        count += 1;
        if count > MAX_RANGES {
            return Selection::Whole;
        }
        match parse(spec, len) {
            Ok(Some(range)) => ranges.push(range),
            Ok(None) => {}
            Err(Invalid) => return Selection::Whole,
        }
    }
    if count == 0 {
        return Selection::Whole;
    }
    let ranges = coalesce(ranges);
    match ranges.as_slice() {
        [] => Selection::Unsatisfiable,
        [only] => Selection::One(*only),
        _ if ranges.iter().map(|range| range.len).sum::<u64>() >= len => Selection::Whole,
        _ => Selection::Many(ranges),
    }
}

struct Invalid;

/// One range-spec; none when it selects nothing.
fn parse(spec: &str, len: u64) -> Result<Option<ByteRange>, Invalid> {
    let (first, last) = spec.split_once('-').ok_or(Invalid)?;
    let (first, last) = (first.trim_end(), last.trim_start());
    if first.is_empty() {
        let suffix = number(last)?.min(len);
        return Ok((suffix > 0).then(|| ByteRange {
            start: len - suffix,
            len: suffix,
        }));
    }
    let start = number(first)?;
    let last = if last.is_empty() {
        u64::MAX
    } else {
        number(last)?
    };
    if last < start {
        return Err(Invalid);
    }
    Ok((start < len).then(|| ByteRange {
        start,
        len: last.min(len - 1) - start + 1,
    }))
}

/// Digits only; a number too large for any file stands for the largest.
fn number(text: &str) -> Result<u64, Invalid> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Invalid);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

/// Joins ranges that overlap or nearly touch (RFC 9110, 15.3.7.2). Ranges that are apart keep the
/// order the client gave them.
fn coalesce(ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    let mut sorted = ranges.clone();
    sorted.sort_by_key(|range| range.start);
    let mut joined: Vec<ByteRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match joined.last_mut() {
            Some(last) if range.start <= last.end().saturating_add(MIN_GAP) => {
                last.len = last.end().max(range.end()) - last.start;
            }
            _ => joined.push(range),
        }
    }
    if joined.len() == ranges.len() {
        ranges
    } else {
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(start: u64, len: u64) -> Selection {
        Selection::One(ByteRange { start, len })
    }

    #[test]
    fn single_suffix_and_open_ranges() {
        assert_eq!(select("bytes=0-10", 32), one(0, 11));
        assert_eq!(select("bytes=5-", 32), one(5, 27));
        assert_eq!(select("bytes=-5", 32), one(27, 5));
        assert_eq!(select("bytes=-500", 32), one(0, 32));
        assert_eq!(select("bytes=31-99999999999999999999999", 32), one(31, 1));
        assert_eq!(select(" Bytes = 0 - 1 , ", 32), one(0, 2));
        assert_eq!(
            ByteRange { start: 0, len: 11 }.content_range(32),
            "bytes 0-10/32"
        );
    }

    #[test]
    fn what_selects_nothing_is_unsatisfiable() {
        for field in ["bytes=32-", "bytes=99-100", "bytes=-0", "bytes=40-50,60-"] {
            assert_eq!(select(field, 32), Selection::Unsatisfiable, "{field}");
        }
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-1", 0), Selection::Unsatisfiable);
    }

    #[test]
    fn what_is_not_valid_is_ignored() {
        for field in [
            "",
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=5-4",
            "bytes=a-b",
            "lines=0-1",
            "bytes=-",
            "bytes=+1-2",
            "bytes=0-1,x",
        ] {
            assert_eq!(select(field, 32), Selection::Whole, "{field}");
        }
    }

    #[test]
    fn several_ranges_keep_their_order_and_join_where_they_touch() {
        let many = |ranges: &[(u64, u64)]| {
            Selection::Many(
                ranges
                    .iter()
                    .map(|&(start, len)| ByteRange { start, len })
                    .collect(),
            )
        };
        assert_eq!(
            select("bytes=500-599,0-9", 1000),
            many(&[(500, 100), (0, 10)])
        );
        assert_eq!(select("bytes=0-9,2000-", 1000), one(0, 10));
        assert_eq!(
            select("bytes=0-9,5-20,900-", 1000),
            many(&[(0, 21), (900, 100)])
        );
        assert_eq!(select("bytes=0-9,60-69", 1000), one(0, 70));
    }

    #[test]
    fn too_many_or_too_much_gives_the_whole() {
        let many: Vec<_> = (0..100)
            .map(|i| format!("{}-{}", i * 1000, i * 1000))
            .collect();
        assert_eq!(
            select(&format!("bytes={}", many.join(",")), 1 << 30),
            Selection::Whole
        );
        assert_eq!(select("bytes=0-,0-,0-", 1000), one(0, 1000));
    }

    proptest! {
        #[test]
        fn nothing_outside_of_the_file_is_ever_selected(field in "bytes=[0-9,-]{0,40}", len in 0u64..2000) {
            let ranges = match select(&field, len) {
                Selection::One(range) => vec![range],
                Selection::Many(ranges) => ranges,
                Selection::Whole | Selection::Unsatisfiable => vec![],
            };
            for range in &ranges {
                prop_assert!(range.len > 0 && range.end() <= len);
            }
            prop_assert!(ranges.iter().map(|range| range.len).sum::<u64>() <= len);
        }
    }
}
