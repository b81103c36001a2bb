//! A request as a handler gets it.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use ::http::{HeaderMap, Method, StatusCode, Uri, header};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::Problem;
use super::exchange::Exchange;
use crate::net::{Origin, Peer};

/// One request, its header read and checked.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// The method, any token.
    pub method: Method,
    /// The target as sent, percent-encoded.
    pub uri: Uri,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, not yet read.
    pub body: RequestBody,
    pub(super) exchange: Arc<Exchange>,
}

impl Request {
    /// Who sent it.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.exchange.peer()
    }

    /// Where it comes from, and what its connection proved of itself.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.exchange.activity().origin()
    }

    /// Whether it is `HEAD`: answered as `GET`, without a body.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// The path, percent-decoded once. An escape that is none (`%zz`) stands for itself.
    #[must_use]
    pub fn path(&self) -> Cow<'_, [u8]> {
        percent_encoding::percent_decode_str(self.uri.path()).into()
    }

    /// The path's segments, each percent-decoded once after splitting, so that `%2F` is part of a
    /// segment. Empty segments are kept: `/a/` has the segments `a` and an empty one.
    pub fn segments(&self) -> impl Iterator<Item = Cow<'_, [u8]>> {
        let path = self.uri.path();
        let path = path.strip_prefix('/').unwrap_or(path);
        path.split('/')
            .map(|segment| percent_encoding::percent_decode_str(segment).into())
    }

    /// The query's pairs, decoded as forms are (`+` is a space); a name without `=` has an empty value.
    pub fn query(&self) -> impl Iterator<Item = (String, String)> {
        self.uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode_form(name), decode_form(value))
            })
    }

    /// The first value of a name in the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query()
            .find_map(|(found, value)| (found == name).then_some(value))
    }

    /// A field that stands once and is text; none where it is missing, doubled or not ASCII.
    #[must_use]
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let only = values.next()?;
        if values.next().is_some() {
            None
        } else {
            only.to_str().ok()
        }
    }

    /// All values of a field that is a list, joined by commas (RFC 9110, 5.3).
    #[must_use]
    pub fn header_list(&self, name: impl header::AsHeaderName) -> Option<String> {
        let mut joined: Option<String> = None;
        for value in self.headers.get_all(name) {
            let value = String::from_utf8_lossy(value.as_bytes());
            match &mut joined {
                None => joined = Some(value.into_owned()),
                Some(joined) => {
                    joined.push_str(", ");
                    joined.push_str(&value);
                }
            }
        }
        joined
    }

    /// Whether the client takes a media type, by the weights of `Accept` (RFC 9110, 12.5.1):
    /// 0 to 1000, where a missing field takes everything. `kind` is `type/subtype`.
    #[must_use]
    pub fn accepts(&self, kind: &str) -> u16 {
        accept_weight(self.header_list(header::ACCEPT).as_deref(), kind)
    }

    /// Names the user in the access log.
    pub fn set_user(&self, name: &str) {
        self.exchange.set_user(name);
    }
}

/// The weight of a media type in an `Accept` field; the most specific range counts.
pub(super) fn accept_weight(accept: Option<&str>, kind: &str) -> u16 {
    let Some(accept) = accept else { return 1000 };
    let major = kind.split_once('/').map_or(kind, |(major, _)| major);
    let mut best = (0, 0);
    for element in accept.split(',') {
        let mut parts = element.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default();
        let specific = if range.eq_ignore_ascii_case(kind) {
            3
        } else if range
            .strip_suffix("/*")
            .is_some_and(|found| found.eq_ignore_ascii_case(major))
        {
            2
        } else if range == "*/*" {
            1
        } else {
            continue;
        };
        let weight = parts
            .find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")))
            .map_or(1000, qvalue);
        if specific > best.0 {
            best = (specific, weight);
        }
    }
    best.1
}

/// `0.5` as 500; what is no qvalue counts as 0.
fn qvalue(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    let thousandths = format!("{fraction:0<3}").parse().unwrap_or(0);
    match whole {
        "1" => 1000,
        "0" | "" => thousandths,
        _ => 0,
    }
}

