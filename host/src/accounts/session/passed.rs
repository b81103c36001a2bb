//! A session that goes on in another process.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};

use serde::{Deserialize, Serialize};

use super::super::account::ANONYMOUS;
use super::super::{AccountList, Accounts, hex};
use super::{Entrance, Session};

/// What another process must know of a session, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionTold {
    /// The name of the account's section.
    account: String,
    /// The account's login.
    name: String,
    /// The hash of the token that the client came by, in hexadecimal.
    token: Option<String>,
    client_id: Option<String>,
    overheard: bool,
}

impl Session {
    /// What another process must know to go on with it.
    pub fn told(&self) -> SessionTold {
        SessionTold {
            account: self.account.id.clone(),
            name: self.account.name.clone(),
            token: self.token.as_ref().map(|token| hex::encode(&token.hash)),
            client_id: self.client_id.as_deref().map(str::to_owned),
            overheard: self.overheard,
        }
    }

    /// Goes on with a session of another process, which had begun by an account of `list`; none if it is not there.
    /// Counts among the account's sessions, whatever their limit. It is [current](Session::is_current) only if the
    /// account is in force here as it was there.
    pub fn resume(
        accounts: &Arc<Accounts>,
        list: &AccountList,
        entrance: &Arc<Entrance>,
        told: &SessionTold,
    ) -> Option<Self> {
        let account = if told.account == ANONYMOUS {
            list.anonymous()
        } else {
            list.get(&told.name)
        };
        let account = account.filter(|account| account.id == told.account)?;
        let token = match &told.token {
            None => None,
            Some(hash) => {
                let tokens = list.tokens_of(&told.name).into_iter();
                let mut same = tokens.filter(|token| hex::encode(&token.hash) == *hash);
                Some(Arc::clone(same.next()?))
            }
        };
        let counted = account.allowance.max_sessions.is_some();
        let counted = counted && account.usage().enter(NonZeroU32::MAX);
        Some(Self {
            account: Arc::clone(account),
            token,
            accounts: Arc::clone(accounts),
            entrance: Arc::clone(entrance),
            client_id: told.client_id.as_deref().map(Into::into),
            overheard: told.overheard,
            uses: AtomicU32::new(counted.into()),
            shared: AtomicU32::new(0),
            current_in: AtomicU64::new(0),
        })
    }
}
