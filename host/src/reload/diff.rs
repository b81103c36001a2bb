//! What a change means, in words: a line for each service, and beneath it the keys.

use super::plan::Step;
use super::{Host, Next, NextService};
use crate::config::{KeyChange, differences};

/// How many accounts are named.
const NAMED: usize = 10;
/// Of a hash.
const SHORT: usize = 12;

impl Host {
    /// What would happen to each service if the files were loaded now, a line each, and the keys beneath.
    ///
    /// # Errors
    /// What a reload would be refused for.
    pub fn diff(&mut self) -> Result<Vec<String>, String> {
        let wanted = self.files("diff")?;
        let next = self.prepare(wanted, &|_| false, false)?;
        Ok(self.changes(&next, |step| match step {
            // Only the plugin knows, when it is asked to do it.
            Step::Settings => "live, or swap if the plugin cannot (settings)".to_owned(),
            step => step.to_string(),
        }))
    }

    /// What `next` changes, a line each.
    pub(super) fn changes(&self, next: &Next, word: impl Fn(Step) -> String) -> Vec<String> {
        let keys = differences(&self.config, &next.config);
        let mut lines = Vec::new();
        for next in &next.services {
            lines.push(format!("{}: {}", next.service.name, word(next.step)));
            if !matches!(next.step, Step::Untouched | Step::Rest) {
                lines.extend(self.library_change(next));
                lines.extend(indented(&keys, &format!("services.{}", next.service.name)));
            }
            let entry = self
                .entries
                .iter()
                .find(|entry| entry.service.name == next.service.name);
            if entry.is_some_and(|entry| entry.instance.is_some() && entry.tls != next.tls) {
                lines.push("    certificates, keys or rules of TLS".to_owned());
            }
        }
        for gone in self.removed(next) {
            lines.push(format!("{gone}: end (removed)"));
        }
        let accounts: Vec<String> = self.accounts.changed(&next.accounts).into_iter().collect();
        if !accounts.is_empty() {
            let more = accounts.len().saturating_sub(NAMED);
            let named = accounts[..accounts.len() - more].join(", ");
            let rest = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            lines.push(format!("accounts: live: {named}{rest}"));
        } else if self.accounts.differs(&next.accounts) {
            lines.push("accounts: live".to_owned());
        }
        for (name, differs) in [
            ("folders", self.config.folders != next.config.folders),
            ("host", self.config.host != next.config.host),
        ] {
            if differs {
                lines.push(format!("{name}: live"));
                lines.extend(indented(&keys, name));
            }
        }
        lines
    }

    fn library_change(&self, next: &NextService) -> Option<String> {
        let entry = self
            .entries
            .iter()
            .find(|entry| entry.service.name == next.service.name);
        let old = &entry?.instance.as_ref()?.library;
        let new = next.library.as_ref()?;
        let name = |library: &crate::loader::Library| {
            let short = library.hash.get(..SHORT).unwrap_or(&library.hash);
            format!("{} ({short})", library.manifest.version)
        };
        (old.hash != new.hash).then(|| format!("    library: {} -> {}", name(old), name(new)))
    }
}

fn indented(keys: &[KeyChange], table: &str) -> impl Iterator<Item = String> {
    let within = |key: &str| {
        key.strip_prefix(table)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let own: Vec<&KeyChange> = keys.iter().filter(|change| within(&change.key)).collect();
    own.into_iter()
        .map(|change| format!("    {change}"))
        .collect::<Vec<_>>()
        .into_iter()
}
