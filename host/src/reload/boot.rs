//! The start of the process: from the files, or from a kept generation where the files cannot be used or do not
//! count.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::warn;

use super::wanted::{Instead, Wanted, look};
use super::{Before, Fallen, Host, Next, Origin};
use crate::accounts::{AccountList, Accounts};
use crate::board::Board;
use crate::config::{Config, Source};
use crate::generations::{Generation, Store};
use crate::lasting;
use crate::listeners::Listeners;
use crate::loader::Loader;

/// What a process may start from, read before anything runs.
pub struct Start {
    /// The configuration that says where the log, the state and the control socket are.
    pub config: Config,
    files: Result<Wanted, String>,
    /// A generation that is in force in place of the files as they are.
    pinned: Option<Generation>,
}

impl Start {
    /// Reads the files and what is kept.
    ///
    /// # Errors
    /// What is wrong with the files, where no generation is kept that could take their place.
    pub fn read(source: &Source) -> Result<Self, String> {
        let store = Store::new(&Config::state_folder(source));
        let pinned = store.current().and_then(|number| {
            let generation = of_this_file(&store, source, number)?;
            let overrides = generation.meta.overrides.as_ref()?;
            let config = generation.texts.config(source).ok()?;
            (look(source, &config) == overrides.look).then_some((generation, config))
        });
        let files = Wanted::of_files(source, "start");
        let (pinned, config) = match (pinned, &files) {
            (Some((pinned, config)), _) => (Some(pinned), config),
            (None, Ok(files)) => (None, files.config.clone()),
            (None, Err(reason)) => (None, last_config(source).ok_or_else(|| reason.clone())?),
        };
        Ok(Self {
            config,
            files,
            pinned,
        })
    }
}

/// The configuration of the newest generation that can be read: what a host runs, most likely, when the files are
/// broken.
pub fn last_config(source: &Source) -> Option<Config> {
    let store = Store::new(&Config::state_folder(source));
    kept(&store, source).find_map(|generation| generation.texts.config(source).ok())
}

/// The generations in force and before, newest first.
fn kept<'a>(store: &'a Store, source: &'a Source) -> impl Iterator<Item = Generation> + 'a {
    let current = store.current().unwrap_or_default();
    let numbers = store.numbers().into_iter().rev();
    numbers
        .filter(move |number| *number <= current)
        .filter_map(|number| of_this_file(store, source, number))
}

/// A generation, if it was made from the file that `source` names.
fn of_this_file(store: &Store, source: &Source, number: u64) -> Option<Generation> {
    let generation = store.read(number).ok()?;
    let file = std::path::absolute(&source.file).ok()?;
    (generation.meta.file == file).then_some(generation)
}

impl Host {
    /// Starts what can be started. A service that cannot is shown as failed; the others run. Where less is wrong with
    /// the last good generation than with the files, it is started from that. `fallen` hears of instances that get
    /// into trouble in their probation. In the place of another process, all that runs there has to run here, by the
    /// files as they are.
    ///
    /// # Errors
    /// When neither the files nor a generation can be used, or the process before goes on.
    pub async fn boot(
        source: Source,
        start: Start,
        board: Board,
        fallen: mpsc::UnboundedSender<Fallen>,
        origin: Origin,
    ) -> Result<Self, String> {
        let accounts = Accounts::start(Arc::new(AccountList::empty()))
            .map_err(|error| format!("accounts: {error}"))?;
        accounts.keep_stand_ins_in(&start.config.host.state);
        let store = Store::new(&start.config.host.state);
        store.sweep();
        let loader = Loader::new(&start.config.host.state);
        loader.sweep(&store.libraries());
        let mut host = Self {
            board,
            source,
            accounts,
            watchers: Arc::default(),
            loader,
            listeners: Listeners::default(),
            lasting: lasting::Registry::default(),
            entries: Vec::new(),
            ending: JoinSet::new(),
            config: start.config.clone(),
            store,
            current: None,
            instead: None,
            refused: None,
            trials: HashMap::new(),
            fallen,
            before: None,
            draining: None,
        };
        host.begin_from(origin)?;
        let (next, refusal) = tokio::task::block_in_place(|| host.choose(start))?;
        // Before anything asks for them.
        host.accounts.replace(Arc::clone(&next.accounts));
        host.config = next.config.clone();
        host.change(next, true).await?;
        host.draining = host.before.take().map(Before::into_process);
        if let (Some(refusal), Some(told)) = (refusal, host.overridden()) {
            for line in told.lines() {
                warn!("{line}");
                eprintln!("polyport: {line}");
            }
            host.board.update(|shown| shown.last_error = Some(refusal));
        } else if let Some(told) = host.overridden() {
            warn!("{told}");
        }
        Ok(host)
    }

    /// The state to start in, and what is wrong with the files if that is why it is another.
    fn choose(&mut self, start: Start) -> Result<(Next, Option<String>), String> {
        if let Some(pinned) = start.pinned {
            let number = pinned.meta.number;
            let instead = pinned.meta.overrides.as_ref().map(Instead::of);
            match self.prepare_kept(pinned, instead) {
                Ok(next) if next.failures().is_empty() => return Ok((next, None)),
                Ok(next) => warn!(
                    "generation {number} cannot be used: {}",
                    next.failures().join("; ")
                ),
                Err(reason) => warn!("generation {number} cannot be used: {reason}"),
            }
        }
        let tried = start.files.as_ref().ok().map(|files| files.config.clone());
        let from_files = start.files.and_then(|mut wanted| {
            self.keep_what_needs_a_start(&mut wanted.config);
            self.prepare(wanted, &|_| false, true)
        });
        let (mut fewest, refusal) = match &from_files {
            Ok(next) => (next.failures().len(), next.failures().join("\n")),
            Err(reason) => (usize::MAX, reason.clone()),
        };
        let mut best = None;
        let generations: Vec<Generation> = if fewest > 0 && !self.replaces() {
            kept(&self.store, &self.source).collect()
        } else {
            Vec::new()
        };
        for generation in generations {
            let instead = Instead {
                look: None,
                reason: format!("the files are refused: {refusal}"),
            };
            match self.prepare_kept(generation, Some(instead)) {
                Ok(next) if next.failures().len() < fewest => {
                    fewest = next.failures().len();
                    best = Some(next);
                }
                // No better than what there is.
                Ok(_) | Err(_) => {}
            }
            if fewest == 0 {
                break;
            }
        }
        match best {
            Some(next) => {
                self.refused = tried;
                Ok((next, Some(refusal)))
            }
            None => from_files.map(|next| (next, None)),
        }
    }

    fn prepare_kept(
        &mut self,
        generation: Generation,
        instead: Option<Instead>,
    ) -> Result<Next, String> {
        let Generation { meta, texts } = generation;
        let mut wanted = Wanted::of_texts(&self.source, texts, meta.libraries(), &meta.cause)?;
        self.keep_what_needs_a_start(&mut wanted.config);
        wanted.instead = instead;
        wanted.resumes = Some(meta);
        self.prepare(wanted, &|_| false, true)
    }
}
