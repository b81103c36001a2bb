//! The engine's logins and rights, answered by the host's accounts.

use std::sync::Arc;
use std::time::Duration;

use polyport_mqtt_core::{Authorizer, Extent, LoginRefusal, LoginRequest};
use polyport_sdk::Context;
use polyport_sdk::accounts::{Account, Action, Denied, Login};
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

/// The account of a client: of its user name and password, of an API token, which is a password and
/// may do without a user name, of its certificate, or else the anonymous one.
pub(crate) async fn login(
    engine: Arc<Engine>,
    context: Context,
    origin: Origin,
    request: LoginRequest,
) -> Result<Account, Unanswered> {
    if request.authentication.is_some() {
        return Err(Unanswered::Refused(LoginRefusal::BadAuthenticationMethod));
    }
    let accounts = context.accounts();
    let client_id = Some(request.client_id.as_str());
    if request.username.is_none() && request.password.is_none() {
        return accounts
            .identify(&origin, client_id)
            .ok_or(Unanswered::Refused(LoginRefusal::NotAuthorized));
    }
    let login = Login {
        user: request.username.as_deref(),
        password: request.password.as_deref(),
        client_id,
    };
    let mut answer = accounts.login(&origin, login).await;
    if matches!(answer, Err(Denied::TooManySessions))
        && let Some(user) = login.user
        && engine
            .release(&request.client_id, user)
            .ok_or(Unanswered::Elsewhere)?
    {
        // The old connection's task lets go of the account next.
        for _ in 0..RELEASES {
            tokio::time::sleep(RELEASE).await;
            answer = accounts.login(&origin, login).await;
            if !matches!(answer, Err(Denied::TooManySessions)) {
                break;
            }
        }
    }
    answer.map_err(|denied| {
        Unanswered::Refused(match denied {
            Denied::Refused => LoginRefusal::BadUserNameOrPassword,
            Denied::NotHere => LoginRefusal::NotAuthorized,
            Denied::NeedsTls => LoginRefusal::Insecure,
            Denied::TooManySessions => LoginRefusal::QuotaExceeded,
            Denied::Busy => LoginRefusal::Busy,
        })
    })
}

/// The rights of an account for the engine.
pub(crate) fn rights(account: Account) -> Arc<dyn Authorizer> {
    Arc::new(Rights(account))
}
