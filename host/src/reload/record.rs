//! The generation on the disk that a change comes to.

use std::path::PathBuf;

use super::{Host, Next};
use crate::config::differences;
use crate::generations::{self, GOOD, Generation, Meta, ServiceMeta};

impl Host {
    /// Writes the generation that `next` is, unless it is kept already. A disk that takes nothing does not hold a
    /// change up: it is told among what could not be had.
    pub(super) fn record(&self, next: &mut Next, boot: bool) -> Generation {
        let services = services(next);
        if let Some(meta) = next.resumes.take() {
            return self.resumed(meta, next);
        }
        let before = boot.then(|| self.before()).flatten();
        if let Some(before) = &before
            && self.is_same(before, next, &services)
        {
            return self.resumed(before.meta.clone(), next);
        }
        let changes = match &before {
            Some(before) => self.changes_since(before, next, &services),
            None if boot => Vec::new(),
            None => self.changes(next, |step| step.to_string()),
        };
        let meta = Meta {
            number: self.next_number(),
            time: generations::now(),
            cause: next.cause.clone(),
            hash: next.texts.hash(&services),
            file: self.file(),
            set: next.texts.set.clone(),
            accounts: next.texts.accounts.is_some(),
            services,
            changes,
            result: result(next),
            overrides: next
                .instead
                .as_ref()
                .and_then(|instead| instead.overrides()),
        };
        let generation = Generation {
            meta,
            texts: next.texts.clone(),
        };
        match self.store.commit(&generation, next.config.host.generations) {
            Ok(()) => self.loader.sync(generation.meta.libraries().into_values()),
            Err(error) => next.kept.push(format!(
                "generation {} is in force and cannot be kept: {error}",
                generation.meta.number
            )),
        }
        generation
    }

    fn resumed(&self, meta: Meta, next: &Next) -> Generation {
        self.loader.sync(meta.libraries().into_values());
        Generation {
            meta,
            texts: next.texts.clone(),
        }
    }

    fn next_number(&self) -> u64 {
        let kept = self.store.numbers().pop_last().unwrap_or_default();
        kept.max(self.board.generation()) + 1
    }

    fn file(&self) -> PathBuf {
        let file = &self.source.file;
        std::path::absolute(file).unwrap_or_else(|_| file.clone())
    }

    /// The generation that an earlier process ended with.
    fn before(&self) -> Option<Generation> {
        let generation = self.store.read(self.store.current()?).ok()?;
        (generation.meta.file == self.file()).then_some(generation)
    }

    /// Whether a start from the files comes to what ran before.
    fn is_same(&self, before: &Generation, next: &Next, services: &[ServiceMeta]) -> bool {
        let Ok(mut config) = before.texts.config(&self.source) else {
            return false;
        };
        self.keep_what_needs_a_start(&mut config);
        let accounts = before.texts.accounts(&config.host.accounts);
        config == next.config
            && before.meta.overrides.is_none()
            && before.meta.services == services
            && before.meta.result == result(next)
            && accounts.is_ok_and(|accounts| !self.accounts.differs(&accounts.into()))
    }

    fn changes_since(
        &self,
        before: &Generation,
        next: &Next,
        services: &[ServiceMeta],
    ) -> Vec<String> {
        let mut lines = Vec::new();
        if let Ok(config) = before.texts.config(&self.source) {
            let keys = differences(&config, &next.config);
            lines.extend(keys.iter().map(ToString::to_string));
        }
        if before.texts.accounts != next.texts.accounts {
            lines.push("accounts: changed".to_owned());
        }
        let libraries = before.meta.libraries();
        for service in services {
            if libraries.get(&service.name) != Some(&service.hash) {
                lines.push(format!("{}: library {}", service.name, service.version));
            }
        }
        lines
    }
}

/// The services that run by `next`, with what they run.
fn services(next: &Next) -> Vec<ServiceMeta> {
    let running = next.services.iter().filter(|next| next.error.is_none());
    running
        .filter_map(|next| {
            let library = next.library.as_ref()?;
            Some(ServiceMeta {
                name: next.service.name.clone(),
                plugin: next.service.plugin.clone(),
                version: library.manifest.version.clone(),
                hash: library.hash.clone(),
                tls: next
                    .tls
                    .as_ref()
                    .map(|tls| generations::hash_of(&tls.material)),
            })
        })
        .collect()
}

fn result(next: &Next) -> String {
    let all: Vec<String> = next.kept.iter().cloned().chain(next.failures()).collect();
    if all.is_empty() {
        GOOD.to_owned()
    } else {
        all.join("\n")
    }
}
