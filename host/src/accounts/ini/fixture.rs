//! What the tests of parsing and of editing share.

use proptest::prelude::*;

use super::{Document, Section};

/// The document of a well-formed text.
pub fn parse(text: &str) -> Document {
    let (document, malformed) = Document::parse(text);
    assert_eq!(malformed, []);
    document
}

/// Sections with their keys and values.
pub fn values(document: &Document) -> Vec<(String, Vec<(String, String)>)> {
    let pairs = |section: &Section| {
        section
            .items
            .iter()
            .map(|i| (i.key.clone(), i.value.clone()))
            .collect()
    };
    document
        .sections
        .iter()
        .map(|section| (section.id.clone(), pairs(section)))
        .collect()
}

/// A well-formed file, blank lines, comments and both line ends included.
pub fn file() -> impl Strategy<Value = String> {
    let item = "[ \t]{0,2}[a-z_]{1,6}[ ]{0,2}[=:][ ]{0,2}([a-zA-Z0-9$,=/:.;#-][a-zA-Z0-9 $,=/:.;#'\"\\\\-]{0,12}[a-z0-9])?[ ]?";
    let quoted = "[a-z]{1,6} = \"[a-z0-9 =#'\\\\]{0,8}[a-z]\"";
    let line = prop_oneof![4 => item, 1 => quoted, 1 => "[#;][a-z =\\[]{0,8}", 1 => ""];
    let section = (
        "[a-z0-9 ]{1,6}",
        prop::collection::vec((line, prop_oneof!["\n", "\r\n"]), 0..6),
    );
    prop::collection::vec(section, 0..5).prop_map(|sections| {
        let body = |lines: Vec<(String, String)>| {
            lines
                .into_iter()
                .map(|(line, end)| line + &end)
                .collect::<String>()
        };
        sections
            .into_iter()
            .map(|(id, lines)| format!("[x{id}]\n{}", body(lines)))
            .collect()
    })
}
