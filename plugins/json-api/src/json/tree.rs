//! A document opened only where a patch reaches in.
//!
//! A [`Node`] starts as a slice of the text. Opening a container splits it into its parts and keeps
//! the whitespace around each, so that what a patch does not touch is written back byte for byte,
//! and what it adds is laid out like its neighbours.

use std::borrow::Cow;

use super::lexer::{Kind, Lexer};
use super::string::decode;

/// A value, as text or opened by one level.
#[derive(Debug, Clone)]
pub enum Node<'a> {
    /// Untouched text, without whitespace around it.
    Raw(&'a str),
    /// An opened array.
    Array(Vec<Item<'a>>),
    /// An opened object; duplicate keys are kept.
    Object(Vec<Member<'a>>),
}

/// An array's element with the whitespace before it and behind it.
#[derive(Debug, Clone)]
pub struct Item<'a> {
    pub before: &'a str,
    pub value: Node<'a>,
    pub after: &'a str,
}

/// An object's member: whitespace, key in its own spelling, whitespace with the colon, value, whitespace.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    pub before: &'a str,
    pub key: Cow<'a, str>,
    pub colon: &'a str,
    pub value: Node<'a>,
    pub after: &'a str,
}

/// A whole text: its value and the whitespace around that.
#[derive(Debug, Clone)]
pub struct Tree<'a> {
    pub root: Node<'a>,
    before: &'a str,
    after: &'a str,
}

/// How large a value is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes as written.
    pub bytes: usize,
    /// Containers inside each other: 0 for a scalar.
    pub depth: usize,
}

impl<'a> Tree<'a> {
    /// The tree of a validated text.
    pub fn new(text: &'a str) -> Self {
        let (before, rest) = split_whitespace(text);
        let root = rest.trim_end_matches(WHITESPACE);
        Self {
            root: Node::Raw(root),
            before,
            after: &rest[root.len()..],
        }
    }

    /// The text again.
    pub fn text(&self) -> String {
        let mut out = String::from(self.before);
        self.root.write(&mut out);
        out.push_str(self.after);
        out
    }
}

impl<'a> Node<'a> {
    /// The members, if this is an object; opens it.
    pub fn members(&mut self) -> Option<&mut Vec<Member<'a>>> {
        self.open();
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The elements, if this is an array; opens it.
    pub fn items(&mut self) -> Option<&mut Vec<Item<'a>>> {
        self.open();
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// Whether this is an object, without opening it.
    pub fn is_object(&self) -> bool {
        match self {
            Self::Raw(text) => text.starts_with('{'),
            other => matches!(other, Self::Object(_)),
        }
    }

    /// Appends the text of the value.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Raw(text) => out.push_str(text),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    out.push_str(item.before);
                    item.value.write(out);
                    out.push_str(item.after);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                for (index, member) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    for part in [member.before, &member.key, member.colon] {
                        out.push_str(part);
                    }
                    member.value.write(out);
                    out.push_str(member.after);
                }
                out.push('}');
            }
        }
    }

    /// The text of the value.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    /// Bytes and depth, counted over the whole value.
    pub fn extent(&self) -> Extent {
        match self {
            Self::Raw(text) => Extent {
                bytes: text.len(),
                depth: depth(text),
            },
            Self::Array(items) => container(
                items
                    .iter()
                    .map(|item| (item.before.len() + item.after.len(), &item.value)),
            ),
            Self::Object(members) => container(members.iter().map(|member| {
                let [before, key, colon, after] =
                    [member.before, &member.key, member.colon, member.after].map(str::len);
                (before + key + colon + after, &member.value)
            })),
        }
    }

    fn open(&mut self) {
        let Self::Raw(text) = *self else { return };
        match text.as_bytes().first() {
            Some(b'{') => *self = Self::Object(parts(text).map(Part::member).collect()),
            Some(b'[') => *self = Self::Array(parts(text).map(Part::item).collect()),
            _ => {}
        }
    }
}

