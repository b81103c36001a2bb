//! Back to a kept generation, as a new one; and the list of those that are kept.

use serde_json::{Value, json};

use super::Host;
use super::wanted::{Instead, Wanted, look};

/// What makes the files count again, for people.
pub(super) const UNTIL: &str = "the files count again when they change, or at `polyport reload`";

impl Host {
    /// Goes over to a kept generation, the one before the present one where none is named. The files stay as they are.
    ///
    /// # Errors
    /// When it is not kept, or cannot be had any more; then everything is as it was.
    pub async fn roll_back(&mut self, number: Option<u64>) -> Result<u64, String> {
        let current = self.board.generation();
        let number = match number {
            Some(number) if number == current => {
                return Err(format!("generation {number} is in force"));
            }
            Some(number) => number,
            None => {
                let before = self.store.numbers().into_iter().rev();
                let mut before = before.filter(|number| *number < current);
                before
                    .next()
                    .ok_or_else(|| format!("there is no generation before {current}"))?
            }
        };
        let cause = format!("rollback to {number}");
        let wanted = tokio::task::block_in_place(|| self.kept(number, &cause));
        self.go_over(wanted, &cause, &|_| false).await
    }

    fn kept(&self, number: u64, cause: &str) -> Result<Wanted, String> {
        let generation = self.store.read(number)?;
        let named = |error: String| format!("generation {number}: {error}");
        let libraries = generation.meta.libraries();
        for (service, hash) in &libraries {
            // Also of one that is loaded: the next process needs it.
            let copy = self.loader.copy_of(hash);
            if !copy.exists() {
                return Err(named(format!(
                    "expected the library of service {service:?} in {}, got none",
                    copy.display()
                )));
            }
        }
        let mut wanted =
            Wanted::of_texts(&self.source, generation.texts, libraries, cause).map_err(named)?;
        wanted.waiting = self.keep_what_needs_a_start(&mut wanted.config);
        let look = look(&self.source, &wanted.config);
        wanted.look = Some(look.clone());
        wanted.instead = Some(Instead {
            look: Some(look),
            reason: format!("{cause}; {UNTIL}"),
        });
        Ok(wanted)
    }

    /// The generations that are kept, oldest first.
    pub fn generations(&self) -> Value {
        let mut kept = self.store.list();
        for set in kept.iter_mut().flat_map(|meta| &mut meta.set) {
            // A value may be a secret.
            set.truncate(set.find('=').unwrap_or(set.len()));
        }
        json!({ "current": self.board.generation(), "generations": kept })
    }
}
