//! Reading accounts.ini, section by section, with the place of every problem.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::AccountList;
use crate::accounts::account::{ANONYMOUS, Account, Wrong};
use crate::accounts::group::{self, Group, Groups};
use crate::accounts::ini::{Document, Item, Malformed, Section};
use crate::accounts::password::{Dummy, Form, Secret};
use crate::accounts::rights::head;
use crate::accounts::token::Token;
use crate::accounts::words;
use crate::config::{Diagnostic, Diagnostics, Place};

/// The longest section name, in bytes.
const MAX_SECTION: usize = 128;

/// A file being read.
pub(super) struct Reading<'a> {
    file: &'a Arc<Path>,
    document: &'a Document,
    pub(super) diagnostics: Diagnostics,
}

impl<'a> Reading<'a> {
    /// Of a document in `file`, in which those lines were malformed.
    pub(super) fn new(
        file: &'a Arc<Path>,
        document: &'a Document,
        malformed: Vec<Malformed>,
    ) -> Self {
        let mut reading = Self {
            file,
            document,
            diagnostics: Diagnostics::new(),
        };
        for line in malformed {
            reading.error(line.line, line.offset, "", line.message);
        }
        reading
    }

    fn place(&self, line: usize, offset: usize) -> Place {
        let text = self.document.line(line);
        match Place::at(self.file, text, offset) {
            Place::File { file, column, .. } => Place::File {
                file,
                line: line + 1,
                column,
            },
            other => other,
        }
    }

    fn error(&mut self, line: usize, offset: usize, key: &str, message: impl Into<String>) {
        let place = self.place(line, offset);
        self.diagnostics
            .push(Diagnostic::error(place, key, message));
    }

    /// The list that it comes to; homes begin at `folder`.
    pub(super) fn list(&mut self, folder: &Path) -> AccountList {
        let mut list = AccountList::empty();
        let mut lines: HashMap<&str, usize> = HashMap::new();
        let mut logins: HashMap<String, usize> = HashMap::new();
        for section in &self.document.sections {
            self.check_section(section, &mut lines);
        }
        let groups = self.groups(&mut list.services_named);
        let accounts = self.document.sections.iter();
        for section in accounts.filter(|section| group::name_of(&section.id).is_none()) {
            let mut wrongs = Vec::new();
            let account = Account::read(section, folder, &groups, &mut |wrong| wrongs.push(wrong));
            let account = Arc::new(account);
            let tokens = if section.id == ANONYMOUS {
                Vec::new()
            } else {
                Token::read_all(section, &account.name, &mut |wrong| wrongs.push(wrong))
            };
            self.errors(section, wrongs);
            self.note_tokens(section, tokens, &mut list);
            self.warn(section, &account);
            self.note_services(section, &mut list.services_named);
            if section.id == ANONYMOUS {
                list.anonymous = Some(account);
                continue;
            }
            if let Some(before) = logins.insert(account.name.clone(), section.line) {
                let message = format!(
                    "the login {:?} is taken by the section in line {}",
                    account.name,
                    before + 1
                );
                self.error(section.line, 0, &section.id, message);
            }
            self.note_certificates(section, &account, &mut list);
            list.by_login
                .insert(account.name.clone(), list.accounts.len());
            list.accounts.push(account);
        }
        list.groups = groups.into_keys().collect();
        let secrets = || {
            let accounts = list.accounts.iter();
            accounts.filter_map(|account| account.secret.as_ref())
        };
        (list.dummy, list.scram_form) = (Dummy::for_all(secrets()), Form::of_all(secrets()));
        list
    }

    fn note_tokens(&mut self, section: &Section, read: Vec<Token>, list: &mut AccountList) {
        for token in read {
            for service in token.services() {
                let place = self.place(token.origin.line, 0);
                let key = format!("{}.{}", section.id, token.origin.key);
                list.services_named.push((place, key, service.to_owned()));
            }
            let (line, key) = (
                token.origin.line,
                format!("{}.{}", section.id, token.origin.key),
            );
            if let Some(before) = list.tokens.insert(token.hash, Arc::new(token)) {
                let before = before.origin.line + 1;
                self.error(
                    line,
                    0,
                    &key,
                    format!("the same token is in line {before} already"),
                );
            }
        }
    }

