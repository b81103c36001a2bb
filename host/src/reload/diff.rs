//! What a change means, in words: a line for each service, and beneath it the keys, each with what it takes.

use polyport_abi::live::is_live;

use super::plan::{Step, same_listeners};
use super::{Host, Next, NextService};
use crate::config::{KeyChange, Service, differences};
use crate::loader::Library;

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
        Ok(self.changes(&next))
    }

    /// What `next` changes, a line each.
    pub(super) fn changes(&self, next: &Next) -> Vec<String> {
        let keys = differences(&self.config, &next.config);
        let mut lines = Vec::new();
        for next in &next.services {
            lines.push(format!("{}: {}", next.service.name, next.step));
            let entry = self.entry(&next.service.name);
            if !matches!(next.step, Step::Untouched | Step::Rest) {
                lines.extend(self.library_change(next));
                let of_service = format!("services.{}", next.service.name);
                lines.extend(beneath(&keys, &of_service).map(|(change, key)| {
                    let class = entry.and_then(|entry| class(&entry.service, next, key));
                    line(change, class)
                }));
            }
            if entry.is_some_and(|entry| entry.instance.is_some() && entry.tls != next.tls) {
                lines.push("    certificates, keys or rules of TLS  (live)".to_owned());
            }
        }
        for gone in self.removed(next) {
            lines.push(format!("{gone}: end (removed)"));
        }
        lines.extend(self.accounts_change(next));
        if self.config.folders != next.config.folders {
            lines.push("folders: live".to_owned());
            lines.extend(beneath(&keys, "folders").map(|(change, _)| line(change, Some("live"))));
        }
        let waits = |change: &KeyChange| next.waiting.iter().any(|wait| wait.key == change.key);
        if self.config.host != next.config.host {
            lines.push("host: live".to_owned());
            let live = beneath(&keys, "host").filter(|(change, _)| !waits(change));
            lines.extend(live.map(|(change, _)| line(change, Some("live"))));
        }
        if !next.waiting.is_empty() {
            lines.push("host: restart".to_owned());
            lines.extend(next.waiting.iter().map(|wait| line(wait, Some("restart"))));
        }
        lines
    }

    fn accounts_change(&self, next: &Next) -> Option<String> {
        let accounts: Vec<String> = self.accounts.changed(&next.accounts).into_iter().collect();
        if accounts.is_empty() {
            let differs = self.accounts.differs(&next.accounts);
            return differs.then(|| "accounts: live".to_owned());
        }
        let more = accounts.len().saturating_sub(NAMED);
        let named = accounts[..accounts.len() - more].join(", ");
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        Some(format!("accounts: live: {named}{rest}"))
    }

    fn library_change(&self, next: &NextService) -> Option<String> {
        let old = &self.instance(&next.service.name)?.library;
        let new = next.library.as_ref()?;
        let name = |library: &crate::loader::Library| {
            let short = library.hash.get(..SHORT).unwrap_or(&library.hash);
            format!("{} ({short})", library.manifest.version)
        };
        (old.hash != new.hash).then(|| format!("    library: {} -> {}", name(old), name(new)))
    }
}

/// What a change of one key of a service takes, by itself; none where its instance starts or ends anyway.
fn class(now: &Service, next: &NextService, key: &str) -> Option<&'static str> {
    if !matches!(next.step, Step::Live(_) | Step::Swap) {
        return None;
    }
    let live = match key.split(['.', '[']).next() {
        Some("settings") => {
            let declared = next.library.as_ref().and_then(|library| library.live());
            match (declared, next.step) {
                (Some(live), _) => is_live(live, key.strip_prefix("settings.").unwrap_or_default()),
                (None, Step::Live(live)) if live.asked => {
                    return Some("live, or swap if the plugin cannot");
                }
                (None, step) => step != Step::Swap,
            }
        }
        Some("limits" | "require_tls" | "folders" | "tls" | "sha256") => true,
        Some("listen") => {
            let takes = |library: &Library| library.listeners().is_some();
            same_listeners(now, &next.service) || next.library.as_deref().is_some_and(takes)
        }
        _ => false,
    };
    Some(if live { "live" } else { "swap" })
}

/// The changes of a table, with the rest of their keys.
fn beneath<'a>(
    keys: &'a [KeyChange],
    table: &'a str,
) -> impl Iterator<Item = (&'a KeyChange, &'a str)> {
    keys.iter().filter_map(move |change| {
        let rest = change.key.strip_prefix(table)?;
        let within = rest.is_empty() || rest.starts_with(['.', '[']);
        within.then(|| (change, rest.trim_start_matches('.')))
    })
}

fn line(change: &KeyChange, class: Option<&str>) -> String {
    match class {
        Some(class) => format!("    {change}  ({class})"),
        None => format!("    {change}"),
    }
}
