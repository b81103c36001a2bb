//! Accounts that nobody logs in to now: those that a service's settings name, and those that once did what stands
//! there still.

use std::sync::Arc;
use std::time::SystemTime;

use super::Accounts;
use super::login::refusal;
use super::rights::{self, Action, Decision, Question};
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

    /// Whether the account with this login, or the anonymous one by its name, may do `action` to `target` as of now,
    /// as a client that calls itself `client_id`. Wherever that comes from, and however it would prove who it is.
    pub fn named_allows(
        &self,
        entrance: &Entrance,
        login: &str,
        client_id: &str,
        action: Action,
        target: &str,
    ) -> bool {
        let list = self.list();
        let anonymous = || list.anonymous().filter(|account| account.name == login);
        let question = Question {
            service: entrance.service(),
            action,
            target,
            client_id: Some(client_id),
            token: None,
        };
        list.get(login).or_else(anonymous).is_some_and(|account| {
            let decision = rights::decide(account, &question, SystemTime::now());
            matches!(decision, Decision::Allowed(_))
        })
    }
}
