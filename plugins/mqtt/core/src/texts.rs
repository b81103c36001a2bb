//! Texts that many have, kept once: names of accounts and clients.

use std::collections::HashSet;
use std::sync::Arc;

/// So many are kept before it is looked which of them nobody has any more.
const FEW: usize = 1_024;

/// The texts that are known.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    all: HashSet<Arc<str>, foldhash::fast::RandomState>,
    swept: usize,
}

impl Texts {
    /// The text that all share who ask for it.
    pub(crate) fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.all.get(text) {
            return Arc::clone(known);
        }
        if self.all.len() >= self.swept.max(FEW) {
            self.all.retain(|text| Arc::strong_count(text) > 1);
            self.all.shrink_to_fit();
            self.swept = self.all.len() * 2;
        }
        let text: Arc<str> = text.into();
        self.all.insert(Arc::clone(&text));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_kept_once_and_no_longer_than_somebody_has_it() {
        let mut texts = Texts::default();
        let one = texts.share("one");
        assert!(Arc::ptr_eq(&one, &texts.share("one")));
        for number in 0..10 * FEW {
            texts.share(&number.to_string());
        }
        assert!(texts.all.len() <= FEW, "{}", texts.all.len());
        assert!(Arc::ptr_eq(&one, &texts.share("one")));
    }
}
