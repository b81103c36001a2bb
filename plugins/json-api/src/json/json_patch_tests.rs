//! JSON Patch against RFC 6902's own examples, a reference on values, and its limits.

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::json::strategies;

const LIMITS: PatchLimits = PatchLimits {
    max_bytes: 10_000,
    max_depth: 50,
    max_operations: 100,
};

fn patched(document: &str, patch: &str) -> String {
    json_patch(document, patch, LIMITS).unwrap()
}

fn refused(document: &str, patch: &str) -> PatchError {
    json_patch(document, patch, LIMITS).unwrap_err()
}

#[test]
fn rfc_6902_appendix_a() {
    for (section, document, patch, expected) in [
        (
            "A.1",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz","value":"qux"}]"#,
            r#"{"foo":"bar","baz":"qux"}"#,
        ),
        (
            "A.2",
            r#"{"foo":["bar","baz"]}"#,
            r#"[{"op":"add","path":"/foo/1","value":"qux"}]"#,
            r#"{"foo":["bar","qux","baz"]}"#,
        ),
        (
            "A.3",
            r#"{"baz":"qux","foo":"bar"}"#,
            r#"[{"op":"remove","path":"/baz"}]"#,
            r#"{"foo":"bar"}"#,
        ),
        (
            "A.4",
            r#"{"foo":["bar","qux","baz"]}"#,
            r#"[{"op":"remove","path":"/foo/1"}]"#,
            r#"{"foo":["bar","baz"]}"#,
        ),
        (
            "A.5",
            r#"{"baz":"qux","foo":"bar"}"#,
            r#"[{"op":"replace","path":"/baz","value":"boo"}]"#,
            r#"{"baz":"boo","foo":"bar"}"#,
        ),
        (
            "A.6",
            r#"{"foo":{"bar":"baz","waldo":"fred"},"qux":{"corge":"grault"}}"#,
            r#"[{"op":"move","from":"/foo/waldo","path":"/qux/thud"}]"#,
            r#"{"foo":{"bar":"baz"},"qux":{"corge":"grault","thud":"fred"}}"#,
        ),
        (
            "A.7",
            r#"{"foo":["all","grass","cows","eat"]}"#,
            r#"[{"op":"move","from":"/foo/1","path":"/foo/3"}]"#,
            r#"{"foo":["all","cows","eat","grass"]}"#,
        ),
        (
            "A.8",
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
            r#"[{"op":"test","path":"/baz","value":"qux"},{"op":"test","path":"/foo/1","value":2}]"#,
            r#"{"baz":"qux","foo":["a",2,"c"]}"#,
        ),
        (
            "A.10",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/child","value":{"grandchild":{}}}]"#,
            r#"{"foo":"bar","child":{"grandchild":{}}}"#,
        ),
        (
            "A.11",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz","value":"qux","xyz":123}]"#,
            r#"{"foo":"bar","baz":"qux"}"#,
        ),
        (
            "A.14",
            r#"{"/":9,"~1":10}"#,
            r#"[{"op":"test","path":"/~01","value":10}]"#,
            r#"{"/":9,"~1":10}"#,
        ),
        (
            "A.16",
            r#"{"foo":["bar"]}"#,
            r#"[{"op":"add","path":"/foo/-","value":["abc","def"]}]"#,
            r#"{"foo":["bar",["abc","def"]]}"#,
        ),
    ] {
        assert_eq!(patched(document, patch), expected, "{section}");
    }
    for (section, document, patch) in [
        (
            "A.9",
            r#"{"baz":"qux"}"#,
            r#"[{"op":"test","path":"/baz","value":"bar"}]"#,
        ),
        (
            "A.12",
            r#"{"foo":"bar"}"#,
            r#"[{"op":"add","path":"/baz/bat","value":"qux"}]"#,
        ),
        (
            "A.15",
            r#"{"/":9,"~1":10}"#,
            r#"[{"op":"test","path":"/~01","value":"10"}]"#,
        ),
    ] {
        assert!(
            matches!(refused(document, patch), PatchError::Conflict(_)),
            "{section}"
        );
    }
}

