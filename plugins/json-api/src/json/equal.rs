//! Equality of JSON values, whatever their spelling (RFC 6902 section 4.6).

use std::collections::HashMap;

use super::number;
use super::string::decode;
use super::tree::{Member, Node};

/// Whether both are the same value: members in any order, numbers by value, strings by text.
///
/// Of a key named twice the last counts. Opens both.
pub fn equal(a: &mut Node<'_>, b: &mut Node<'_>) -> bool {
    if let Some(a) = a.members() {
        return b.members().is_some_and(|b| members_equal(a, b));
    }
    if let Some(a) = a.items() {
        return b.items().is_some_and(|b| {
            a.len() == b.len()
                && a.iter_mut()
                    .zip(b)
                    .all(|(a, b)| equal(&mut a.value, &mut b.value))
        });
    }
    let (Node::Raw(a), Node::Raw(b)) = (a, b) else {
        return false;
    };
    match (a.as_bytes().first(), b.as_bytes().first()) {
        (Some(b'"'), Some(b'"')) => decode(a) == decode(b),
        (Some(b'-' | b'0'..=b'9'), Some(b'-' | b'0'..=b'9')) => number::equal(a, b),
        _ => a == b,
    }
}

fn members_equal(a: &mut [Member<'_>], b: &mut [Member<'_>]) -> bool {
    let mut b = by_name(b);
    let a = by_name(a);
    a.len() == b.len()
        && a.into_iter()
            .all(|(name, a)| b.get_mut(&name).is_some_and(|b| equal(a, b)))
}

fn by_name<'m, 'a>(members: &'m mut [Member<'a>]) -> HashMap<String, &'m mut Node<'a>> {
    members
        .iter_mut()
        .map(|member| (decode(&member.key).into_owned(), &mut member.value))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pretty;
    use super::super::strategies;
    use super::*;

    fn same(a: &str, b: &str) -> bool {
        equal(&mut Node::Raw(a), &mut Node::Raw(b))
    }

    #[test]
    fn spelling_and_order_do_not_count() {
        assert!(same(
            r#"{"a":1e2,"b":["\u00e4",null]}"#,
            r#"{ "b" : ["ä", null], "a" : 100.0 }"#
        ));
        assert!(same(r#"{"a":1,"a":2}"#, r#"{"a":2}"#));
    }

    #[test]
    fn values_of_other_types_differ() {
        for (a, b) in [
            ("0", "false"),
            ("null", "{}"),
            ("[]", "{}"),
            ("1", "\"1\""),
            ("[1,2]", "[2,1]"),
        ] {
            assert!(!same(a, b) && !same(b, a), "{a} {b}");
        }
        assert!(!same(r#"{"a":1}"#, r#"{"a":1,"b":null}"#));
        assert!(!same(r#"{"a":null}"#, r#"{"b":null}"#));
    }

    proptest! {
        #[test]
        fn a_text_equals_itself_in_another_layout(text in strategies::text()) {
            let laid_out = pretty(&text).unwrap();
            prop_assert!(same(text.trim(), laid_out.trim()));
        }
    }
}
