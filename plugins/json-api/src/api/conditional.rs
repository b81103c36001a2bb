//! Entity tags and preconditions (RFC 9110 sections 8.8 and 13).
//!
//! A document's tag is its revision in quotes. `?pretty` gives other bytes and so has a tag of its
//! own, `"REVISION-pretty"`; for a change both name the same version.

use std::time::SystemTime;

use polyport_sdk::http::{HeaderName, Problem, Request, StatusCode, header};

use crate::store::{Condition, Revision};

/// Which bytes of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// As stored.
    Stored,
    /// Laid out by `?pretty`.
    Pretty,
}

/// The strong tag of a document's version.
pub fn etag(revision: Revision, variant: Variant) -> String {
    match variant {
        Variant::Stored => format!("\"{}\"", revision.0),
        Variant::Pretty => format!("\"{}-pretty\"", revision.0),
    }
}

/// The weak tag of a list: its layout may change between versions of the program. `view` tells what of it the
/// caller may see, if that is not all.
pub fn list_etag(revision: Revision, view: Option<u64>) -> String {
    match view {
        None => format!("W/\"{}\"", revision.0),
        Some(view) => format!("W/\"{}-{view:x}\"", revision.0),
    }
}

/// The fields of a request that make it conditional.
#[derive(Debug, Default)]
pub struct Preconditions {
    if_match: Option<Tags>,
    if_none_match: Option<Tags>,
    if_modified_since: Option<SystemTime>,
    if_unmodified_since: Option<SystemTime>,
}

/// How a `GET` is answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Selected {
    /// With the document.
    Send,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client insists on.
    Failed,
}

impl Preconditions {
    /// Reads the fields. A tag that cannot be read is an error: to pass over it could overwrite
    /// what its sender wanted to protect. A date that cannot be read is passed over (13.1.3).
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let date = |name| {
            request
                .header(name)
                .and_then(|text| httpdate::parse_http_date(text).ok())
        };
        Ok(Self {
            if_match: tags(request, header::IF_MATCH)?,
            if_none_match: tags(request, header::IF_NONE_MATCH)?,
            if_modified_since: date(header::IF_MODIFIED_SINCE),
            if_unmodified_since: date(header::IF_UNMODIFIED_SINCE),
        })
    }

    /// Whether a change says which version it is made for, or that there must be none.
    pub fn protect(&self) -> bool {
        self.if_match.is_some() || self.if_unmodified_since.is_some() || self.creates_only()
    }

    /// `If-None-Match: *`.
    pub fn creates_only(&self) -> bool {
        self.if_none_match == Some(Tags::Any)
    }

    /// What a change depends on, in the order of section 13.2.2.
    pub fn conditions(&self) -> Vec<Condition> {
        let mut conditions = Vec::new();
        match &self.if_match {
            Some(Tags::Any) => conditions.push(Condition::Exists),
            Some(Tags::Listed(tags)) => {
                let strong = tags.iter().filter(|tag| !tag.weak);
                conditions.push(Condition::IsOneOf(
                    strong.filter_map(Tag::revision).collect(),
                ));
            }
            None => conditions.extend(self.if_unmodified_since.map(Condition::NotChangedSince)),
        }
        match &self.if_none_match {
            Some(Tags::Any) => conditions.push(Condition::Absent),
            Some(Tags::Listed(tags)) => {
                conditions.push(Condition::IsNoneOf(
                    tags.iter().filter_map(Tag::revision).collect(),
                ));
            }
            None => {}
        }
        conditions
    }

    /// How to answer a `GET` for what has this tag and was changed in this revision.
    pub fn select(&self, etag: &str, revision: Revision) -> Selected {
        let listed = |tags: &Tags, weakly: bool| match tags {
            Tags::Any => true,
            Tags::Listed(tags) => tags.iter().any(|tag| tag.matches(etag, weakly)),
        };
        // A date has whole seconds, a revision has not.
        let unchanged_since =
            |date: SystemTime| Condition::NotChangedSince(date).holds(Some(revision));
        let failed = match &self.if_match {
            Some(tags) => !listed(tags, false),
            None => self
                .if_unmodified_since
                .is_some_and(|date| !unchanged_since(date)),
        };
        if failed {
            return Selected::Failed;
        }
        let has_it = match &self.if_none_match {
            Some(tags) => listed(tags, true),
            None => self.if_modified_since.is_some_and(unchanged_since),
        };
        if has_it {
            Selected::NotModified
        } else {
            Selected::Send
        }
    }
}

