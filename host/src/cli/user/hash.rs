//! `polyport user hash`: plain passwords in the file become hashes; or prints one.

use clap::Args;

use super::{Options, Outcome, accounts_file, change, find, password};
use crate::accounts::Secret;

/// Arguments of `polyport user hash`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login of the account whose plain password is to be hashed; without it, a password is
    /// asked for and its hash printed
    name: Option<String>,
    /// Hash every plain password in the file
    #[arg(long, conflicts_with = "name")]
    all: bool,
    #[command(flatten)]
    form: password::Form,
}

impl Command {
    /// Hashes in the file, or prints.
    pub fn run(self, options: &Options) -> Outcome {
        if self.name.is_none() && !self.all {
            println!("{}", self.form.write(&password::ask()?)?);
            return Ok(());
        }
        let hashed = change(&accounts_file(options)?, |document, list| {
            if let Some(name) = &self.name {
                find(document, list, name)?;
            }
            let meant = |login: &str, id: &str| {
                self.name
                    .as_ref()
                    .is_none_or(|name| name == login || name == id)
            };
            let mut hashed = Vec::new();
            for account in list
                .iter()
                .filter(|account| meant(&account.name, &account.id))
            {
                if let Some(Secret::Plain(plain)) = &account.secret {
                    let hash = self.form.write(plain.as_bytes());
                    let hash = hash.map_err(|error| format!("{}: {error}", account.name))?;
                    let section = find(document, list, &account.name)?;
                    document.set(section, "password", &hash)?;
                    hashed.push(account.name.clone());
                }
            }
            Ok(hashed)
        })?;
        for name in &hashed {
            println!("hashed the password of {name}");
        }
        if hashed.is_empty() {
            println!("there was no plain password");
        }
        Ok(())
    }
}
