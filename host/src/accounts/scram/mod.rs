//! Logins by SCRAM-SHA-256 (RFC 5802, RFC 7677): the client proves that it knows its password without sending it.
//!
//! Two steps. Between them the host keeps nothing: what the second one needs goes along with whoever asks, and is no
//! secret. A user who cannot log in this way, or does not exist, is told a salt all the same, and always the same one.

mod message;
mod stand_in;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::login::{Check, Refusal, refusal};
use super::password::{KEY_LENGTH, Keys, Secret, is_prepared};
use super::session::{Caller, Client, Entrance, Session};
use super::{Accounts, Denied};
use message::{ClientFinal, ClientFirst};
pub(super) use stand_in::StandIn;

/// Bytes of entropy in the server's nonce.
const NONCE: usize = 18;

/// The answer to the first message.
#[derive(Debug)]
pub struct Challenge {
    /// The login, as the client gave it.
    pub user: String,
    /// What the client is sent.
    pub message: String,
    /// What [`Accounts::prove`] wants back.
    pub state: Vec<u8>,
}

/// The answer to the right proof.
#[derive(Debug)]
pub struct Proven {
    /// The session that begins; none where one goes on.
    pub session: Option<Session>,
    /// What the client is sent.
    pub message: String,
}

/// Who wants to know how it went.
pub type Done = Box<dyn FnOnce(Result<Proven, Denied>) + Send>;

/// What goes along from the first step to the second.
#[derive(Debug, Serialize, Deserialize)]
struct State {
    user: String,
    header: String,
    bare: String,
    nonce: String,
    /// The challenge as sent.
    message: String,
    salt: Vec<u8>,
    rounds: u32,
}

/// A proof to be checked.
pub(super) struct Proof {
    state: State,
    /// Of the client's message what its proof is over.
    without_proof: String,
    proof: [u8; KEY_LENGTH],
    caller: Caller,
    /// The session that goes on.
    current: Option<Arc<Session>>,
}

impl Accounts {
    /// Keeps in `folder` what the salts of those who have none come from, so that they stay the same when the host
    /// starts again. Without it they last as long as the process.
    pub fn keep_stand_ins_in(&self, folder: &Path) {
        self.stand_in.keep_in(folder);
    }

