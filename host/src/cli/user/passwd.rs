//! `polyport user passwd`: a new password for an account.

use std::path::Path;

use clap::Args;

use super::{Outcome, change, find, password};
use crate::accounts::hash_password;

/// Arguments of `polyport user passwd`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login
    name: String,
}

impl Command {
    /// Asks for the password and writes its hash.
    pub fn run(self, file: &Path) -> Outcome {
        change(file, |document, list| find(document, list, &self.name))?;
        let hash = hash_password(&password::ask()?)?;
        change(file, |document, list| {
            let section = find(document, list, &self.name)?;
            document.set(section, "password", &hash)
        })?;
        println!("changed the password of {}", self.name);
        Ok(())
    }
}
