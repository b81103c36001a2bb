//! `operate/1`: what an operator may ask of a running instance, from the plugin to the host.
//!
//! The plugin names its commands in what `plugin/1` describes, as `"commands"`: a list of [`Command`]. The host takes
//! words and rows along and knows neither.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RVec};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::InterfaceTable;
use crate::plugin::InstanceHandle;

/// `operate/1`, from the plugin to the host.
///
/// The host asks for the answer piece by piece, so that a command waits for whoever reads it.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OperateV1 {
    /// Begins a command, a [`Request`] in JSON; returns at once. The operation may outlive the instance.
    pub begin: extern "C" fn(instance: InstanceHandle, request: RSlice<'_, u8>) -> OperationHandle,
    /// Asks for what comes next: `piece` is called once, from any thread and perhaps before this returns, as soon as
    /// there is something. Not to be called again before that.
    pub next: extern "C" fn(operation: OperationHandle, user_data: *mut (), piece: PieceDone),
    /// Ends and frees it. A `next` that was not answered yet is answered before this returns, with nothing.
    pub end: extern "C" fn(operation: OperationHandle),
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for OperateV1 {
    const ID: &'static str = "operate/1";
}

/// A command under way.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct OperationHandle {
    /// The plugin's own.
    pub operation: *mut (),
}

// SAFETY: the contract lets the host call from any thread, one call at a time for each operation.
unsafe impl Send for OperationHandle {}

/// How the host is answered.
#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct PieceDone {
    /// Takes the `user_data` that was given along and whole lines, each a [`Said`] in JSON; none when the operation
    /// is over.
    pub call: extern "C" fn(user_data: *mut (), lines: RVec<u8>),
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The command's name.
    pub command: String,
    /// What was typed after it.
    #[serde(default)]
    pub arguments: Vec<String>,
}

/// One line of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Said {
    /// Something that was asked for: an object, whose keys the command's columns name.
    Row(Value),
    /// A remark for the operator.
    Note(String),
    /// The end; always the last line.
    End(End),
}

/// How an operation ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// One of the `END_` numbers; any other is [`END_FAILED`].
    pub code: u8,
    /// Why, if it is not done.
    #[serde(default)]
    pub text: String,
}

/// All was done.
pub const END_DONE: u8 = 0;
/// It came to nothing, or to less than was asked.
pub const END_FAILED: u8 = 1;
/// What was typed cannot be a command.
pub const END_USAGE: u8 = 2;
/// The instance makes way for another, which may be asked.
pub const END_ELSEWHERE: u8 = 3;

/// A command as the plugin describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Command {
    /// Its name: one word.
    pub name: String,
    /// What stands after it: `[FILTER]`.
    pub operands: String,
    /// What it does, in a few words.
    pub about: String,
    /// What may be typed beside the operands.
    pub options: Vec<CommandOption>,
    /// What a row shows, in this order.
    pub columns: Vec<Column>,
    /// How rows are shown.
    pub form: Form,
    /// It goes on until it is ended, and is begun anew with the next instance.
    pub follows: bool,
}

/// An option of a command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CommandOption {
    /// Its names, and that of its value if it has one: `-u --user USER`.
    pub option: String,
    /// What it means.
    pub about: String,
}

/// How rows are shown to who wants no JSON.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// With a head, the columns beneath each other.
    #[default]
    Table,
    /// Each by itself, without a head.
    Lines,
    /// Forms of a later ABI are shown as tables.
    #[serde(other)]
    Unknown,
}

/// A column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// The key in the row.
    pub key: String,
    /// What stands above it.
    pub title: String,
    /// How its values are shown.
    pub shows: Shows,
}

/// How a value is shown to who wants no JSON. An object whose only key is `base64` stands for bytes that are no text,
/// null for nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shows {
    /// As it is.
    #[default]
    Plain,
    /// Milliseconds since 1970, as date and time.
    Time,
    /// Seconds, as days, hours, minutes.
    Span,
    /// Those of a later ABI are shown as they are.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_one_line_of_json() {
        let row = Said::Row(serde_json::json!({"a": "b\nc"}));
        let line = serde_json::to_string(&row).unwrap();
        assert_eq!(line, r#"{"row":{"a":"b\nc"}}"#);
        let end = Said::End(End::default());
        let line = serde_json::to_string(&end).unwrap();
        assert_eq!(line, r#"{"end":{"code":0,"text":""}}"#);
        assert_eq!(
            serde_json::from_str::<Said>(r#"{"end":{"code":1}}"#).unwrap(),
            Said::End(End {
                code: END_FAILED,
                text: String::new()
            })
        );
    }

    #[test]
    fn what_a_later_abi_adds_to_a_command_is_read_over() {
        let command: Command = serde_json::from_str(
            r#"{"name":"x","form":"tree","columns":[{"key":"k","shows":"colour","width":3}],"more":1}"#,
        )
        .unwrap();
        assert_eq!(
            (command.form, command.columns[0].shows),
            (Form::Unknown, Shows::Unknown)
        );
    }
}
