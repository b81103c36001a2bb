//! The host's side of `scram/1`, whose handles are those of `accounts/2`.

use std::sync::Arc;

use polyport_abi::accounts::DENIED_REFUSED;
use polyport_abi::accounts2::ClientOrigin;
use polyport_abi::scram::{Challenge, ProofDone, ProofRequest, Proven, ScramV1};
use polyport_abi::{ROption, RResult, RSlice};

use super::accounts::{hold, number_of, shared};
use super::accounts2::client;
use super::{guard, side};
use crate::accounts;

/// The interface for one instance.
pub(super) fn table(ctx: *const ()) -> ScramV1 {
    ScramV1 {
        ctx,
        challenge,
        prove,
    }
}

extern "C" fn challenge(
    ctx: *const (),
    origin: ClientOrigin<'_>,
    message: RSlice<'_, u8>,
) -> RResult<Challenge, u32> {
    guard(RResult::RErr(DENIED_REFUSED), || {
        let side = side(ctx);
        let client = client(&origin, &ROption::RNone);
        let answer = side
            .accounts
            .challenge(&side.entrance, &client, message.as_slice());
        let answer = answer.map(|challenge| Challenge {
            user: challenge.user.into(),
            message: challenge.message.into_bytes().into(),
            state: challenge.state.into(),
        });
        answer.map_err(number_of).into()
    })
}

/// Where the answer to a proof goes.
struct Answer(*mut (), ProofDone);

// SAFETY: the pointer is the plugin's own and goes back to it once, from whichever thread.
unsafe impl Send for Answer {}

impl Answer {
    fn give(self, answer: Result<accounts::Proven, accounts::Denied>) {
        let answer = answer.map(|proven| Proven {
            account: proven.session.map(hold).into(),
            message: proven.message.into_bytes().into(),
        });
        (self.1.call)(self.0, answer.map_err(number_of).into());
    }
}

extern "C" fn prove(
    ctx: *const (),
    request: ProofRequest<'_>,
    user_data: *mut (),
    done: ProofDone,
) {
    let answer = Answer(user_data, done);
    guard((), || {
        let side = side(ctx);
        let client = client(&request.origin, &request.client_id);
        let current = request.current.into_option();
        let current = current.map(|handle| shared(&handle));
        let messages = (request.state.as_slice(), request.message.as_slice());
        let done = Box::new(move |checked| answer.give(checked));
        let entrance = Arc::clone(&side.entrance);
        side.accounts
            .prove(&entrance, &client, messages, current, done);
    });
}
