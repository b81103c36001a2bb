//! JSON text as text: everything here keeps the client's own spelling.
//!
//! A stored document is the bytes a client sent. So nothing in this module turns a number into a
//! float, reorders a key or re-escapes a string: the [`lexer`] finds where tokens begin and end,
//! [`validate`](fn@validate) and [`pretty`](fn@pretty) are passes over those tokens, and the two
//! patch formats edit a lazily opened [`tree`] whose untouched parts are slices of the original.
//! Knows RFC 8259, 6901, 6902 and 7396; knows nothing of HTTP and of storage.

mod edit;
mod equal;
mod json_patch;
mod lexer;
mod merge_patch;
mod number;
mod pointer;
mod pretty;
#[cfg(test)]
mod strategies;
mod string;
mod syntax_error;
mod tree;
mod validate;

pub use json_patch::{PatchError, PatchLimits, json_patch};
pub use merge_patch::merge_patch;
pub use pretty::pretty;
pub use string::encode;
pub use syntax_error::SyntaxError;
pub use validate::{DuplicateKeys, Rules, validate};