/// Where a key that readers would see stands: the last of its name.
pub fn position(members: &[Member<'_>], name: &str) -> Option<usize> {
    members
        .iter()
        .rposition(|member| decode(&member.key) == name)
}

/// Adds a member at the end, laid out like the one before it.
pub fn push_member<'a>(members: &mut Vec<Member<'a>>, mut member: Member<'a>) {
    let alone = members.len() == 1;
    if let Some(last) = members.last_mut() {
        (member.before, member.colon, member.after) = (last.before, last.colon, last.after);
        last.after = "";
        if alone && last.before.is_empty() && last.colon.ends_with(' ') {
            member.before = " ";
        }
    }
    members.push(member);
}

/// Removes one member; the layout of both ends of the object stays.
pub fn remove_member<'a>(members: &mut Vec<Member<'a>>, index: usize) -> Node<'a> {
    let removed = members.remove(index);
    if index == 0
        && let Some(first) = members.first_mut()
    {
        first.before = removed.before;
    }
    if index == members.len()
        && let Some(last) = members.last_mut()
    {
        last.after = removed.after;
    }
    removed.value
}

/// Inserts an element at `index`, at most the array's length, laid out like its neighbours.
pub fn insert_item<'a>(items: &mut Vec<Item<'a>>, index: usize, value: Node<'a>) {
    let mut item = Item {
        before: "",
        value,
        after: "",
    };
    if index == 0 {
        // What stood before the first element opens the array; its own place is now behind a comma.
        let apart = items.get(1).map(|second| second.before);
        if let Some(first) = items.first_mut() {
            item.before = first.before;
            first.before = apart.unwrap_or(first.before);
        }
    } else if let Some(there) = items.get(index) {
        item.before = there.before;
    } else if let Some(last) = items.last_mut() {
        item.before = last.before;
        item.after = std::mem::take(&mut last.after);
    }
    items.insert(index, item);
}

/// Removes one element; the layout of both ends of the array stays.
pub fn remove_item<'a>(items: &mut Vec<Item<'a>>, index: usize) -> Node<'a> {
    let removed = items.remove(index);
    if index == 0
        && let Some(first) = items.first_mut()
    {
        first.before = removed.before;
    }
    if index == items.len()
        && let Some(last) = items.last_mut()
    {
        last.after = removed.after;
    }
    removed.value
}

const WHITESPACE: [char; 4] = [' ', '\t', '\n', '\r'];

fn split_whitespace(text: &str) -> (&str, &str) {
    let rest = text.trim_start_matches(WHITESPACE);
    text.split_at(text.len() - rest.len())
}

fn depth(text: &str) -> usize {
    let mut lexer = Lexer::trusted(text);
    let mut deepest = 0;
    while let Ok(Some(_)) = lexer.token() {
        deepest = deepest.max(lexer.depth());
    }
    deepest
}

fn container<'n, 'a: 'n>(parts: impl Iterator<Item = (usize, &'n Node<'a>)>) -> Extent {
    let mut extent = Extent { bytes: 1, depth: 1 };
    for (own, value) in parts {
        let value = value.extent();
        extent.bytes += own + value.bytes + 1;
        extent.depth = extent.depth.max(value.depth + 1);
    }
    extent.bytes = extent.bytes.max(2);
    extent
}

/// One element or member of a container's text.
struct Part<'a> {
    before: &'a str,
    key: &'a str,
    colon: &'a str,
    value: &'a str,
    after: &'a str,
}

impl<'a> Part<'a> {
    fn item(self) -> Item<'a> {
        Item {
            before: self.before,
            value: Node::Raw(self.value),
            after: self.after,
        }
    }

    fn member(self) -> Member<'a> {
        Member {
            before: self.before,
            key: Cow::Borrowed(self.key),
            colon: self.colon,
            value: Node::Raw(self.value),
            after: self.after,
        }
    }
}

