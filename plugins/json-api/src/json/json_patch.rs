//! JSON Patch (RFC 6902), on text.

use std::borrow::Cow;

use super::edit::{insert_item, position, push_member, remove_item, remove_member};
use super::equal::equal;
use super::pointer::{Pointer, array_index};
use super::string::{decode, encode};
use super::tree::{Extent, Member, Node, Tree};

/// How far a patch may go; `copy` would else double a document with every operation.
#[derive(Debug, Clone, Copy)]
pub struct PatchLimits {
    /// Bytes of the result.
    pub max_bytes: usize,
    /// Containers inside each other in the result.
    pub max_depth: usize,
    /// Operations in one patch.
    pub max_operations: usize,
}

/// Why a patch was not applied; the document is as it was. The text names the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is no JSON Patch.
    #[error("{0}")]
    Malformed(String),
    /// The document is not in the state that the patch needs.
    #[error("{0}")]
    Conflict(String),
    /// The result would be larger than allowed.
    #[error("{0}")]
    TooLarge(String),
    /// The result would be nested deeper than allowed.
    #[error("{0}")]
    TooDeep(String),
}

/// `document` after all operations of `patch`, or none of them; both validated texts.
///
/// What the operations do not touch keeps its bytes and its place.
pub fn json_patch(document: &str, patch: &str, limits: PatchLimits) -> Result<String, PatchError> {
    let mut tree = Tree::new(document);
    let mut patch = Tree::new(patch);
    let Some(operations) = patch.root.items() else {
        let expected = "expected an array of operations, got another JSON value";
        return Err(PatchError::Malformed(expected.to_owned()));
    };
    if operations.len() > limits.max_operations {
        let (most, got) = (limits.max_operations, operations.len());
        return Err(PatchError::TooLarge(format!(
            "expected at most {most} operations, got {got}"
        )));
    }
    let mut target = Target {
        root: &mut tree.root,
        bytes: document.len(),
        handled: 0,
        limits,
    };
    for (index, item) in operations.iter_mut().enumerate() {
        Operation::read(&mut item.value)
            .and_then(|operation| target.apply(operation))
            .map_err(|error| error.in_operation(index))?;
    }
    Ok(tree.text())
}

impl PatchError {
    fn in_operation(self, index: usize) -> Self {
        let place = |text| format!("operation {index}: {text}");
        match self {
            Self::Malformed(text) => Self::Malformed(place(text)),
            Self::Conflict(text) => Self::Conflict(place(text)),
            Self::TooLarge(text) => Self::TooLarge(place(text)),
            Self::TooDeep(text) => Self::TooDeep(place(text)),
        }
    }
}

/// How many times the largest document a patch may handle.
const MOST_HANDLED: usize = 64;

/// Section 4.
enum Operation<'a> {
    Add { path: Pointer, value: Node<'a> },
    Remove { path: Pointer },
    Replace { path: Pointer, value: Node<'a> },
    Move { from: Pointer, path: Pointer },
    Copy { from: Pointer, path: Pointer },
    Test { path: Pointer, value: Node<'a> },
}

impl<'a> Operation<'a> {
    fn read(node: &mut Node<'a>) -> Result<Self, PatchError> {
        let Some(members) = node.members() else {
            return Err(PatchError::Malformed(
                "expected an object, got another JSON value".to_owned(),
            ));
        };
        let path = pointer(members, "path");
        Ok(match &*text(members, "op")? {
            "add" => Self::Add {
                path: path?,
                value: value(members)?,
            },
            "remove" => Self::Remove { path: path? },
            "replace" => Self::Replace {
                path: path?,
                value: value(members)?,
            },
            "move" => Self::Move {
                from: pointer(members, "from")?,
                path: path?,
            },
            "copy" => Self::Copy {
                from: pointer(members, "from")?,
                path: path?,
            },
            "test" => Self::Test {
                path: path?,
                value: value(members)?,
            },
            other => {
                return Err(PatchError::Malformed(format!(
                    "expected \"op\" to be add, remove, replace, move, copy or test, got {}",
                    encode(other)
                )));
            }
        })
    }
}

fn value<'a>(members: &[Member<'a>]) -> Result<Node<'a>, PatchError> {
    match position(members, "value") {
        Some(index) => Ok(members[index].value.clone()),
        None => Err(PatchError::Malformed(
            "expected a \"value\", got none".to_owned(),
        )),
    }
}