#[test]
fn what_the_operations_do_not_touch_keeps_its_bytes() {
    let document = "{\n  \"k\": 5.78650,\n  \"list\": [ 1e2, 1.0 ],\n  \"last\": null\n}\n";
    let patch = r#"[
        {"op":"add","path":"/list/-","value":2.50},
        {"op":"replace","path":"/last","value":{"a" : 1}},
        {"op":"copy","from":"/k","path":"/copy"},
        {"op":"test","path":"/list/0","value":100}
    ]"#;
    assert_eq!(
        patched(document, patch),
        "{\n  \"k\": 5.78650,\n  \"list\": [ 1e2, 1.0, 2.50 ],\n  \"last\": {\"a\" : 1},\n  \"copy\": 5.78650\n}\n"
    );
}

#[test]
fn errors_name_the_operation_and_what_it_expected() {
    for (patch, expected) in [
        (
            "{}",
            "expected an array of operations, got another JSON value",
        ),
        (
            "[1]",
            "operation 0: expected an object, got another JSON value",
        ),
        (
            r#"[{"op":"test","path":"/a","value":1},{"path":"/a"}]"#,
            "operation 1: expected a \"op\", got none",
        ),
        (
            r#"[{"op":"set","path":"/a"}]"#,
            "operation 0: expected \"op\" to be add, remove, replace, move, copy or test, got \"set\"",
        ),
        (
            r#"[{"op":"add","path":"/a"}]"#,
            "operation 0: expected a \"value\", got none",
        ),
        (
            r#"[{"op":"add","path":5,"value":1}]"#,
            "operation 0: expected \"path\" to be a string",
        ),
        (
            r#"[{"op":"remove","path":"a"}]"#,
            "operation 0: \"path\": expected \"\" or a pointer that starts with '/', got \"a\"",
        ),
        (
            r#"[{"op":"remove","path":""}]"#,
            "operation 0: expected a path inside the document; to remove all of it, use DELETE",
        ),
        (
            r#"[{"op":"remove","path":"/b"}]"#,
            "operation 0: expected \"b\" in the document, found nothing there",
        ),
        (
            r#"[{"op":"add","path":"/list/3","value":1}]"#,
            "operation 0: expected \"-\" or an index up to 1, got \"3\"",
        ),
        (
            r#"[{"op":"add","path":"/a/b","value":1}]"#,
            "operation 0: expected an object or array that holds \"b\", got a scalar",
        ),
        (
            r#"[{"op":"test","path":"/a","value":{"x":1}}]"#,
            "operation 0: test failed: expected {\"x\":1}, got 1",
        ),
        (
            r#"[{"op":"move","from":"/list","path":"/list/0"}]"#,
            "operation 0: expected \"path\" outside of \"/list\", got \"/list/0\"",
        ),
    ] {
        assert_eq!(
            refused(r#"{"a":1,"list":[0]}"#, patch).to_string(),
            expected,
            "{patch}"
        );
    }
}

#[test]
fn a_touched_duplicate_is_left_once() {
    let document = r#"{"a":1,"b":2,"a":3}"#;
    assert_eq!(
        patched(document, r#"[{"op":"add","path":"/a","value":4}]"#),
        r#"{"b":2,"a":4}"#
    );
    assert_eq!(
        patched(document, r#"[{"op":"remove","path":"/a"}]"#),
        r#"{"b":2}"#
    );
}

#[test]
fn copies_of_copies_do_not_grow_without_bound() {
    let double = r#"{"op":"copy","from":"","path":"/x"},{"op":"move","from":"/x","path":"/y"},{"op":"copy","from":"/y","path":"/z"}"#;
    let patch = format!("[{}]", vec![double; 30].join(","));
    let error = refused(r#"{"a":"0123456789"}"#, &patch);
    assert!(
        matches!(error, PatchError::TooLarge(_) | PatchError::TooDeep(_)),
        "{error}"
    );
    let deep = vec![r#"{"op":"copy","from":"","path":"/x"}"#; 51].join(",");
    assert!(matches!(
        refused("{}", &format!("[{deep}]")),
        PatchError::TooDeep(_)
    ));
    let many = vec![r#"{"op":"test","path":"","value":{}}"#; 101].join(",");
    assert!(matches!(
        refused("{}", &format!("[{many}]")),
        PatchError::TooLarge(_)
    ));
}

#[test]
fn moving_large_parts_to_and_fro_is_bounded() {
    let document = format!("{{\"a\":\"{}\"}}", "x".repeat(9_000));
    let there = r#"{"op":"move","from":"/a","path":"/b"}"#;
    let back = r#"{"op":"move","from":"/b","path":"/a"}"#;
    let patch = |times| format!("[{}]", vec![[there, back].join(","); times].join(","));
    assert_eq!(patched(&document, &patch(10)), document);
    assert_eq!(
        refused(&document, &patch(50)).to_string(),
        "operation 35: expected operations on at most 640000 bytes in all, got more"
    );
}

/// The operations on values, as plainly as they can be said; `None` where the standard says error.
fn reference(document: &mut Value, operation: &Value) -> Option<()> {
    let path = operation["path"].as_str()?;
    match operation["op"].as_str()? {
        "add" => add(document, path, operation["value"].clone()),
        "remove" => remove(document, path).map(drop),
        "replace" => {
            *document.pointer_mut(path)? = operation["value"].clone();
            Some(())
        }
        "move" => {
            let from = operation["from"].as_str()?;
            if path.starts_with(&format!("{from}/")) {
                return None;
            }
            let value = document.pointer(from)?.clone();
            if from != path {
                remove(document, from)?;
                add(document, path, value)?;
            }
            Some(())
        }
        "copy" => {
            let value = document.pointer(operation["from"].as_str()?)?.clone();
            add(document, path, value)
        }
        _ => None,
    }
}

fn add(document: &mut Value, path: &str, value: Value) -> Option<()> {
    let Some((parent, name)) = path.rsplit_once('/') else {
        *document = value;
        return Some(());
    };
    let name = name.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent)? {
        Value::Array(items) if name == "-" => items.push(value),
        Value::Array(items) => {
            let index = array_index(&name, items.len() + 1)?;
            items.insert(index, value);
        }
        Value::Object(members) => drop(members.insert(name, value)),
        _ => return None,
    }
    Some(())
}

fn remove(document: &mut Value, path: &str) -> Option<Value> {
    let (parent, name) = path.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    match document.pointer_mut(parent)? {
        Value::Array(items) => {
            let index = array_index(&name, items.len())?;
            Some(items.remove(index))
        }
        Value::Object(members) => members.shift_remove(&name),
        _ => None,
    }
}

fn path() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "", "/a", "/b", "/", "/~1", "/~0", "/0", "/1", "/-", "/a/a", "/a/0", "/a/-", "/b/b",
        "/0/0", "/0/a", "/a/0/b",
    ])
}

fn operation() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["add", "add", "replace", "remove", "move", "copy"]);
    (name, path(), path(), strategies::text()).prop_map(|(name, path, from, value)| {
        format!(r#"{{"op":"{name}","path":"{path}","from":"{from}","value":{value}}}"#)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn equals_the_reference_on_values(
        document in strategies::text(),
        operations in prop::collection::vec(operation(), 0..5),
    ) {
        let patch = format!("[{}]", operations.join(","));
        let mut expected: Value = serde_json::from_str(&document).unwrap();
        let parsed: Vec<Value> = serde_json::from_str(&patch).unwrap();
        let applied = parsed.iter().all(|operation| reference(&mut expected, operation).is_some());
        match json_patch(&document, &patch, PatchLimits { max_bytes: 100_000, ..LIMITS }) {
            Ok(result) => {
                prop_assert!(applied, "{} applied to {}", patch, document);
                prop_assert_eq!(serde_json::from_str::<Value>(&result).unwrap(), expected);
            }
            Err(error) => prop_assert!(!applied, "{}: {} to {}", error, patch, document),
        }
    }
}