    /// Answers the first message of a client. Never waits.
    ///
    /// # Errors
    /// When the message is none that can be answered, or passwords are only taken over secure connections.
    pub fn challenge(
        &self,
        entrance: &Entrance,
        client: &Client<'_>,
        message: &[u8],
    ) -> Result<Challenge, Denied> {
        if entrance.requires_tls() && !client.secure {
            return Err(Denied::NeedsTls);
        }
        let first = ClientFirst::parse(message)
            .map_err(|reason| self.failed(None, entrance, client.address, reason))?;
        let list = self.list();
        let account = list.get(&first.user);
        let verifier = match account.and_then(|account| account.secret.as_ref()) {
            Some(Secret::Hash(hash)) => hash.verifier(),
            _ => None,
        };
        let form = list.scram_form();
        let stand_in = self.stand_in.salt(&first.user, form.salt);
        let (salt, rounds) = verifier.map_or((stand_in, form.rounds), |verifier| {
            (verifier.salt, verifier.rounds)
        });
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|_| Denied::Busy)?;
        let nonce = format!("{}{}", first.nonce, STANDARD.encode(nonce));
        let message = format!("r={nonce},s={},i={rounds}", STANDARD.encode(&salt));
        let state = State {
            user: first.user.clone(),
            header: first.header.to_owned(),
            bare: first.bare.to_owned(),
            nonce,
            message: message.clone(),
            salt,
            rounds,
        };
        let state = serde_json::to_vec(&state).map_err(|_| Denied::Refused)?;
        Ok(Challenge {
            user: first.user,
            message,
            state,
        })
    }

    /// Checks the last message of a client, and answers by calling `done`, as [`Accounts::log_in`] does. `current` is
    /// the session of a client that is logged in and proves who it is once more.
    pub fn prove(
        self: &Arc<Self>,
        entrance: &Arc<Entrance>,
        client: &Client<'_>,
        (state, message): (&[u8], &[u8]),
        current: Option<Arc<Session>>,
        done: Done,
    ) {
        if entrance.requires_tls() && !client.secure {
            return done(Err(Denied::NeedsTls));
        }
        let Ok(state) = serde_json::from_slice::<State>(state) else {
            let reason = "the exchange was begun elsewhere";
            return done(Err(self.failed(None, entrance, client.address, reason)));
        };
        let read = ClientFinal::parse(message, &state.header);
        let read = read.and_then(|read| match read.nonce == state.nonce {
            true => Ok(read),
            false => Err("the nonce is another"),
        });
        let read = match read {
            Ok(read) => read,
            Err(reason) => {
                let user = Some(&*state.user);
                return done(Err(self.failed(user, entrance, client.address, reason)));
            }
        };
        let now = Instant::now();
        if let Some(banned) = self.banned.refuses(&state.user, client.address, now)
            && !self.was_proven(&state.user)
        {
            tracing::debug!(user = state.user, %banned, "login refused");
            return done(Err(Denied::Refused));
        }
        let proof = Proof {
            without_proof: read.without_proof.to_owned(),
            proof: read.proof,
            state,
            caller: Caller::new(entrance, client),
            current,
        };
        self.submit(
            client.address,
            Check::Proof(Box::new(proof), Arc::clone(self), done),
        );
    }

    /// Whether somebody proved before that he knows the password of this user: then a ban of others does not keep him
    /// out, as with passwords.
    fn was_proven(&self, user: &str) -> bool {
        let list = self.list();
        list.get(user).is_some_and(|account| account.was_proven())
    }

    /// The whole check of a proof. A refusal takes the same time whatever its reason is.
    pub(super) fn check_proof(self: &Arc<Self>, proof: &Proof) -> Result<Proven, Denied> {
        let Proof { state, caller, .. } = proof;
        let list = self.list();
        let account = list.get(&state.user);
        let found = account.map_or(Err("there is no such account"), |account| {
            keys_of(account, state)
        });
        let computed = matches!(
            account.and_then(|account| account.secret.as_ref()),
            Some(Secret::Plain(_))
        );
        let keys = match found {
            Ok(keys) => keys,
            Err(_) => self.stand_in.keys(),
        };
        let signed = [&*state.bare, &state.message, &proof.without_proof].join(",");
        let right = keys.accept(signed.as_bytes(), &proof.proof) && found.is_ok();
        let Refusal { reason, denied } = match (account, found) {
            (None, Ok(_)) => Refusal::of_login("there is no such account"),
            (_, Err(reason)) => Refusal::of_login(reason),
            (Some(_), _) if !right => Refusal::of_login("the proof is wrong"),
            (Some(account), Ok(keys)) => {
                match refusal(account, caller.entrance.service(), caller.address) {
                    Some(refusal) => refusal,
                    None if proof.is_of_another(account) => Refusal::of_login(
                        "the client is logged in as somebody else, or not any more",
                    ),
                    None => {
                        account.note_proven();
                        self.banned.succeeded(&state.user);
                        let message = STANDARD.encode(keys.sign(signed.as_bytes()));
                        let session = match proof.current {
                            Some(_) => None,
                            None => Some(caller.begin(self, account)?),
                        };
                        return Ok(Proven {
                            session,
                            message: format!("v={message}"),
                        });
                    }
                }
            }
        };
        if list.scram_form().computed && !computed {
            std::hint::black_box(Keys::compute(b"", &state.salt, state.rounds));
        }
        self.failed(Some(&state.user), &caller.entrance, caller.address, &reason);
        Err(denied)
    }
}

impl Proof {
    /// Whether a session goes on that is not one of `account` as it is.
    fn is_of_another(&self, account: &Arc<Account>) -> bool {
        let current = self.current.as_ref();
        current
            .is_some_and(|session| !Arc::ptr_eq(&session.account, account) || !session.is_current())
    }
}

/// What proofs of an account are checked by; `Err` says why there is nothing.
fn keys_of(account: &Account, state: &State) -> Result<Keys, &'static str> {
    match &account.secret {
        None => Err("the account has no password"),
        Some(Secret::Plain(password)) if is_prepared(password.as_bytes()) => Ok(Keys::compute(
            password.as_bytes(),
            &state.salt,
            state.rounds,
        )),
        Some(Secret::Plain(_)) => {
            Err("the password has characters beyond printable ASCII, which SCRAM does without")
        }
        Some(Secret::Hash(hash)) => {
            let verifier = hash.verifier().ok_or(
                "the account has no SCRAM verifier, only a hash that SCRAM cannot use: \
                 \"polyport user passwd --scram\" makes one",
            )?;
            if verifier.salt == state.salt && verifier.rounds == state.rounds {
                Ok(verifier.keys)
            } else {
                Err("the password was changed meanwhile")
            }
        }
    }
}
