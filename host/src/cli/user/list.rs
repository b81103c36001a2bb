//! `polyport user list`: who is in the file.

use std::path::Path;
use std::time::SystemTime;

use clap::Args;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Outcome;
use crate::accounts::{Account, AccountList, Secret};

/// Arguments of `polyport user list`.
#[derive(Debug, Args)]
pub struct Command {}

impl Command {
    /// Prints a line for each account.
    pub fn run(self, file: &Path) -> Outcome {
        let list = AccountList::load(file)?;
        print!("{}", table(&list, SystemTime::now()));
        Ok(())
    }
}

/// Columns as wide as their widest cell.
fn table(list: &AccountList, now: SystemTime) -> String {
    let header = ["NAME", "STATE", "PASSWORD", "EXPIRES", "SERVICES", "HOME"].map(str::to_owned);
    let rows = list.everybody().map(|account| row(account, now));
    let rows: Vec<[String; 6]> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn row(account: &Account, now: SystemTime) -> [String; 6] {
    let state = match (account.enabled, account.is_valid(now)) {
        (false, _) => "disabled",
        (true, false) => "expired",
        (true, true) => "valid",
    };
    let password = account.secret.as_ref().map_or("none", Secret::kind);
    let expires = account
        .expires
        .and_then(|end| OffsetDateTime::from(end).format(&Rfc3339).ok());
    let services = account
        .services
        .as_ref()
        .map_or_else(|| "all".to_owned(), |names| names.join(","));
    let home = account
        .home
        .as_ref()
        .map_or_else(|| "-".to_owned(), |home| home.display().to_string());
    [
        account.name.clone(),
        state.to_owned(),
        password.to_owned(),
        expires.unwrap_or_else(|| "-".to_owned()),
        services,
        home,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_shows_what_matters() {
        let text = "[user1]\nname = xzz\npassword = 123456\nexpore = 2022-01-01\n[b]\nenabled = no\nservices = ftp\n\
                    home = home/b\n[anonymous]\n";
        let list =
            AccountList::parse(Path::new("/etc/polyport/accounts.ini"), text.as_bytes()).unwrap();
        assert_eq!(
            table(&list, SystemTime::now()),
            "NAME       STATE     PASSWORD  EXPIRES               SERVICES  HOME\n\
             xzz        expired   plain     2022-01-02T00:00:00Z  all       -\n\
             b          disabled  none      -                     ftp       /etc/polyport/home/b\n\
             anonymous  valid     none      -                     all       -\n"
        );
    }
}