fn text<'a>(members: &[Member<'a>], name: &str) -> Result<Cow<'a, str>, PatchError> {
    match position(members, name).map(|index| &members[index].value) {
        Some(Node::Raw(spelling)) if spelling.starts_with('"') => Ok(decode(spelling)),
        Some(_) => Err(PatchError::Malformed(format!(
            "expected \"{name}\" to be a string"
        ))),
        None => Err(PatchError::Malformed(format!(
            "expected a \"{name}\", got none"
        ))),
    }
}

fn pointer(members: &[Member<'_>], name: &str) -> Result<Pointer, PatchError> {
    Pointer::parse(&text(members, name)?)
        .map_err(|error| PatchError::Malformed(format!("\"{name}\": {error}")))
}

/// The document under the patch.
struct Target<'t, 'a> {
    root: &'t mut Node<'a>,
    /// About how large the document has become; layout is not counted.
    bytes: usize,
    /// Bytes of all values that operations put in or took out.
    handled: usize,
    limits: PatchLimits,
}

impl<'a> Target<'_, 'a> {
    fn apply(&mut self, operation: Operation<'a>) -> Result<(), PatchError> {
        match operation {
            Operation::Add { path, value } => self.add(&path, value),
            Operation::Remove { path } => self.remove(&path).map(drop),
            Operation::Replace { path, value } => {
                self.admit(&path, &value)?;
                let place = self.find(&path)?;
                let old = std::mem::replace(place, value);
                self.dismiss(&old)
            }
            Operation::Move { from, path } if from.contains(&path) => {
                let (from, path) = (from.tokens().join("/"), path.tokens().join("/"));
                Err(PatchError::Malformed(format!(
                    "expected \"path\" outside of \"/{from}\", got \"/{path}\""
                )))
            }
            Operation::Move { from, path } if from == path => self.find(&path).map(drop),
            Operation::Move { from, path } => {
                let value = self.remove(&from)?;
                self.add(&path, value)
            }
            Operation::Copy { from, path } => {
                let value = self.find(&from)?.clone();
                self.add(&path, value)
            }
            Operation::Test { path, mut value } => {
                let found = self.find(&path)?;
                if equal(found, &mut value) {
                    return Ok(());
                }
                let (expected, got) = (excerpt(&value), excerpt(found));
                Err(PatchError::Conflict(format!(
                    "test failed: expected {expected}, got {got}"
                )))
            }
        }
    }

    /// Refuses a value that would make the document too large or too deep, and counts it.
    fn admit(&mut self, path: &Pointer, value: &Node<'_>) -> Result<(), PatchError> {
        let extent = self.measure(value)?;
        self.bytes = self.bytes.saturating_add(extent.bytes);
        // Counted without layout and without what is replaced: the result is measured exactly later.
        if self.bytes > self.limits.max_bytes.saturating_mul(2) {
            let most = self.limits.max_bytes;
            return Err(PatchError::TooLarge(format!(
                "expected a document of at most {most} bytes, got more"
            )));
        }
        if path.tokens().len() + extent.depth > self.limits.max_depth {
            let most = self.limits.max_depth;
            return Err(PatchError::TooDeep(format!(
                "expected at most {most} levels of nesting, got more"
            )));
        }
        Ok(())
    }

    /// Counts a value that is no longer in the document.
    fn dismiss(&mut self, value: &Node<'_>) -> Result<(), PatchError> {
        let extent = self.measure(value)?;
        self.bytes = self.bytes.saturating_sub(extent.bytes);
        Ok(())
    }

    /// Measuring takes time: a patch must not have the same large part measured a thousand times.
    fn measure(&mut self, value: &Node<'_>) -> Result<Extent, PatchError> {
        let extent = value.extent();
        self.handled = self.handled.saturating_add(extent.bytes);
        let most = self.limits.max_bytes.saturating_mul(MOST_HANDLED);
        if self.handled > most {
            return Err(PatchError::TooLarge(format!(
                "expected operations on at most {most} bytes in all, got more"
            )));
        }
        Ok(extent)
    }

    fn find(&mut self, path: &Pointer) -> Result<&mut Node<'a>, PatchError> {
        find(self.root, path.tokens())
    }

    fn add(&mut self, path: &Pointer, value: Node<'a>) -> Result<(), PatchError> {
        self.admit(path, &value)?;
        let Some((name, parents)) = path.tokens().split_last() else {
            *self.root = value;
            return Ok(());
        };
        let parent = find(self.root, parents)?;
        if let Some(items) = parent.items() {
            let end = items.len();
            let index = if name == "-" {
                Some(end)
            } else {
                array_index(name, end + 1)
            };
            let Some(index) = index else {
                return Err(PatchError::Conflict(format!(
                    "expected \"-\" or an index up to {end}, got {}",
                    encode(name)
                )));
            };
            insert_item(items, index, value);
            return Ok(());
        }
        let Some(members) = parent.members() else {
            return Err(no_container(name));
        };
        match position(members, name) {
            Some(index) => {
                members[index].value = value;
                keep_only(members, name, index);
            }
            None => {
                let key = Cow::Owned(encode(name));
                push_member(
                    members,
                    Member {
                        before: "",
                        key,
                        colon: ":",
                        value,
                        after: "",
                    },
                );
            }
        }
        Ok(())
    }

    fn remove(&mut self, path: &Pointer) -> Result<Node<'a>, PatchError> {
        let Some((name, parents)) = path.tokens().split_last() else {
            let text = "expected a path inside the document; to remove all of it, use DELETE";
            return Err(PatchError::Malformed(text.to_owned()));
        };
        let parent = find(self.root, parents)?;
        let removed = if let Some(items) = parent.items() {
            let index = array_index(name, items.len()).ok_or_else(|| missing(name))?;
            remove_item(items, index)
        } else if let Some(members) = parent.members() {
            let index = position(members, name).ok_or_else(|| missing(name))?;
            let index = keep_only(members, name, index);
            remove_member(members, index)
        } else {
            return Err(no_container(name));
        };
        self.dismiss(&removed)?;
        Ok(removed)
    }
}

