//! `polyport user passwd`: a new password for an account.

use std::path::Path;

use clap::Args;

use super::{Outcome, change, find, password};
use crate::accounts::Secret;

/// Arguments of `polyport user passwd`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login
    name: String,
    #[command(flatten)]
    form: password::Form,
}

impl Command {
    /// Asks for the password and writes its hash.
    pub fn run(self, file: &Path) -> Outcome {
        change(file, |document, list| find(document, list, &self.name))?;
        let hash = self.form.write(&password::ask()?)?;
        let had_verifier = change(file, |document, list| {
            let section = find(document, list, &self.name)?;
            document.set(section, "password", &hash)?;
            let id = &document.sections[section].id;
            let account = list.iter().find(|account| account.id == *id);
            let secret = account.and_then(|account| account.secret.as_ref());
            Ok(matches!(secret, Some(Secret::Hash(hash)) if hash.verifier().is_some()))
        })?;
        println!("changed the password of {}", self.name);
        if had_verifier && self.form.scram.is_none() {
            println!("it had a SCRAM verifier, and has none now: --scram makes one");
        }
        Ok(())
    }
}
