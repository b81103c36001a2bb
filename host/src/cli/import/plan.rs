//! What an import comes to: keys of one service, accounts, and what has no counterpart.

use std::fmt;
use std::path::Path;

use toml_edit::Value;

use crate::accounts::{ANONYMOUS, AccountList, Document, Secret, is_password_hash};
use crate::config::Diagnostics;

/// What is to be written.
#[derive(Debug, Default)]
pub struct Plan {
    /// The service that it is about.
    pub service: String,
    /// The plugin of the service; none if no key of the service is imported.
    pub plugin: Option<&'static str>,
    /// Keys beneath `[services.NAME]`.
    pub keys: Vec<(&'static str, Value)>,
    /// Keys beneath `[services.NAME.limits]`.
    pub limits: Vec<(&'static str, Value)>,
    /// Keys beneath `[services.NAME.settings]`.
    pub settings: Vec<(&'static str, Value)>,
    /// Sections of accounts.ini.
    pub sections: Vec<Section>,
    /// What has no counterpart, and what differs.
    pub notes: Vec<String>,
}

/// One section of accounts.ini.
#[derive(Debug)]
pub struct Section {
    /// Its name.
    pub id: String,
    /// Its keys.
    pub items: Vec<(String, String)>,
}

impl Section {
    /// Adds `key = value`.
    pub fn add(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.items.push((key.into(), value.into()));
    }

    /// The login, if it is an account.
    pub fn login(&self) -> Option<&str> {
        let mut items = self.items.iter();
        items
            .find(|(key, _)| key == "name")
            .map(|(_, name)| name.as_str())
    }
}

impl Plan {
    /// An empty one for `service`.
    pub fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            ..Self::default()
        }
    }

    /// Notes what has no counterpart.
    pub fn note(&mut self, place: &str, what: impl fmt::Display) {
        self.notes.push(format!("{place}: {what}"));
    }

    /// Sets `key` among the settings; the last one holds.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.into()));
    }

    /// Sets `key` among the limits; the last one holds.
    pub fn limit(&mut self, key: &'static str, value: impl Into<Value>) {
        self.limits.retain(|(known, _)| *known != key);
        self.limits.push((key, value.into()));
    }

    /// The section of the account `name`, added if it is not there; none, with a note, if nobody can
    /// have that name here.
    pub fn account(&mut self, place: &str, name: &str) -> Option<&mut Section> {
        let known = |section: &Section| section.login() == Some(name);
        if let Some(index) = self.sections.iter().position(known) {
            return self.sections.get_mut(index);
        }
        if name == ANONYMOUS
            || name.is_empty()
            || name.len() > 128
            || name.contains(char::is_control)
        {
            self.note(
                place,
                format_args!("{name:?} cannot be the name of an account"),
            );
            return None;
        }
        let plain = |c: char| c.is_alphanumeric() || "._-@ ".contains(c);
        let id = if name.chars().all(plain) && name.trim() == name {
            name.to_owned()
        } else {
            format!("imported-{}", self.sections.len() + 1)
        };
        let items = vec![
            ("name".to_owned(), name.to_owned()),
            ("services".to_owned(), self.service.clone()),
        ];
        self.sections.push(Section { id, items });
        self.sections.last_mut()
    }

    /// Adds the account of a line `NAME:HASH`, as password files have them. Without its password if
    /// that is of no use here.
    pub fn password_line(&mut self, place: &str, line: &str) {
        let Some((name, hash)) = line.split_once(':') else {
            return self.note(place, format_args!("expected NAME:HASH, got {line:?}"));
        };
        // Some programs allow further fields.
        let hash = hash.split(':').next().unwrap_or_default();
        let duplicate = self
            .sections
            .iter()
            .any(|section| section.login() == Some(name));
        if duplicate {
            return self.note(
                place,
                format_args!("{name:?} is there twice: the first one holds"),
            );
        }
        let usable = is_password_hash(hash) && Secret::parse(hash).is_ok();
        let Some(account) = self.account(place, name) else {
            return;
        };
        if usable {
            account
                .items
                .insert(1, ("password".to_owned(), hash.to_owned()));
        } else {
            self.note(
                place,
                format_args!("the password of {name:?} is none of the hashes that log in here: \"polyport user passwd\" sets one"),
            );
        }
    }

    /// The accounts as text.
    pub fn ini(&self) -> Result<String, String> {
        let mut document = Document::default();
        self.append_to(&mut document)?;
        Ok(document.text())
    }

    /// Adds the sections to the end of `document`.
    pub fn append_to(&self, document: &mut Document) -> Result<(), String> {
        for section in &self.sections {
            let items: Vec<(&str, String)> = section
                .items
                .iter()
                .map(|(key, value)| (key.as_str(), value.clone()))
                .collect();
            document
                .append(&section.id, &items)
                .map_err(|message| format!("[{}]: {message}", section.id))?;
        }
        Ok(())
    }

    /// Whether the accounts are good, beside what the files of other servers allow more than this
    /// one.
    pub fn check(&self) -> Result<(), Box<dyn std::error::Error>> {
        let ini = self.ini()?;
        let checked: Result<_, Diagnostics> =
            AccountList::parse(Path::new("imported"), ini.as_bytes());
        checked?;
        Ok(())
    }
}

/// As the two files and a list of what is left over, in comments.
impl fmt::Display for Plan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(plugin) = self.plugin {
            writeln!(
                out,
                "# polyport.toml\n\n[services.{}]\nplugin = {plugin:?}",
                self.service
            )?;
            for (key, value) in &self.keys {
                writeln!(out, "{key} = {value}")?;
            }
            if !self.limits.is_empty() {
                writeln!(out, "\n[services.{}.limits]", self.service)?;
                for (key, value) in &self.limits {
                    writeln!(out, "{key} = {value}")?;
                }
            }
            writeln!(out, "\n[services.{}.settings]", self.service)?;
            for (key, value) in &self.settings {
                writeln!(out, "{key} = {value}")?;
            }
            writeln!(out)?;
        }
        if !self.sections.is_empty() {
            let ini = self.ini().map_err(|_| fmt::Error)?;
            writeln!(out, "# accounts.ini\n\n{ini}")?;
        }
        if !self.notes.is_empty() {
            writeln!(out, "# Without counterpart, or different:")?;
            for note in &self.notes {
                writeln!(out, "# {note}")?;
            }
        }
        Ok(())
    }
}
