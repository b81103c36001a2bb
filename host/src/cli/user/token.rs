//! `polyport user token`: API tokens of an account. A token is shown once, when it is made.

use std::path::Path;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Outcome, change, find};
use crate::accounts::{AccountList, TOKEN_KEY, Token, expiry_from_now, is_expiry};
use crate::config::is_name;

/// What `--expires` says for a token that never does.
const NEVER: &str = "never";

/// Arguments of `polyport user token`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a token for an account and print it: it stands for the password, with less rights
    Add(Add),
    /// List the tokens
    List(List),
    /// Remove a token; its sessions end
    Remove(Remove),
}

/// Arguments of `polyport user token add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The login of the account
    user: String,
    /// The token's name among those of the account: a-z, 0-9, _ and - [default: token-1, token-2 …]
    #[arg(long, value_parser = token_name)]
    name: Option<String>,
    /// When it ends: after a time (30d, 12h, 4w), on a date (2026-12-31), or never
    #[arg(long, value_name = "WHEN", value_parser = expires)]
    expires: String,
    /// What it may be used for, out of what the account may do.
    #[arg(
        long,
        help = "What it may be used for, out of what the account may do: \"[SERVICE:] ACTIONS PATTERN\", such as \
                \"files: read /fw/**\"; may be given more than once [default: all that the account may do]"
    )]
    scope: Vec<String>,
}

/// Arguments of `polyport user token list`.
#[derive(Debug, Args)]
pub struct List {
    /// The login of the account [default: all]
    user: Option<String>,
}

/// Arguments of `polyport user token remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The login of the account
    user: String,
    /// The token's name
    name: String,
}

impl Command {
    /// Does the chosen.
    pub fn run(self, file: &Path) -> Outcome {
        match self {
            Self::Add(command) => command.run(file),
            Self::List(command) => command.run(file),
            Self::Remove(command) => command.run(file),
        }
    }
}

impl Add {
    fn run(self, file: &Path) -> Outcome {
        let (token, hash) = Token::generate()?;
        let name = change(file, |document, list| {
            let section = find(document, list, &self.user)?;
            let login = login_of(list, &self.user);
            let taken = |name: &str| list.tokens_of(login).iter().any(|one| one.name == name);
            let name = match &self.name {
                Some(name) if taken(name) => {
                    return Err(format!("{login} has a token {name:?} already"));
                }
                Some(name) => name.clone(),
                None => (1..)
                    .map(|number: u32| format!("token-{number}"))
                    .find(|name| !taken(name))
                    .unwrap_or_default(),
            };
            let expires = Some(self.expires.as_str()).filter(|when| *when != NEVER);
            let value = Token::spell(&hash, expires, &self.scope, login)?;
            document.set(section, &format!("{TOKEN_KEY}{name}"), &value)?;
            Ok(name)
        })?;
        println!("{token}");
        // So that the token can be piped on.
        eprintln!(
            "added the token {name} of {}; it is not shown again",
            self.user
        );
        Ok(())
    }
}

impl List {
    fn run(self, file: &Path) -> Outcome {
        let list = AccountList::load(file)?;
        let logins: Vec<&str> = match &self.user {
            Some(user) if list.get(user).is_none() && list.iter().all(|one| one.id != *user) => {
                return Err(format!("there is no account {user:?}").into());
            }
            Some(user) => vec![login_of(&list, user)],
            None => list.iter().map(|account| account.name.as_str()).collect(),
        };
        print!("{}", table(&list, &logins, SystemTime::now()));
        Ok(())
    }
}

impl Remove {
    fn run(self, file: &Path) -> Outcome {
        change(file, |document, list| {
            let section = find(document, list, &self.user)?;
            if document.remove_item(section, &format!("{TOKEN_KEY}{}", self.name)) {
                Ok(())
            } else {
                Err(format!("{} has no token {:?}", self.user, self.name))
            }
        })?;
        println!("removed the token {} of {}", self.name, self.user);
        Ok(())
    }
}

/// The login of the account that `user` names by its login, or else by its section.
fn login_of<'a>(list: &'a AccountList, user: &str) -> &'a str {
    let account = list
        .get(user)
        .or_else(|| list.iter().find(|account| account.id == user));
    account.map_or("", |account| account.name.as_str())
}

/// Columns as wide as their widest cell; the scope, which may be long, is the last one.
fn table(list: &AccountList, logins: &[&str], now: SystemTime) -> String {
    let mut rows = vec![["ACCOUNT", "TOKEN", "STATE", "EXPIRES", "SCOPE"].map(str::to_owned)];
    for token in logins.iter().flat_map(|login| list.tokens_of(login)) {
        let state = if token.is_valid(now) {
            "valid"
        } else {
            "expired"
        };
        let expires = token
            .expires
            .and_then(|end| OffsetDateTime::from(end).format(&Rfc3339).ok());
        let scopes: Vec<&str> = token.scopes().collect();
        rows.push([
            token.account.clone(),
            token.name.clone(),
            state.to_owned(),
            expires.unwrap_or_else(|| NEVER.to_owned()),
            if scopes.is_empty() {
                "all".to_owned()
            } else {
                scopes.join(" | ")
            },
        ]);
    }
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn token_name(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("expected a name of a-z, 0-9, _ and -, at most 64".to_owned())
    }
}

/// As accounts.ini has it.
fn expires(text: &str) -> Result<String, String> {
    if text == NEVER || is_expiry(text) {
        return Ok(text.to_owned());
    }
    expiry_from_now(text, SystemTime::now()).ok_or_else(|| {
        "expected a time such as 30d, 12h or 4w, a date such as 2026-12-31, or never".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_whose_and_what_for() {
        let hash = |digit: &str| format!("sha256:{}", digit.repeat(64));
        let text = format!(
            "[user1]\nname = xzz\ntoken.old = {} expires=2001-01-01\ntoken.ci = {} scope=files: read /fw/** | publish x\n",
            hash("1"),
            hash("2"),
        );
        let list = AccountList::parse(Path::new("accounts.ini"), text.as_bytes()).unwrap();
        assert_eq!(
            table(&list, &[login_of(&list, "user1")], SystemTime::now()),
            "ACCOUNT  TOKEN  STATE    EXPIRES               SCOPE\n\
             xzz      ci     valid    never                 files: read /fw/** | publish x\n\
             xzz      old    expired  2001-01-02T00:00:00Z  all\n"
        );
    }

    #[test]
    fn an_end_is_a_time_a_date_or_never() {
        assert_eq!(expires("never").as_deref(), Ok("never"));
        assert_eq!(expires("2999-12-31").as_deref(), Ok("2999-12-31"));
        assert!(expires("30d").is_ok_and(|when| is_expiry(&when)));
        assert!(expires("soon").is_err() && expires("").is_err());
    }
}
