//! Enhanced authentication with SCRAM-SHA-256 (4.12, RFC 7677): the steps are the host's, their order is here.

use polyport_mqtt_core::codec::primitives::Reader;
use polyport_mqtt_core::store::record::{put_bytes, text};
use polyport_mqtt_core::{Authentication, LoginRefusal};
use polyport_sdk::accounts::{Account, Accounts, Proof};
use polyport_sdk::net::Origin;

use super::{Answer, Unanswered, refused, taking_over};
use crate::engine::Engine;

/// The one method there is.
const METHOD: &str = "SCRAM-SHA-256";

/// Answers a step of an exchange. What goes along to the next one is the login and the host's own state, or nothing
/// where the client has not begun yet.
pub(super) async fn answer(
    engine: &Engine,
    accounts: &Accounts,
    (origin, client_id): (&Origin, &str),
    step: &Authentication,
    current: Option<&Account>,
) -> Result<Answer, Unanswered> {
    if step.method != METHOD || !accounts.offers_scram() {
        return Err(Unanswered::Refused(LoginRefusal::BadAuthenticationMethod));
    }
    let message = step.data.as_deref();
    let Some(state) = step.state.as_deref().filter(|state| !state.is_empty()) else {
        return match (message, &step.state) {
            (None, None) => Ok(Answer::Continue {
                data: None,
                state: Vec::new(),
            }),
            (message, _) => begin(accounts, origin, message.unwrap_or_default()),
        };
    };
    let mut reader = Reader::new(state);
    let user = text(&mut reader);
    let user = user.map_err(|_| Unanswered::Refused(LoginRefusal::NotAuthorized))?;
    let proof = Proof {
        state: reader.rest(),
        message: message.unwrap_or_default(),
        client_id: Some(client_id),
    };
    if step.again {
        let current = current.ok_or(Unanswered::Refused(LoginRefusal::NotAuthorized))?;
        let proved = accounts.scram_prove_again(origin, proof, current).await;
        return proved.map(Answer::StillAuthenticated).map_err(refused);
    }
    let ask = || accounts.scram_prove(origin, proof);
    let (account, data) = taking_over(engine, client_id, Some(user), ask).await?;
    Ok(Answer::Authenticated(account, data))
}

fn begin(accounts: &Accounts, origin: &Origin, message: &[u8]) -> Result<Answer, Unanswered> {
    let challenge = accounts.scram_challenge(origin, message).map_err(refused)?;
    let mut state = Vec::new();
    put_bytes(&mut state, challenge.user.as_bytes());
    state.extend_from_slice(&challenge.state);
    Ok(Answer::Continue {
        data: Some(challenge.message),
        state,
    })
}
