//! Sessions of accounts that a service uses because its settings name them.

use std::sync::Arc;

use super::Accounts;
use super::login::refusal;
use super::session::{Client, Entrance, Session};

impl Accounts {
    /// A session of the account with this login, as from within the service's own program; none if the account is
    /// not there, not for this service, or has as many sessions as it may have.
    pub fn named(self: &Arc<Self>, entrance: &Arc<Entrance>, login: &str) -> Option<Session> {
        let list = self.list();
        let account = list.get(login)?;
        let client = Client {
            secure: true,
            ..Client::default()
        };
        if let Some(refusal) = refusal(account, entrance.service(), client.address) {
            tracing::debug!(
                login,
                service = entrance.service(),
                "not named: {}",
                refusal.reason
            );
            return None;
        }
        Session::begin(self, account, None, entrance, &client, false).ok()
    }
}
