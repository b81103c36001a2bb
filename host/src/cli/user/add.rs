//! `polyport user add`: a new section at the end of accounts.ini, and its home folder.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Outcome, change, password};
use crate::accounts::{ANONYMOUS, AccountList, Document, is_expiry};
use crate::config::is_name;

/// The mode of a new home: not for everybody on the machine.
const HOME_MODE: u32 = 0o750;

/// Arguments of `polyport user add`.
#[derive(Debug, Args)]
pub struct Command {
    /// The login: letters, digits, '.', '_', '-' and '@', at most 64
    #[arg(value_parser = login)]
    name: String,
    /// Home folder, made if it is missing; a relative one begins at the folder of accounts.ini [default: home/NAME]
    #[arg(long, value_name = "DIR")]
    home: Option<String>,
    /// No home: the account sees the shared folders, as far as its rights go
    #[arg(long, conflicts_with = "home")]
    no_home: bool,
    /// The services the account is for, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = service)]
    services: Vec<String>,
    /// The groups the account is in, separated by commas: their sections of accounts.ini are "group:NAME"
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    groups: Vec<String>,
    /// Last day (2026-12-31, UTC) or end (2026-12-31T18:00:00Z) of the account
    #[arg(long, value_name = "DATE", value_parser = expiry)]
    expire: Option<String>,
    /// Ask for no password: nobody can log in until `user passwd` sets one
    #[arg(long)]
    no_password: bool,
    #[command(flatten)]
    form: password::Form,
}

impl Command {
    /// Adds the account.
    pub fn run(self, file: &Path) -> Outcome {
        // Before anybody types a password in vain.
        change(file, |document, list| self.check_new(document, list))?;
        let hash = if self.no_password {
            None
        } else {
            Some(self.form.write(&password::ask()?)?)
        };
        let home = (!self.no_home).then(|| {
            self.home
                .clone()
                .unwrap_or_else(|| format!("home/{}", self.name))
        });
        let folder = home
            .as_ref()
            .map(|home| file.parent().unwrap_or(Path::new("")).join(home));
        if let Some(folder) = &folder {
            make_home(folder, file)
                .map_err(|error| format!("cannot make the home {}: {error}", folder.display()))?;
        }
        change(file, |document, list| {
            self.check_new(document, list)?;
            self.append(document, home.as_deref(), hash)
        })?;
        match folder {
            Some(folder) => println!("added {} with the home {}", self.name, folder.display()),
            None => println!("added {}", self.name),
        }
        Ok(())
    }

    fn check_new(&self, document: &Document, list: &AccountList) -> Result<(), String> {
        if list.get(&self.name).is_some() {
            return Err(format!("there is an account {:?} already", self.name));
        }
        if document
            .sections
            .iter()
            .any(|section| section.id == self.name)
        {
            return Err(format!(
                "there is a section [{}] already, of an account with another name",
                self.name
            ));
        }
        match self.groups.iter().find(|name| !list.has_group(name)) {
            Some(name) => Err(format!("there is no section [group:{name}]")),
            None => Ok(()),
        }
    }

    fn append(
        &self,
        document: &mut Document,
        home: Option<&str>,
        hash: Option<String>,
    ) -> Result<(), String> {
        let mut items = vec![("name", self.name.clone())];
        items.extend(hash.map(|hash| ("password", hash)));
        items.extend(home.map(|home| ("home", home.to_owned())));
        items.extend(self.expire.clone().map(|date| ("expire", date)));
        if !self.services.is_empty() {
            items.push(("services", self.services.join(", ")));
        }
        if !self.groups.is_empty() {
            items.push(("groups", self.groups.join(", ")));
        }
        document.append(&self.name, &items)
    }
}

/// Makes the folder and the ones above it. What root makes is given to the owner of the accounts
/// file, as whom the host usually runs: a home that it cannot write is no use.
fn make_home(folder: &Path, accounts: &Path) -> io::Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut above = Some(folder);
    while let Some(one) = above.filter(|one| !one.as_os_str().is_empty() && !one.exists()) {
        missing.push(one.to_owned());
        above = one.parent();
    }
    DirBuilder::new()
        .recursive(true)
        .mode(HOME_MODE)
        .create(folder)?;
    let Ok(owner) = fs::metadata(accounts) else {
        return Ok(());
    };
    for one in missing {
        let ours = fs::metadata(&one)?;
        if (ours.uid(), ours.gid()) != (owner.uid(), owner.gid()) && ours.uid() == 0 {
            chown(&one, Some(owner.uid()), Some(owner.gid()))?;
        }
    }
    Ok(())
}

fn login(text: &str) -> Result<String, String> {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    if text == ANONYMOUS {
        return Err(format!(
            "{text:?} is built in: write a section [{ANONYMOUS}] to let clients in without account"
        ));
    }
    if text.is_empty()
        || text.len() > 64
        || !text.bytes().all(known)
        || text.starts_with(['.', '-'])
    {
        return Err("expected letters, digits, '.', '_', '-' and '@', at most 64, not beginning with '.' or '-'".into());
    }
    Ok(text.to_owned())
}

fn service(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected the name of a service, such as mqtt".into())
    }
}

fn expiry(text: &str) -> Result<String, String> {
    if is_expiry(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a date such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_that_are_no_folder_names_are_refused() {
        for wrong in [
            "",
            ".",
            "..",
            ".hidden",
            "-x",
            "a/b",
            "a b",
            "a\0",
            "ü",
            "anonymous",
            &"x".repeat(65),
        ] {
            assert!(login(wrong).is_err(), "{wrong}");
        }
        for right in ["xzz", "x.y_z-1@example.org"] {
            assert_eq!(login(right).unwrap(), right);
        }
    }

    #[test]
    fn the_home_and_what_is_above_it_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home/a");
        make_home(&home, &folder.path().join("accounts.ini")).unwrap();
        make_home(&home, &folder.path().join("accounts.ini")).unwrap();
        assert!(home.is_dir());
    }
}
