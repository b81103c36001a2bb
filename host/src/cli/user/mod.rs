//! `polyport user`: edits accounts.ini in place; a running host takes the change up by itself.
//!
//! Every edit leaves a file that the host accepts, and begins with one: a file with problems is
//! not touched, its problems are printed.

mod add;
mod can;
mod hash;
mod list;
mod passwd;
mod password;
mod remove;
mod token;

use std::error::Error;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::{Options, Outcome};
use crate::accounts::{AccountList, Document, EditError, edit};
use crate::config::{Config, Diagnostics};

/// Arguments of `polyport user`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add an account; asks for its password, or takes it from standard input
    Add(add::Command),
    /// Change an account's password; asks for it, or takes it from standard input
    Passwd(passwd::Command),
    /// List the accounts
    List(list::Command),
    /// Say whether an account may do something, and by which line of accounts.ini
    Can(can::Command),
    /// Make, list and remove API tokens of an account
    #[command(subcommand)]
    Token(token::Command),
    /// Remove an account; its home folder stays
    Remove(remove::Command),
    /// Replace plain passwords in the file by their hash, or print the hash of a password
    Hash(hash::Command),
}

impl Command {
    /// Does the chosen edit.
    pub fn run(self, options: &Options) -> Outcome {
        match self {
            Self::Add(command) => command.run(&accounts_file(options)?),
            Self::Passwd(command) => command.run(&accounts_file(options)?),
            Self::List(command) => command.run(&accounts_file(options)?),
            Self::Can(command) => command.run(options),
            Self::Token(command) => command.run(&accounts_file(options)?),
            Self::Remove(command) => command.run(&accounts_file(options)?),
            Self::Hash(command) => command.run(options),
        }
    }
}

/// The accounts file that the configuration names.
fn accounts_file(options: &Options) -> Result<PathBuf, Box<dyn Error>> {
    Ok(Config::load(&options.source())?.host.accounts)
}

/// Why an edit was refused.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Problems(#[from] Diagnostics),
    #[error("{0}")]
    Other(String),
}

/// Applies `change` to the file's sections; checks the file before and after.
fn change<T>(
    file: &Path,
    change: impl FnOnce(&mut Document, &AccountList) -> Result<T, String>,
) -> Result<T, Box<dyn Error>> {
    let edited = edit(file, |bytes| -> Result<_, Refusal> {
        let list = AccountList::parse(file, &bytes)?;
        let text = String::from_utf8_lossy(&bytes); // checked by the line above
        let (mut document, _) = Document::parse(&text);
        let value = change(&mut document, &list).map_err(Refusal::Other)?;
        let after = document.text().into_bytes();
        AccountList::parse(file, &after)?;
        Ok((after, value))
    });
    edited.map_err(|error| match error {
        EditError::Refused(refusal) => refusal.into(),
        error => error.into(),
    })
}

/// The index of the section of the account `name`: its login, or else its section's name.
fn find(document: &Document, list: &AccountList, name: &str) -> Result<usize, String> {
    let account = list
        .get(name)
        .or_else(|| list.iter().find(|account| account.id == name));
    account
        .and_then(|account| {
            let mut sections = document.sections.iter();
            sections.position(|section| section.id == account.id)
        })
        .ok_or_else(|| format!("there is no account {name:?}"))
}
