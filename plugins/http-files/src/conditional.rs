//! Conditional requests: whether the client's copy, or its idea of the file, still holds
//! (RFC 9110, 13).

use polyport_sdk::http::{Request, header};

use crate::validators::{Validators, parse_date};

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: the file is not what the client thinks.
    Failed,
}

/// The fields of a request that are conditions.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_modified_since: Option<String>,
    if_unmodified_since: Option<String>,
    if_range: Option<String>,
}

impl Conditions {
    /// Reads the fields.
    pub fn of(request: &Request) -> Self {
        Self {
            if_match: request.header_list(header::IF_MATCH),
            if_none_match: request.header_list(header::IF_NONE_MATCH),
            if_modified_since: request.header_list(header::IF_MODIFIED_SINCE),
            if_unmodified_since: request.header_list(header::IF_UNMODIFIED_SINCE),
            if_range: request.header_list(header::IF_RANGE),
        }
    }

    /// Weighs them in the order of RFC 9110, 13.2.2. `current` is none where there is no file;
    /// `safe` is true for `GET` and `HEAD`.
    pub fn weigh(&self, current: Option<&Validators>, safe: bool) -> Verdict {
        if let Some(tags) = &self.if_match {
            if !current.is_some_and(|current| lists(tags, &current.etag, strong)) {
                return Verdict::Failed;
            }
        } else if let Some(date) = self.if_unmodified_since.as_deref().and_then(parse_date)
            && current.is_some_and(|current| current.modified > date)
        {
            return Verdict::Failed;
        }
        if let Some(tags) = &self.if_none_match {
            if current.is_some_and(|current| lists(tags, &current.etag, weak)) {
                return if safe {
                    Verdict::NotModified
                } else {
                    Verdict::Failed
                };
            }
        } else if safe
            && let Some(date) = self.if_modified_since.as_deref().and_then(parse_date)
            && current.is_some_and(|current| current.modified <= date)
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a `Range` field counts: without `If-Range`, or where that names the current state
    /// (RFC 9110, 13.1.5). A date must be exactly the file's.
    pub fn range_counts(&self, current: &Validators) -> bool {
        match &self.if_range {
            None => true,
            Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => {
                strong(tag, &current.etag)
            }
            Some(date) => parse_date(date) == Some(current.modified),
        }
    }

    /// Whether the request insists that there is no file: `If-None-Match: *`.
    pub fn wants_new(&self) -> bool {
        self.if_none_match
            .as_deref()
            .is_some_and(|tags| tags.trim() == "*")
    }
}

/// Whether a list of tags has this one, or is `*`. A comma can be inside a tag's quotes.
fn lists(tags: &str, current: &str, same: fn(&str, &str) -> bool) -> bool {
    if tags.trim() == "*" {
        return true;
    }
    let mut rest = tags;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let opaque = rest.strip_prefix("W/").unwrap_or(rest);
        let prefix = rest.len() - opaque.len();
        let Some(close) = opaque.strip_prefix('"').and_then(|inner| inner.find('"')) else {
            return false;
        };
        let Some((tag, after)) = rest.split_at_checked(prefix + close + 2) else {
            return false;
        };
        if same(tag, current) {
            return true;
        }
        rest = after;
    }
}

/// Strong comparison (RFC 9110, 8.8.3.2): weak tags are never the same.
fn strong(one: &str, other: &str) -> bool {
    !one.starts_with("W/") && !other.starts_with("W/") && one == other
}

