//! What a generation is to be made of: the operator's files, or a kept generation in their place.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Host;
use crate::accounts;
use crate::config::{Config, KeyChange, Source};
use crate::generations::{Generation, Meta, Overrides, Texts, hash_of};
use crate::watch::Watched;

/// Everything that was read for a change.
pub(super) struct Wanted {
    pub(super) texts: Texts,
    pub(super) config: Config,
    pub(super) accounts: accounts::Parsed,
    pub(super) libraries: Libraries,
    pub(super) cause: String,
    pub(super) instead: Option<Instead>,
    /// The kept generation that it is, if it need not be written again.
    pub(super) resumes: Option<Meta>,
    /// How the files looked when it was read.
    pub(super) look: Option<String>,
    /// What takes effect at the next start of the process.
    pub(super) waiting: Vec<KeyChange>,
}

/// Where libraries come from.
#[derive(Debug, Clone)]
pub enum Libraries {
    /// The plugins folder.
    Folder,
    /// The private copies, by their hashes, of each service.
    Copies(BTreeMap<String, String>),
}

/// Why something else is in force than the files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Instead {
    /// How the files look that do not count until they change; none: they are taken as soon as they are good.
    pub(super) look: Option<String>,
    pub(super) reason: String,
}

impl Instead {
    pub(super) fn of(overrides: &Overrides) -> Self {
        Self {
            look: Some(overrides.look.clone()),
            reason: overrides.reason.clone(),
        }
    }

    /// What of it a later process must know.
    pub(super) fn overrides(&self) -> Option<Overrides> {
        Some(Overrides {
            look: self.look.clone()?,
            reason: self.reason.clone(),
        })
    }
}

impl Wanted {
    /// What the files say.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(super) fn of_files(source: &Source, cause: &str) -> Result<Self, String> {
        let (texts, config) = Texts::read(source)?;
        let accounts = texts.accounts(&config.host.accounts)?;
        Ok(Self {
            look: Some(look(source, &config)),
            texts,
            config,
            accounts: Arc::new(accounts),
            libraries: Libraries::Folder,
            cause: cause.to_owned(),
            instead: None,
            resumes: None,
            waiting: Vec::new(),
        })
    }

    /// What these texts say, with these libraries, in place of the files.
    ///
    /// # Errors
    /// Why they cannot be used.
    pub(super) fn of_texts(
        source: &Source,
        texts: Texts,
        libraries: BTreeMap<String, String>,
        cause: &str,
    ) -> Result<Self, String> {
        let config = texts.config(source)?;
        let accounts = texts.accounts(&config.host.accounts)?;
        Ok(Self {
            look: None,
            texts,
            config,
            accounts: Arc::new(accounts),
            libraries: Libraries::Copies(libraries),
            cause: cause.to_owned(),
            instead: None,
            resumes: None,
            waiting: Vec::new(),
        })
    }
}

/// Whether nothing but comments stands in a configuration.
fn is_blank(config: &[u8]) -> bool {
    let mut lines = config.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.all(|line| line.is_empty() || line.starts_with(b"#"))
}

/// How the files look that a configuration is made of, and what the command line says.
pub(super) fn look(source: &Source, config: &Config) -> String {
    let files = Watched::new(&source.file, config).look();
    format!("{files}-{}", hash_of(source.set.join("\n").as_bytes()))
}

impl Host {
    /// What the files say now.
    pub(super) fn files(&self, cause: &str) -> Result<Wanted, String> {
        let mut wanted = Wanted::of_files(&self.source, cause)?;
        wanted.waiting = self.keep_what_needs_a_start(&mut wanted.config);
        self.accounts
            .check_replacement(&wanted.accounts)
            .map_err(|error| format!("{}: {error}", wanted.config.host.accounts.display()))?;
        self.check_not_lost(&wanted)?;
        Ok(wanted)
    }

    /// A configuration without any service does not follow one with some: a file that is just being written, or was
    /// lost, must not end everything.
    fn check_not_lost(&self, wanted: &Wanted) -> Result<(), String> {
        let running = self.running();
        let was_blank = |current: &Generation| is_blank(&current.texts.config);
        let blank = is_blank(&wanted.texts.config) && !self.current.as_ref().is_some_and(was_blank);
        if running.is_empty() || !(blank || wanted.config.services.is_empty()) {
            return Ok(());
        }
        let got = if blank { "an empty file" } else { "none" };
        let names: Vec<String> = running.into_keys().collect();
        Err(format!(
            "{}: expected services, got {got}: {} stay as they were; `enabled = false` ends one, `polyport stop` all",
            self.source.file.display(),
            names.join(", ")
        ))
    }

    /// What is in force.
    pub(super) fn same_again(&self, cause: &str) -> Result<Wanted, String> {
        let current = self.current.as_ref().ok_or("there is no generation yet")?;
        let instead = self.instead.clone();
        Ok(Wanted {
            look: instead.as_ref().and_then(|instead| instead.look.clone()),
            texts: current.texts.clone(),
            config: self.config.clone(),
            accounts: self.accounts.list(),
            libraries: Libraries::Copies(self.running()),
            cause: cause.to_owned(),
            instead,
            resumes: None,
            waiting: Vec::new(),
        })
    }

    /// The hash of each running service's library.
    pub(super) fn running(&self) -> BTreeMap<String, String> {
        let running = self.entries.iter().filter_map(|entry| {
            let hash = entry.instance.as_ref()?.library.hash.clone();
            Some((entry.service.name.clone(), hash))
        });
        running.collect()
    }

    /// Whether the files do not count and are what they were.
    pub(super) fn files_rest(&self) -> bool {
        let look_then = self
            .instead
            .as_ref()
            .and_then(|instead| instead.look.as_ref());
        look_then.is_some_and(|then| {
            tokio::task::block_in_place(|| look(&self.source, &self.config)) == *then
        })
    }

    /// Why something else is in force than the files say, for people.
    pub(super) fn overridden(&self) -> Option<String> {
        let number = self.current.as_ref()?.meta.number;
        let reason = &self.instead.as_ref()?.reason;
        Some(format!("running generation {number}: {reason}"))
    }
}
