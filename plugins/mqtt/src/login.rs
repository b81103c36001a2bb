//! The engine's logins and rights, answered by the host's accounts.

use std::sync::Arc;

use polyport_mqtt_core::{Authorizer, LoginRefusal, LoginRequest};
use polyport_sdk::Context;
use polyport_sdk::accounts::{Account, Action, Denied, Login};
use polyport_sdk::net::Origin;

/// The rights of an account.
struct Rights(Account);

impl Authorizer for Rights {
    fn may_publish(&self, topic_name: &str) -> bool {
        self.0.allows(Action::Publish, topic_name)
    }
    fn may_subscribe(&self, topic_filter: &str) -> bool {
        self.0.allows(Action::Subscribe, topic_filter)
    }
}

/// The account of a client.
pub(crate) async fn login(
    context: Context,
    origin: Origin,
    request: LoginRequest,
) -> Result<Account, LoginRefusal> {
    let accounts = context.accounts();
    match request.username {
        None => accounts
            .identify(&origin, None)
            .ok_or(LoginRefusal::NotAuthorized),
        Some(user) => {
            let password = request.password.unwrap_or_default();
            accounts
                .login(&origin, Login::with_password(&user, &password))
                .await
                .map_err(|denied| match denied {
                    Denied::Refused => LoginRefusal::BadUserNameOrPassword,
                    Denied::NotHere | Denied::NeedsTls => LoginRefusal::NotAuthorized,
                    Denied::Busy | Denied::TooManySessions => LoginRefusal::Unavailable,
                })
        }
    }
}

/// The rights of an account for the engine.
pub(crate) fn rights(account: Account) -> Arc<dyn Authorizer> {
    Arc::new(Rights(account))
}