/// Weak comparison: whether a tag is weak makes no difference.
fn weak(one: &str, other: &str) -> bool {
    one.strip_prefix("W/").unwrap_or(one) == other.strip_prefix("W/").unwrap_or(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "Sun, 22 Nov 2026 12:02:00 GMT";
    const BEFORE: &str = "Sun, 22 Nov 2026 12:01:59 GMT";
    const AFTER: &str = "Sun, 22 Nov 2026 12:02:01 GMT";

    fn current() -> Validators {
        Validators {
            etag: "\"a,1\"".into(),
            modified: parse_date(NOW).unwrap(),
        }
    }

    fn conditions(fields: &[(&str, &str)]) -> Conditions {
        let mut conditions = Conditions::default();
        for (name, value) in fields {
            let value = Some((*value).to_owned());
            match *name {
                "if-match" => conditions.if_match = value,
                "if-none-match" => conditions.if_none_match = value,
                "if-modified-since" => conditions.if_modified_since = value,
                "if-unmodified-since" => conditions.if_unmodified_since = value,
                "if-range" => conditions.if_range = value,
                other => panic!("{other}"),
            }
        }
        conditions
    }

    fn get(fields: &[(&str, &str)]) -> Verdict {
        conditions(fields).weigh(Some(&current()), true)
    }

    fn put(fields: &[(&str, &str)], exists: bool) -> Verdict {
        conditions(fields).weigh(exists.then(current).as_ref(), false)
    }

    #[test]
    fn tags_are_compared_weakly_for_none_match_and_strongly_for_match() {
        use Verdict::{Failed, NotModified, Proceed};
        for (value, verdict) in [
            ("\"a,1\"", NotModified),
            ("W/\"a,1\"", NotModified),
            ("\"x\", \"y,z\" , \"a,1\"", NotModified),
            ("*", NotModified),
            ("\"a\"", Proceed),
            ("a,1", Proceed),
            ("", Proceed),
            ("\"", Proceed),
        ] {
            assert_eq!(get(&[("if-none-match", value)]), verdict, "{value}");
        }
        for (value, verdict) in [
            ("\"a,1\"", Proceed),
            ("*", Proceed),
            ("W/\"a,1\"", Failed),
            ("\"b\"", Failed),
            ("", Failed),
        ] {
            assert_eq!(get(&[("if-match", value)]), verdict, "{value}");
        }
    }

    #[test]
    fn dates_count_by_the_second_and_only_without_tags() {
        use Verdict::{Failed, NotModified, Proceed};
        assert_eq!(get(&[("if-modified-since", NOW)]), NotModified);
        assert_eq!(get(&[("if-modified-since", AFTER)]), NotModified);
        assert_eq!(get(&[("if-modified-since", BEFORE)]), Proceed);
        assert_eq!(get(&[("if-modified-since", "yesterday")]), Proceed);
        assert_eq!(
            get(&[("if-modified-since", NOW), ("if-none-match", "\"b\"")]),
            Proceed
        );
        assert_eq!(get(&[("if-unmodified-since", BEFORE)]), Failed);
        assert_eq!(get(&[("if-unmodified-since", NOW)]), Proceed);
        assert_eq!(
            get(&[("if-unmodified-since", BEFORE), ("if-match", "*")]),
            Proceed
        );
    }

    #[test]
    fn a_failed_match_comes_before_not_modified() {
        assert_eq!(
            get(&[("if-match", "\"b\""), ("if-none-match", "*")]),
            Verdict::Failed
        );
    }

    #[test]
    fn writing_can_insist_on_new_or_on_known() {
        use Verdict::{Failed, Proceed};
        assert_eq!(put(&[("if-none-match", "*")], true), Failed);
        assert_eq!(put(&[("if-none-match", "*")], false), Proceed);
        assert_eq!(put(&[("if-match", "*")], false), Failed);
        assert_eq!(put(&[("if-match", "\"a,1\"")], true), Proceed);
        assert_eq!(put(&[("if-modified-since", NOW)], true), Proceed);
    }

    #[test]
    fn a_range_counts_while_the_file_is_the_same() {
        let counts = |value| conditions(&[("if-range", value)]).range_counts(&current());
        assert!(counts("\"a,1\""));
        assert!(counts(NOW));
        assert!(!counts("W/\"a,1\""));
        assert!(!counts("\"b\""));
        assert!(!counts(AFTER));
        assert!(!counts("nonsense"));
        assert!(Conditions::default().range_counts(&current()));
    }
}