/// The 412 for a document in this revision, or for none.
pub fn failed(current: Option<Revision>) -> Problem {
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED);
    match current {
        None => problem.detail("expected a document that exists, found none"),
        Some(revision) => {
            let etag = etag(revision, Variant::Stored);
            problem
                .detail(format!(
                    "the document is in another version than expected: its ETag is {etag}"
                ))
                .header_text(header::ETAG, &etag)
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Tags {
    Any,
    Listed(Vec<Tag>),
}

#[derive(Debug, PartialEq, Eq)]
struct Tag {
    weak: bool,
    /// With its quotes.
    opaque: String,
}

impl Tag {
    fn revision(&self) -> Option<Revision> {
        let inner = self.opaque.trim_matches('"');
        inner
            .strip_suffix("-pretty")
            .unwrap_or(inner)
            .parse()
            .ok()
            .map(Revision)
    }

    fn matches(&self, etag: &str, weakly: bool) -> bool {
        let (weak, opaque) = match etag.strip_prefix("W/") {
            Some(opaque) => (true, opaque),
            None => (false, etag),
        };
        self.opaque == opaque && (weakly || !(self.weak || weak))
    }
}

fn tags(request: &Request, name: HeaderName) -> Result<Option<Tags>, Problem> {
    let Some(text) = request.header_list(&name) else {
        return Ok(None);
    };
    match parse_tags(&text) {
        Some(tags) => Ok(Some(tags)),
        None => {
            let text =
                format!("expected * or entity tags in double quotes in {name}, got {text:?}");
            Err(Problem::bad_request(text))
        }
    }
}

/// `*` or `"a", W/"b"`; a tag may hold commas.
fn parse_tags(text: &str) -> Option<Tags> {
    if text.trim() == "*" {
        return Some(Tags::Any);
    }
    let mut tags = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (weak, quoted) = match rest.strip_prefix("W/") {
            Some(quoted) => (true, quoted),
            None => (false, rest),
        };
        let end = quoted.strip_prefix('"')?.find('"')? + 2;
        tags.push(Tag {
            weak,
            opaque: quoted[..end].to_owned(),
        });
        rest = quoted[end..].trim_start();
        rest = match rest.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if rest.is_empty() => rest,
            None => return None,
        };
    }
    (!tags.is_empty()).then_some(Tags::Listed(tags))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const NOW: Revision = Revision(1_766_404_800_500_000);

    fn preconditions(if_match: &str, if_none_match: &str) -> Preconditions {
        let read = |text: &str| (!text.is_empty()).then(|| parse_tags(text).unwrap());
        Preconditions {
            if_match: read(if_match),
            if_none_match: read(if_none_match),
            ..Preconditions::default()
        }
    }

    #[test]
    fn tags_are_read_as_lists() {
        let tag = |weak, opaque: &str| Tag {
            weak,
            opaque: opaque.to_owned(),
        };
        assert_eq!(parse_tags(" * "), Some(Tags::Any));
        let listed = vec![tag(false, "\"a,b\""), tag(true, "\"\"")];
        assert_eq!(parse_tags("\"a,b\" , W/\"\","), Some(Tags::Listed(listed)));
        for bad in ["", "a", "\"a", "\"a\" \"b\"", "w/\"a\"", "*, \"a\""] {
            assert_eq!(parse_tags(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_get_is_answered_by_the_order_of_section_13_2_2() {
        let (tag, pretty) = (etag(NOW, Variant::Stored), etag(NOW, Variant::Pretty));
        let weak = format!("W/{tag}");
        for (if_match, if_none_match, expected) in [
            ("", "", Selected::Send),
            ("*", "", Selected::Send),
            (&tag, "", Selected::Send),
            (&weak, "", Selected::Failed),
            (&pretty, "", Selected::Failed),
            ("", "*", Selected::NotModified),
            ("", &weak, Selected::NotModified),
            ("", &pretty, Selected::Send),
            ("\"1\"", &tag, Selected::Failed),
            (&tag, &tag, Selected::NotModified),
        ] {
            assert_eq!(
                preconditions(if_match, if_none_match).select(&tag, NOW),
                expected,
                "{if_match} {if_none_match}"
            );
        }
        let weak_list = list_etag(NOW, None);
        assert_eq!(
            preconditions("", &weak_list).select(&weak_list, NOW),
            Selected::NotModified
        );
        assert_eq!(
            preconditions(&weak_list, "").select(&weak_list, NOW),
            Selected::Failed
        );
    }

    #[test]
    fn dates_count_in_whole_seconds_and_behind_tags() {
        let second = SystemTime::UNIX_EPOCH + Duration::from_secs(1_766_404_800);
        let before = second - Duration::from_secs(1);
        let since = |date| Preconditions {
            if_modified_since: Some(date),
            ..Preconditions::default()
        };
        assert_eq!(since(second).select("\"1\"", NOW), Selected::NotModified);
        assert_eq!(since(before).select("\"1\"", NOW), Selected::Send);
        let until = |date| Preconditions {
            if_unmodified_since: Some(date),
            ..Preconditions::default()
        };
        assert_eq!(until(second).select("\"1\"", NOW), Selected::Send);
        assert_eq!(until(before).select("\"1\"", NOW), Selected::Failed);
        let both = Preconditions {
            if_unmodified_since: Some(before),
            ..preconditions("*", "")
        };
        assert_eq!(both.select("\"1\"", NOW), Selected::Send);
        assert_eq!(both.conditions(), [Condition::Exists]);
    }

    #[test]
    fn a_change_depends_on_revisions_whatever_the_layout() {
        let pretty = etag(NOW, Variant::Pretty);
        let both = preconditions(&format!("{pretty}, W/\"7\", \"x\""), "");
        assert_eq!(both.conditions(), [Condition::IsOneOf(vec![NOW])]);
        assert!(both.protect());
        let none = preconditions("", "W/\"7\"");
        assert_eq!(none.conditions(), [Condition::IsNoneOf(vec![Revision(7)])]);
        assert!(!none.protect());
        assert!(preconditions("", "*").creates_only());
    }

    fn tag() -> impl Strategy<Value = Tag> {
        (any::<bool>(), "[!#-~\u{80}-\u{ff} ,]{0,8}").prop_map(|(weak, text)| Tag {
            weak,
            opaque: format!("\"{text}\""),
        })
    }

    proptest! {
        #[test]
        fn tags_come_through_in_any_spelling(tags in proptest::collection::vec(tag(), 1..6), space in "[ \t]{0,2}") {
            let spelled: Vec<String> = tags
                .iter()
                .map(|tag| format!("{space}{}{}{space}", if tag.weak { "W/" } else { "" }, tag.opaque))
                .collect();
            prop_assert_eq!(parse_tags(&spelled.join(",")), Some(Tags::Listed(tags)));
        }

        #[test]
        fn no_field_makes_the_reader_panic(text in "[W/\", *a-c\u{80}-\u{ff}]{0,24}") {
            if let Some(Tags::Listed(tags)) = parse_tags(&text) {
                prop_assert!(!tags.is_empty());
                for tag in tags {
                    prop_assert!(tag.opaque.len() >= 2 && text.contains(&tag.opaque));
                }
            }
        }
    }
}