/// Removes what the member at `index` shadows, and tells its new place.
fn keep_only(members: &mut Vec<Member<'_>>, name: &str, mut index: usize) -> usize {
    while let Some(shadowed) = position(&members[..index], name) {
        remove_member(members, shadowed);
        index -= 1;
    }
    index
}

fn find<'t, 'a>(root: &'t mut Node<'a>, tokens: &[String]) -> Result<&'t mut Node<'a>, PatchError> {
    let mut node = root;
    for token in tokens {
        // Asked before borrowing, for one of the two branches has to give the node on.
        node = if node.items().is_some() {
            let items = node.items().ok_or_else(|| no_container(token))?;
            let index = array_index(token, items.len()).ok_or_else(|| missing(token))?;
            &mut items[index].value
        } else {
            let members = node.members().ok_or_else(|| no_container(token))?;
            let index = position(members, token).ok_or_else(|| missing(token))?;
            &mut members[index].value
        };
    }
    Ok(node)
}

fn missing(token: &str) -> PatchError {
    PatchError::Conflict(format!(
        "expected {} in the document, found nothing there",
        encode(token)
    ))
}

fn no_container(token: &str) -> PatchError {
    PatchError::Conflict(format!(
        "expected an object or array that holds {}, got a scalar",
        encode(token)
    ))
}

/// A value for an error text, cut to a readable length.
fn excerpt(node: &Node<'_>) -> String {
    const LONGEST: usize = 60;
    let text = node.text();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
#[path = "json_patch_tests.rs"]
mod tests;
