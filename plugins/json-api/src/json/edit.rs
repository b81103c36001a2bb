//! Adding and removing the parts of an opened container, with the layout of its neighbours.

use super::string::decode;
use super::tree::{Item, Member, Node};

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

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::tree::Tree;
    use super::*;

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
}
