//! JSON Merge Patch (RFC 7396), on text.

use std::collections::HashMap;

use super::edit::push_member;
use super::string::decode;
use super::tree::{Member, Node, Tree};

/// `document` with `patch` merged into it; both validated texts.
///
/// Members that the patch does not name keep their bytes and their place, new ones come last. A key
/// that the document names twice is left once if the patch touches it.
pub fn merge_patch(document: &str, patch: &str) -> String {
    let mut tree = Tree::new(document);
    let target = std::mem::replace(&mut tree.root, Node::Raw(""));
    tree.root = merge(target, Tree::new(patch).root);
    tree.text()
}

/// Section 2's `MergePatch`; recursion is bounded by the depth that validation allows.
fn merge<'a>(mut target: Node<'a>, mut patch: Node<'a>) -> Node<'a> {
    let Some(changes) = patch.members() else {
        return patch;
    };
    if !target.is_object() {
        target = Node::Object(Vec::new());
    }
    if let Some(members) = target.members() {
        merge_members(members, std::mem::take(changes));
    }
    target
}

fn merge_members<'a>(members: &mut Vec<Member<'a>>, changes: Vec<Member<'a>>) {
    let places = places(members);
    let mut removed = vec![false; members.len()];
    let mut added = Vec::new();
    for mut change in last_of_each_name(changes) {
        let deletes = matches!(change.value, Node::Raw("null"));
        match places
            .get(&*decode(&change.key))
            .and_then(|places| places.split_last())
        {
            Some((&last, shadowed)) => {
                shadowed.iter().for_each(|&place| removed[place] = true);
                removed[last] = deletes;
                let value = &mut members[last].value;
                *value = merge(std::mem::replace(value, Node::Raw("null")), change.value);
            }
            None if deletes => {}
            None => {
                change.value = merge(Node::Raw("null"), change.value);
                added.push(change);
            }
        }
    }
    remove(members, &removed);
    added
        .into_iter()
        .for_each(|member| push_member(members, member));
}

/// Every name's places, in order.
fn places(members: &[Member<'_>]) -> HashMap<String, Vec<usize>> {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, member) in members.iter().enumerate() {
        places
            .entry(decode(&member.key).into_owned())
            .or_default()
            .push(place);
    }
    places
}

/// A patch that names a key twice means the last, as any reader of it would.
fn last_of_each_name(changes: Vec<Member<'_>>) -> impl Iterator<Item = Member<'_>> {
    let places = places(&changes);
    let last = move |place: usize, member: &Member<'_>| {
        places
            .get(&*decode(&member.key))
            .and_then(|places| places.last())
            == Some(&place)
    };
    changes
        .into_iter()
        .enumerate()
        .filter_map(move |(place, member)| last(place, &member).then_some(member))
}

fn remove(members: &mut Vec<Member<'_>>, removed: &[bool]) {
    let before = members.first().map_or("", |first| first.before);
    let after = members.last().map_or("", |last| last.after);
    let mut removed = removed.iter();
    members.retain(|_| removed.next() != Some(&true));
    if let Some(first) = members.first_mut() {
        first.before = before;
    }
    if let Some(last) = members.last_mut() {
        last.after = after;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::strategies;
    use super::*;

    #[test]
    fn rfc_7396_appendix_a() {
        for (document, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (
                r#"{"a":{"b":"c"}}"#,
                r#"{"a":{"b":"d","c":null}}"#,
                r#"{"a":{"b":"d"}}"#,
            ),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, "\"bar\"", "\"bar\""),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge_patch(document, patch), expected, "{document} {patch}");
        }
    }

    #[test]
    fn what_the_patch_does_not_name_keeps_its_bytes() {
        let document =
            "{\n  \"k\": 5.78650,\n  \"z\": [1e2,  1.0],\n  \"a\": {\"x\" :null, \"y\": -0}\n}\n";
        assert_eq!(
            merge_patch(document, r#"{"a":{"y":1.50},"new":true}"#),
            "{\n  \"k\": 5.78650,\n  \"z\": [1e2,  1.0],\n  \"a\": {\"x\" :null, \"y\": 1.50},\n  \"new\": true\n}\n"
        );
        assert_eq!(
            merge_patch(document, r#"{"k":null,"a":null}"#),
            "{\n  \"z\": [1e2,  1.0]\n}\n"
        );
    }

    #[test]
    fn a_touched_duplicate_is_left_once() {
        assert_eq!(
            merge_patch(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":4}"#),
            r#"{"b":2,"a":4}"#
        );
        assert_eq!(
            merge_patch(r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":null}"#),
            r#"{"b":2}"#
        );
        assert_eq!(
            merge_patch(r#"{"a":1,"b":2,"a":3}"#, r#"{"b":4}"#),
            r#"{"a":1,"b":4,"a":3}"#
        );
        assert_eq!(
            merge_patch("{}", r#"{"a":{"x":1},"a":{"y":2}}"#),
            r#"{"a":{"y":2}}"#
        );
    }

    fn reference(target: &mut Value, patch: &Value) {
        let Value::Object(changes) = patch else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = Value::Object(serde_json::Map::new());
        }
        let members = target.as_object_mut().unwrap();
        for (name, change) in changes {
            if change.is_null() {
                members.remove(name);
            } else {
                reference(members.entry(name.clone()).or_insert(Value::Null), change);
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn equals_the_reference_on_values(document in strategies::text(), patch in strategies::text()) {
            let mut expected: Value = serde_json::from_str(&document).unwrap();
            reference(&mut expected, &serde_json::from_str(&patch).unwrap());
            let patched: Value = serde_json::from_str(&merge_patch(&document, &patch)).unwrap();
            prop_assert_eq!(patched, expected);
        }
    }
}