/// Splits the text of a container into its direct children.
fn parts(text: &str) -> impl Iterator<Item = Part<'_>> {
    let mut lexer = Lexer::trusted(text);
    let mut from = lexer
        .token()
        .ok()
        .flatten()
        .map_or(0, |opening| opening.end);
    std::iter::from_fn(move || {
        let mut token = lexer.token().ok().flatten()?;
        if lexer.depth() == 0 {
            return None;
        }
        let mut part = Part {
            before: "",
            key: "",
            colon: "",
            value: "",
            after: "",
        };
        part.before = text.get(from..token.start)?;
        if token.kind == Kind::Key {
            part.key = text.get(token.start..token.end)?;
            let colon_from = token.end;
            token = lexer.token().ok().flatten()?;
            part.colon = text.get(colon_from..token.start)?;
        }
        let start = token.start;
        while lexer.depth() > 1 {
            token = lexer.token().ok().flatten()?;
        }
        part.value = text.get(start..token.end)?;
        let (after, rest) = split_whitespace(text.get(token.end..)?);
        part.after = after;
        from = text.len() - rest.len() + 1;
        Some(part)
    })
}

#[cfg(test)]
pub mod strategies {
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
                prop::collection::vec(pair, 0..6)
                    .prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
                prop::collection::vec(item, 0..6)
                    .prop_map(|items| format!("[{}]", items.join(","))),
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open_everything(node: &mut Node<'_>) {
        if let Some(items) = node.items() {
            items
                .iter_mut()
                .for_each(|item| open_everything(&mut item.value));
        } else if let Some(members) = node.members() {
            members
                .iter_mut()
                .for_each(|member| open_everything(&mut member.value));
        }
    }

    fn push(text: &str) -> String {
        let mut tree = Tree::new(text);
        let member = Member {
            before: "",
            key: Cow::Borrowed("\"new\""),
            colon: ":",
            value: Node::Raw("1"),
            after: "",
        };
        push_member(tree.root.members().unwrap(), member);
        tree.text()
    }

    fn insert(text: &str, index: usize) -> String {
        let mut tree = Tree::new(text);
        insert_item(tree.root.items().unwrap(), index, Node::Raw("9"));
        tree.text()
    }

    #[test]
    fn additions_look_like_their_neighbours() {
        assert_eq!(push("{}"), r#"{"new":1}"#);
        assert_eq!(push(r#"{"a":1}"#), r#"{"a":1,"new":1}"#);
        assert_eq!(push(r#"{"a": 1}"#), r#"{"a": 1, "new": 1}"#);
        assert_eq!(
            push("{\n  \"a\" : 1\n}\n"),
            "{\n  \"a\" : 1,\n  \"new\" : 1\n}\n"
        );
        assert_eq!(insert("[]", 0), "[9]");
        assert_eq!(insert("[1, 2, 3]", 0), "[9, 1, 2, 3]");
        assert_eq!(insert("[1, 2, 3]", 1), "[1, 9, 2, 3]");
        assert_eq!(insert("[1, 2, 3]", 3), "[1, 2, 3, 9]");
        assert_eq!(insert("[\n 1\n]", 1), "[\n 1,\n 9\n]");
        assert_eq!(insert("[\n 1\n]", 0), "[\n 9,\n 1\n]");
    }

    #[test]
    fn removals_leave_both_ends_as_they_were() {
        for (index, expected) in [(0, "[ 2, 3 ]"), (1, "[ 1, 3 ]"), (2, "[ 1, 2 ]")] {
            let mut tree = Tree::new("[ 1, 2, 3 ]");
            remove_item(tree.root.items().unwrap(), index);
            assert_eq!(tree.text(), expected);
        }
        let mut tree = Tree::new("{\n  \"a\": 1,\n  \"b\": 2\n}");
        remove_member(tree.root.members().unwrap(), 1);
        assert_eq!(tree.text(), "{\n  \"a\": 1\n}");
    }

    proptest! {
        #[test]
        fn an_opened_tree_writes_the_text_it_was_opened_from(text in strategies::text()) {
            let mut tree = Tree::new(&text);
            let closed = tree.root.extent();
            open_everything(&mut tree.root);
            prop_assert_eq!(tree.text(), text.as_str());
            prop_assert_eq!(tree.root.extent(), closed);
        }
    }
}
