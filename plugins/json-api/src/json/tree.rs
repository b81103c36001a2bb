//! A document opened only where a patch reaches in.
//!
//! A [`Node`] starts as a slice of the text. Opening a container splits it into its parts and keeps
//! the whitespace around each, so that what a patch does not touch is written back byte for byte,
//! and what it adds is laid out like its neighbours.

use std::borrow::Cow;

use super::lexer::{Kind, Lexer};

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
mod tests {
    use proptest::prelude::*;

    use super::super::strategies;
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
