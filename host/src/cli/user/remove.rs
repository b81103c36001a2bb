//! `polyport user remove`: an account's section leaves the file.

use std::path::Path;

use clap::Args;

use super::{Outcome, change, find};

/// Arguments of `polyport user remove`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login
    name: String,
}

impl Command {
    /// Removes the section.
    pub fn run(self, file: &Path) -> Outcome {
        let home = change(file, |document, list| {
            let section = find(document, list, &self.name)?;
            document.remove(section);
            Ok(list
                .get(&self.name)
                .and_then(|account| account.home.clone()))
        })?;
        match home {
            Some(home) => println!("removed {}; its home {} stays", self.name, home.display()),
            None => println!("removed {}", self.name),
        }
        Ok(())
    }
}
