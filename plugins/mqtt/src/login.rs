//! The engine's logins and rights, answered by the host's accounts.

mod scram;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::{Absent, Authorizer, Extent, LoginRefusal, LoginRequest};
use polyport_sdk::Context;
use polyport_sdk::accounts::{Account, Accounts, Action, Denied, Login};
use polyport_sdk::net::Origin;

use crate::engine::Engine;

/// How often, and how long each time, a login waits for the connection that it takes over to end.
const RELEASES: usize = 50;
const RELEASE: Duration = Duration::from_millis(10);

/// The rights of an account.
struct Rights(Account);

impl Authorizer for Rights {
    fn may_publish(&self, topic_name: &str) -> bool {
        self.0.allows(Action::Publish, topic_name)
    }
    fn may_subscribe(&self, topic_filter: &str) -> Extent {
        if self.0.allows(Action::Subscribe, topic_filter) {
            Extent::Every
        } else if self.0.allows_some(topic_filter) {
            Extent::Some
        } else {
            Extent::None
        }
    }
    fn may_receive(&self, topic_name: &str) -> bool {
        self.0.allows(Action::Subscribe, topic_name)
    }
    fn account(&self) -> Option<&str> {
        Some(self.0.name())
    }
}

/// Why a login has no account.
#[derive(Debug)]
pub(crate) enum Unanswered {
    Refused(LoginRefusal),
    /// It has to be asked anew: the connection that it takes over is not in this engine's hands now.
    Elsewhere,
}

/// The answer to a client that wants to log in.
pub(crate) enum Answer {
    /// Its account.
    Account(Account),
    /// It is to go on with its authentication.
    Continue {
        /// What it is sent.
        data: Option<Vec<u8>>,
        /// What is wanted back with its answer.
        state: Vec<u8>,
    },
    /// Its account, and what it is sent.
    Authenticated(Account, Vec<u8>),
    /// It is who it was, and is sent this.
    StillAuthenticated(Vec<u8>),
}

/// The account of a client: of its user name and password, of an API token, which is a password and
/// may do without a user name, of its certificate, of an enhanced authentication, or else the
/// anonymous one. `current` is what it has already.
pub(crate) async fn login(
    engine: Arc<Engine>,
    context: Context,
    origin: Origin,
    request: LoginRequest,
    current: Option<Account>,
) -> Result<Answer, Unanswered> {
    let accounts = context.accounts();
    if let Some(step) = &request.authentication {
        let client = (&origin, request.client_id.as_str());
        return scram::answer(&engine, accounts, client, step, current.as_ref()).await;
    }
    let client_id = Some(request.client_id.as_str());
    if request.username.is_none() && request.password.is_none() {
        let account = accounts.identify(&origin, client_id);
        return account
            .map(Answer::Account)
            .ok_or(Unanswered::Refused(LoginRefusal::NotAuthorized));
    }
    let login = Login {
        user: request.username.as_deref(),
        password: request.password.as_deref(),
        client_id,
    };
    let ask = || accounts.login(&origin, login);
    let account = taking_over(&engine, &request.client_id, login.user, ask).await?;
    Ok(Answer::Account(account))
}

/// Asks, and where the account has as many sessions as it may have, asks again once the connection
/// with this client identifier has ended, if that is the account's own.
async fn taking_over<T, A: Future<Output = Result<T, Denied>>>(
    engine: &Engine,
    client_id: &str,
    user: Option<&str>,
    ask: impl Fn() -> A,
) -> Result<T, Unanswered> {
    let mut answer = ask().await;
    if matches!(answer, Err(Denied::TooManySessions))
        && let Some(user) = user
        && engine
            .release(client_id, user)
            .ok_or(Unanswered::Elsewhere)?
    {
        // The old connection's task lets go of the account next.
        for _ in 0..RELEASES {
            tokio::time::sleep(RELEASE).await;
            answer = ask().await;
            if !matches!(answer, Err(Denied::TooManySessions)) {
                break;
            }
        }
    }
    answer.map_err(refused)
}

fn refused(denied: Denied) -> Unanswered {
    Unanswered::Refused(match denied {
        Denied::Refused => LoginRefusal::BadUserNameOrPassword,
        Denied::NotHere => LoginRefusal::NotAuthorized,
        Denied::NeedsTls => LoginRefusal::Insecure,
        Denied::TooManySessions => LoginRefusal::QuotaExceeded,
        Denied::Busy => LoginRefusal::Busy,
    })
}

/// The accounts of the host by their names.
struct ByName(Accounts);

impl Absent for ByName {
    fn may_publish(&self, account: &str, client_id: &str, topic_name: &str) -> bool {
        let allows = self
            .0
            .named_allows(account, client_id, Action::Publish, topic_name);
        // An older host cannot tell; then it is as it was before this was asked.
        allows.unwrap_or(true)
    }
}

/// The rights of accounts whose clients are not here.
pub(crate) fn absent(context: &Context) -> Arc<dyn Absent> {
    Arc::new(ByName(context.accounts().clone()))
}

/// The rights of an account for the engine.
pub(crate) fn rights(account: Account) -> Arc<dyn Authorizer> {
    Arc::new(Rights(account))
}