    /// For the account that is about to be added to the list.
    fn note_certificates(&mut self, section: &Section, account: &Account, list: &mut AccountList) {
        let Some(item) = section.items.iter().find(|item| item.key == "certificate") else {
            return;
        };
        for name in &account.certificates {
            let before = list
                .by_certificate
                .insert(name.clone(), list.accounts.len());
            let Some(before) = before.and_then(|index| {
                let id = list
                    .accounts
                    .get(index)
                    .map_or(&account.id, |account| &account.id);
                let sections = self.document.sections.iter();
                let mut items = sections
                    .filter(|one| one.id == *id)
                    .flat_map(|one| &one.items);
                items.find(|item| item.key == "certificate")
            }) else {
                continue;
            };
            let message = format!(
                "the certificate {name} is in line {} already",
                before.line + 1
            );
            self.error(
                item.line,
                item.value_range.start,
                &key_of(section, item),
                message,
            );
        }
    }

    fn groups(&mut self, services_named: &mut Vec<(Place, String, String)>) -> Groups {
        let mut groups = Groups::new();
        for section in &self.document.sections {
            let Some(name) = group::name_of(&section.id) else {
                continue;
            };
            let mut wrongs = Vec::new();
            let group = Group::read(section, &mut |wrong| wrongs.push(wrong));
            self.errors(section, wrongs);
            self.note_services(section, services_named);
            match name {
                Ok(name) => {
                    groups.insert(name.to_owned(), group);
                }
                Err(message) => self.error(section.line, 0, "", message),
            }
        }
        groups
    }

    fn errors(&mut self, section: &Section, wrongs: Vec<Wrong<'_>>) {
        for Wrong { item, message } in wrongs {
            match item {
                Some(item) => self.error(
                    item.line,
                    item.value_range.start,
                    &key_of(section, item),
                    message,
                ),
                None => self.error(section.line, 0, &section.id, message),
            }
        }
    }

    fn check_section(&mut self, section: &'a Section, lines: &mut HashMap<&'a str, usize>) {
        let id = section.id.as_str();
        if id.is_empty()
            || id.len() > MAX_SECTION
            || (id.contains(':') && group::name_of(id).is_none())
        {
            let message = format!(
                "expected a section name of 1 to {MAX_SECTION} bytes without \":\", got {id:?}"
            );
            self.error(section.line, 0, "", message);
        }
        if let Some(before) = lines.insert(id, section.line) {
            self.error(
                section.line,
                0,
                "",
                format!("the section [{id}] is already in line {}", before + 1),
            );
        }
        let mut keys: HashMap<&str, &Item> = HashMap::new();
        for item in &section.items {
            let key = if item.key == "expore" {
                "expire"
            } else {
                item.key.as_str()
            };
            if let Some(before) = keys.insert(key, item) {
                let message = format!(
                    "is already given as {:?} in line {}",
                    before.key,
                    before.line + 1
                );
                self.error(item.line, item.key_start, &key_of(section, item), message);
            }
        }
    }

    fn warn(&mut self, section: &Section, account: &Account) {
        if let Some(Secret::Plain(_)) = account.secret
            && let Some(item) = section.items.iter().find(|item| item.key == "password")
        {
            let message = format!(
                "is plain text: \"polyport user hash {}\" hashes it",
                account.name
            );
            let place = self.place(item.line, item.key_start);
            self.diagnostics
                .push(Diagnostic::warning(place, key_of(section, item), message));
        }
    }

    /// Notes each service that the section names and where.
    fn note_services(&self, section: &Section, named: &mut Vec<(Place, String, String)>) {
        for item in &section.items {
            let services: Vec<&str> = match item.key.strip_prefix("rights.") {
                Some(service) => vec![service],
                None if item.key == "services" => words(&item.value).collect(),
                None => match head(&item.key) {
                    Some(Ok((_, Some(service)))) => vec![service],
                    _ => continue,
                },
            };
            named.extend(services.into_iter().map(|service| {
                let place = self.place(item.line, item.value_range.start);
                (place, key_of(section, item), service.to_owned())
            }));
        }
    }
}

/// `user1.password`
fn key_of(section: &Section, item: &Item) -> String {
    format!("{}.{}", section.id, item.key)
}
