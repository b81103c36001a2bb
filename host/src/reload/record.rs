//! The generation on the disk that a change comes to.

use std::path::PathBuf;

use super::{Host, Next};
use crate::config::differences;
use crate::generations::{self, GOOD, Generation, Meta, ServiceMeta};

/// The generation that a change comes to, not in force yet.
pub(super) struct Draft {
    generation: Generation,
    /// Whether it was written for this change and has to be committed.
    written: bool,
}

impl Host {
    /// Writes the generation that `next` is, unless it is kept already. A disk that takes nothing does not hold a
    /// change up: it is told among what could not be had.
    pub(super) fn draft(&self, next: &mut Next, boot: bool) -> Draft {
        let services = services(next);
        if let Some(meta) = next.resumes.take() {
            return resumed(meta, next);
        }
        let before = boot.then(|| self.before()).flatten();
        if let Some(before) = &before
            && self.is_same(before, next, &services)
        {
            return resumed(before.meta.clone(), next);
        }
        let changes = match &before {
            Some(before) => self.changes_since(before, next, &services),
            None if boot => Vec::new(),
            None => self.changes(next),
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
        let written = self.store.write(&generation);
        let written = is_kept(&generation, written, &mut next.kept);
        Draft {
            generation,
            written,
        }
    }

    /// Takes back what was written for a change that failed.
    pub(super) fn discard(&self, draft: &Draft) {
        if draft.written {
            self.store.discard(draft.generation.meta.number);
        }
    }

    /// Brings the generation of a change into force on the disk; what keeps it from that is told in `refusals`.
    pub(super) fn seal(&self, draft: Draft, keep: u16, refusals: &mut Vec<String>) -> Generation {
        let Draft {
            generation,
            written,
        } = draft;
        if written {
            let committed = self.store.commit(generation.meta.number, keep);
            is_kept(&generation, committed, refusals);
        }
        self.loader.sync(generation.meta.libraries().into_values());
        generation
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

/// Whether the disk took it; if not that is told in `refusals`.
fn is_kept(
    generation: &Generation,
    outcome: Result<(), String>,
    refusals: &mut Vec<String>,
) -> bool {
    if let Err(error) = &outcome {
        refusals.push(format!(
            "generation {} is in force and cannot be kept: {error}",
            generation.meta.number
        ));
    }
    outcome.is_ok()
}

fn resumed(meta: Meta, next: &Next) -> Draft {
    let texts = next.texts.clone();
    Draft {
        generation: Generation { meta, texts },
        written: false,
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
