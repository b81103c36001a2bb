//! Where a retained message comes from: what is asked about it once its publisher may be gone.

use std::sync::Arc;

use crate::time::Time;

/// When a message was retained, and by whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Zero where nobody knows any more.
    pub since: Time,
    /// None for the broker's own, those of bridges, and those of stores that did not say.
    pub publisher: Option<Publisher>,
}

/// A client that published with an account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Publisher {
    /// Name of the account.
    pub account: Arc<str>,
    /// Its client identifier then.
    pub client_id: Arc<str>,
}

impl Origin {
    /// From both names as they are written down; nobody is empty.
    pub(crate) fn new(since: Time, account: &str, client_id: &str) -> Origin {
        let publisher = || Publisher {
            account: account.into(),
            client_id: client_id.into(),
        };
        Origin {
            since,
            publisher: (!account.is_empty()).then(publisher),
        }
    }

    /// The names of account and client, as [`Origin::new`] takes them.
    pub(crate) fn names(&self) -> (&str, &str) {
        let publisher = self.publisher.as_ref();
        publisher.map_or(("", ""), |publisher| {
            (&publisher.account, &publisher.client_id)
        })
    }
}
