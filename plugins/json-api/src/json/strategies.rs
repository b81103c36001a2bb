//! JSON texts with random layout and spelling.

use proptest::prelude::*;

/// A valid JSON text, at most four levels deep, whose numbers fit a float.
pub fn text() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        "-?(0|[1-9][0-9]{0,18})(\\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?",
        string(),
    ];
    let value = scalar.prop_recursive(4, 64, 6, |inner| {
        let pair = (space(), key(), space(), space(), inner.clone(), space())
            .prop_map(|(a, key, b, c, value, d)| format!("{a}{key}{b}:{c}{value}{d}"));
        let item = (space(), inner, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        prop_oneof![
            prop::collection::vec(pair, 0..6).prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
        ]
    });
    (space(), value, space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"))
}

fn key() -> impl Strategy<Value = String> {
    // Few names, one of them in two spellings, so that patches meet what is there.
    prop_oneof![
        4 => prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\"", "\"/\"", "\"~\"", "\"0\""])
            .prop_map(str::to_owned),
        1 => string(),
    ]
}

fn string() -> impl Strategy<Value = String> {
    "\"([ a-z0-9ä€😀/{}\\[\\],:]|\\\\[\"\\\\/bfnrt]|\\\\u(00[0-9a-f]{2}|20AC|D83D\\\\uDE00)){0,6}\""
}

fn space() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 1 => "[ \\t\\n\\r]{1,3}"]
}
