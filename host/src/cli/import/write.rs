//! Writing a plan into polyport.toml and accounts.ini: comments and order stay, and nothing is
//! written if something is in the way.

use std::error::Error;
use std::path::Path;

use toml_edit::{DocumentMut, Item, Table, TableLike, Value};

use super::plan::Plan;
use crate::accounts::{ANONYMOUS, AccountList, Document, EditError, edit};
use crate::cli::{Options, Outcome};
use crate::config::{Config, Diagnostics, Source};

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Problems(#[from] Diagnostics),
    #[error("{0}")]
    Other(String),
}

/// Writes `plan`; with `replace`, over values that polyport.toml has.
pub fn write(plan: &Plan, options: &Options, replace: bool) -> Outcome {
    let source = options.source();
    let config = Config::load(&source)?;
    // Before the accounts are written, whether the configuration will be.
    if plan.plugin.is_some() {
        new_config(plan, &source, &std::fs::read(&source.file)?, replace)?;
    }
    let accounts = &config.host.accounts;
    if !plan.sections.is_empty() {
        unwrapped(edit(accounts, |bytes| {
            Ok((new_accounts(plan, accounts, &bytes)?, ()))
        }))?;
        println!(
            "wrote {} sections to {}",
            plan.sections.len(),
            accounts.display()
        );
    }
    if plan.plugin.is_some() {
        unwrapped(edit(&source.file, |bytes| {
            Ok((new_config(plan, &source, &bytes, replace)?, ()))
        }))?;
        println!(
            "wrote [services.{}] to {}",
            plan.service,
            source.file.display()
        );
    }
    for note in &plan.notes {
        println!("{note}");
    }
    Ok(())
}

fn unwrapped(edited: Result<(), EditError<Refusal>>) -> Result<(), Box<dyn Error>> {
    edited.map_err(|error| match error {
        EditError::Refused(refusal) => refusal.into(),
        error => error.into(),
    })
}

fn new_accounts(plan: &Plan, file: &Path, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let list = AccountList::parse(file, bytes)?;
    let (mut document, _) = Document::parse(&String::from_utf8_lossy(bytes));
    let mut taken = Vec::new();
    for section in &plan.sections {
        let login_taken = section
            .login()
            .is_some_and(|login| list.get(login).is_some());
        let id_taken = document.sections.iter().any(|one| one.id == section.id);
        if login_taken || id_taken {
            let advice = if section.id == ANONYMOUS {
                ": remove it, or take over by hand what \"polyport import\" prints"
            } else {
                ""
            };
            taken.push(format!(
                "{}: there is [{}] already{advice}",
                file.display(),
                section.id
            ));
        }
    }
    if !taken.is_empty() {
        return Err(Refusal::Other(taken.join("\n")));
    }
    plan.append_to(&mut document).map_err(Refusal::Other)?;
    let after = document.text().into_bytes();
    AccountList::parse(file, &after)?;
    Ok(after)
}

fn new_config(
    plan: &Plan,
    source: &Source,
    bytes: &[u8],
    replace: bool,
) -> Result<Vec<u8>, Refusal> {
    let other = |error: toml_edit::TomlError| Refusal::Other(error.to_string());
    let text = String::from_utf8_lossy(bytes);
    let mut document: DocumentMut = text.parse().map_err(other)?;
    let mut clashes = Vec::new();
    let path = ["services", plan.service.as_str()];
    let service = table(document.as_table_mut(), &path).map_err(Refusal::Other)?;
    let plugin = plan.plugin.map(|name| ("plugin", Value::from(name)));
    for (key, value) in plugin.iter().chain(&plan.keys) {
        put(service, &plan.service, key, value, replace, &mut clashes);
    }
    for (beneath, values) in [("limits", &plan.limits), ("settings", &plan.settings)] {
        if values.is_empty() {
            continue;
        }
        let keys = table(service, &[beneath]).map_err(Refusal::Other)?;
        let name = format!("{}.{beneath}", plan.service);
        for (key, value) in values {
            put(keys, &name, key, value, replace, &mut clashes);
        }
    }
    if !clashes.is_empty() {
        let file = source.file.display();
        return Err(Refusal::Other(format!(
            "{file} says otherwise; --replace overwrites it, --service NAME adds another service:\n{}",
            clashes.join("\n")
        )));
    }
    let after = document.to_string().into_bytes();
    Config::parse(source, &after)?;
    Ok(after)
}

/// The table at `path` beneath `table`, made where it is missing.
fn table<'a>(table: &'a mut dyn TableLike, path: &[&str]) -> Result<&'a mut dyn TableLike, String> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(table);
    };
    let item = table.entry(first).or_insert_with(|| {
        let mut made = Table::new();
        made.set_implicit(!rest.is_empty());
        Item::Table(made)
    });
    match item.as_table_like_mut() {
        Some(next) => self::table(next, rest),
        None => Err(format!("{first}: expected a table")),
    }
}

fn put(
    table: &mut dyn TableLike,
    path: &str,
    key: &str,
    value: &Value,
    replace: bool,
    clashes: &mut Vec<String>,
) {
    let Some(old) = table.get_mut(key).and_then(Item::as_value_mut) else {
        let is_filled = |item: &Item| item.as_table_like().is_some_and(|table| !table.is_empty());
        if table.get(key).is_some_and(is_filled) && !replace {
            clashes.push(format!(
                "services.{path}.{key} is a table, imported: {value}"
            ));
            return;
        }
        table.insert(key, Item::Value(value.clone()));
        return;
    };
    if same(old, value) {
        return;
    }
    if !replace {
        let old = old.clone().decorated("", "");
        clashes.push(format!("services.{path}.{key} = {old}, imported: {value}"));
        return;
    }
    let decor = old.decor().clone();
    *old = value.clone();
    *old.decor_mut() = decor;
}

/// Whether two values are equal, however they are written.
fn same(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| {
        let text = format!("x = {}", value.clone().decorated("", ""));
        toml::from_str::<toml::Table>(&text).ok()
    };
    plain(one) == plain(other)
}