fn decode_form(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

type Incoming = Pin<Box<dyn Stream<Item = Result<Bytes, Problem>> + Send + Sync>>;

/// A request's body, read piece by piece. Reading it is what answers `Expect: 100-continue`.
pub struct RequestBody {
    incoming: Option<Incoming>,
    declared: Option<u64>,
    limit: Option<u64>,
    read: u64,
    /// All of it, once it was read at once.
    whole: Option<Bytes>,
}

impl RequestBody {
    /// Without a byte.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            incoming: None,
            declared: Some(0),
            limit: None,
            read: 0,
            whole: None,
        }
    }

    pub(super) fn new(incoming: Incoming, declared: Option<u64>, limit: Option<u64>) -> Self {
        Self {
            incoming: Some(incoming),
            declared,
            limit,
            read: 0,
            whole: None,
        }
    }

    /// The length the client declared, none when it sends chunks.
    #[must_use]
    pub fn declared_len(&self) -> Option<u64> {
        self.declared
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.declared == Some(0)
    }

    /// The next piece, none at the end.
    ///
    /// # Errors
    /// 413 when the body is larger than the limit, 400 when the client breaks it off, 408 when it
    /// stops sending.
    pub async fn next(&mut self) -> Option<Result<Bytes, Problem>> {
        if let (Some(limit), Some(declared)) = (self.limit, self.declared)
            && declared > limit
        {
            return Some(Err(too_large(limit)));
        }
        let piece = match self.incoming.as_mut()?.next().await? {
            Ok(piece) => piece,
            Err(problem) => return Some(Err(problem)),
        };
        self.read = self.read.saturating_add(piece.len() as u64);
        match self.limit {
            Some(limit) if self.read > limit => Some(Err(too_large(limit))),
            _ => Some(Ok(piece)),
        }
    }

    /// The whole body in memory.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub async fn read_all(&mut self) -> Result<Bytes, Problem> {
        let all = self.read_rest().await?;
        self.whole = Some(all.clone());
        Ok(all)
    }

    /// The whole body, also if it was read by [`RequestBody::read_all`] before; none if a part was taken out.
    pub(super) async fn take_whole(&mut self) -> Result<Option<Bytes>, Problem> {
        match self.whole.take() {
            Some(whole) => Ok(Some(whole)),
            None if self.read > 0 => Ok(None),
            None => self.read_rest().await.map(Some),
        }
    }

    async fn read_rest(&mut self) -> Result<Bytes, Problem> {
        let Some(first) = self.next().await.transpose()? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.next().await.transpose()? else {
            return Ok(first);
        };
        let mut all = BytesMut::from(first.as_ref());
        all.extend_from_slice(&second);
        while let Some(piece) = self.next().await.transpose()? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody")
            .field("declared", &self.declared)
            .field("read", &self.read)
            .finish()
    }
}

pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE)
        .detail(format!("expected at most {limit} bytes"))
        .closing()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accept_is_weighed_by_the_most_specific_range() {
        let browser = Some("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8");
        assert_eq!(accept_weight(browser, "text/html"), 1000);
        assert_eq!(accept_weight(browser, "application/json"), 800);
        assert_eq!(
            accept_weight(
                Some("application/*;q=0.25, application/json; q=0"),
                "application/json"
            ),
            0
        );
        assert_eq!(
            accept_weight(Some("application/*;q=0.25"), "application/json"),
            250
        );
        assert_eq!(accept_weight(Some("text/html"), "application/json"), 0);
        assert_eq!(accept_weight(None, "application/json"), 1000);
        assert_eq!(accept_weight(Some("*/*;q=7"), "application/json"), 0);
    }

    #[test]
    fn forms_are_decoded() {
        assert_eq!(decode_form("a+b%20c%2B"), "a b c+");
        assert_eq!(decode_form("%zz"), "%zz");
    }

    proptest! {
        #[test]
        fn no_field_makes_the_weighing_panic(accept in "[a-z*/;q=., 0-9Q\u{e9}]{0,40}") {
            prop_assert!(accept_weight(Some(&accept), "text/html") <= 1000);
        }

        #[test]
        fn a_range_has_the_weight_it_names(weight in 0_u16..=1000, space in "[ ]{0,2}") {
            let field = format!("a/b,{space}text/html;level=1;{space}q={}.{:03}", weight / 1000, weight % 1000);
            prop_assert_eq!(accept_weight(Some(&field), "text/html"), weight);
        }

        #[test]
        fn what_a_form_sends_comes_through(text in any::<String>()) {
            let sent: String = percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).collect();
            prop_assert_eq!(decode_form(&sent.replace("%20", "+")), text);
        }
    }
}
