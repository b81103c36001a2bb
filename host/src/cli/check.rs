//! `polyport check`: everything a start or reload would refuse, without starting anything.

use std::io;

use clap::Args;

use super::{Options, Outcome};
use crate::accounts::{AccountList, LoadError as AccountsError};
use crate::config::{Config, Diagnostics, LoadError as ConfigError};
use crate::loader::Loader;
use crate::reload::{Examined, Libraries, examine};

/// Arguments of `polyport check`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Prints every problem and every warning, one line each; fails if there is a problem.
    pub fn run(self, options: &Options) -> Outcome {
        let mut found = Diagnostics::new();
        let config = match Config::load(&options.source()) {
            Ok(config) => Some(config),
            Err(ConfigError::Invalid(problems)) => {
                found.extend(problems);
                None
            }
            Err(error) => return Err(error.into()),
        };
        let mut summary = String::new();
        if let Some(config) = config {
            found.extend(config.folder_problems(|_| true));
            let accounts = AccountList::load(&config.host.accounts);
            found.extend(settings(&config, accounts.as_ref().ok())?);
            match accounts {
                Ok(list) => {
                    let services: Vec<&str> = config
                        .services
                        .iter()
                        .map(|service| service.name.as_str())
                        .collect();
                    found.extend(list.warnings().clone());
                    found.extend(list.unknown_services(&services));
                    summary = format!(
                        "{} services, {} accounts",
                        services.len(),
                        list.iter().count()
                    );
                }
                Err(AccountsError::Invalid(problems)) => found.extend(problems),
                Err(error) => return Err(error.into()),
            }
        }
        for one in found.iter() {
            println!("{one}");
        }
        match found.iter().filter(|one| one.is_error()).count() {
            0 => {
                println!("ok: {summary}");
                Ok(())
            }
            1 => Err("1 problem".into()),
            count => Err(format!("{count} problems").into()),
        }
    }
}

/// What the plugins say of their settings, which libraries and certificates cannot be used, and what should be
/// looked at.
fn settings(config: &Config, accounts: Option<&AccountList>) -> io::Result<Diagnostics> {
    // The running host's copies are not touched. The state folder is on a disk from which libraries
    // load; it may be missing, or another user's.
    let scratch = tempfile::tempdir_in(&config.host.state).or_else(|_| tempfile::tempdir())?;
    let loader = Loader::new(scratch.path());
    let mut found = Diagnostics::new();
    for examined in examine(&loader, config, accounts, &Libraries::Folder) {
        let Examined {
            error,
            problems,
            tls,
            warnings,
            ..
        } = examined;
        found.extend(error.into_iter().collect());
        found.extend(problems);
        found.extend(tls.err().unwrap_or_default());
        found.extend(warnings);
    }
    Ok(found.sorted())
}
