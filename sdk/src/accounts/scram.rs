//! Logins by SCRAM-SHA-256: the host answers both messages of a client.

use polyport_abi::scram::{ProofDone, ProofRequest, Proven as HostProven, ScramV1};
use polyport_abi::{HostQuery, ROption, RResult};
use tokio::sync::oneshot;

use super::account::Held;
use super::table::{Table, client_origin};
use super::{Account, Accounts, Denied};
use crate::net::Origin;

/// The answer to the first message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The login, as the client gave it: nothing is proved yet.
    pub user: String,
    /// What the client is sent.
    pub message: Vec<u8>,
    /// What [`Accounts::scram_prove`] wants back: not secret, and good in the next instance as well.
    pub state: Vec<u8>,
}

/// The last message of a client.
#[derive(Debug, Clone, Copy)]
pub struct Proof<'a> {
    /// What [`Challenge::state`] was.
    pub state: &'a [u8],
    /// What the client sent.
    pub message: &'a [u8],
    /// What the client calls itself, where its protocol has such a name: `%c` in rules.
    pub client_id: Option<&'a str>,
}

/// A login by SCRAM that a host is checking.
pub(crate) struct PendingProof {
    table: Table,
    sender: oneshot::Sender<Result<Checked, Denied>>,
}

struct Checked {
    held: Option<Held>,
    message: Vec<u8>,
}

impl PendingProof {
    /// Passes the host's answer on; a holder that nobody waits for any more is released.
    pub(crate) fn answer(self, answer: RResult<HostProven, u32>) {
        let table = self.table;
        let answer = match answer {
            RResult::ROk(HostProven { account, message }) => {
                let held = account.into_option().map(|handle| Held { table, handle });
                let message = message.into_vec();
                Ok(Checked { held, message })
            }
            RResult::RErr(number) => Err(Denied::from_number(number)),
        };
        // Dropping what could not be sent releases it.
        drop(self.sender.send(answer));
    }
}

/// The host's functions; its handles are those of `accounts/2`.
pub(super) fn of(host: HostQuery, table: Table) -> Option<&'static ScramV1> {
    let of_accounts2 = matches!(table, Table::Second(_));
    let found = crate::export::host_interface::<ScramV1>(host).ok();
    found.filter(|_| of_accounts2)
}

impl Accounts {
    /// Whether the host takes logins by SCRAM-SHA-256; an older one does not.
    #[must_use]
    pub fn offers_scram(&self) -> bool {
        self.scram().is_some()
    }

    fn scram(&self) -> Option<&'static ScramV1> {
        self.inner.as_ref()?.scram
    }

    /// Answers the first message of a client (RFC 5802, 7). Never waits.
    ///
    /// # Errors
    /// [`Denied::Refused`] if the message is none that can be answered, [`Denied::NeedsTls`]. A user that does not
    /// exist is no error.
    pub fn scram_challenge(&self, origin: &Origin, message: &[u8]) -> Result<Challenge, Denied> {
        let table = self.scram().ok_or(Denied::Refused)?;
        match (table.challenge)(table.ctx, client_origin(origin), message.into()) {
            RResult::ROk(challenge) => Ok(Challenge {
                user: challenge.user.into_string(),
                message: challenge.message.into_vec(),
                state: challenge.state.into_vec(),
            }),
            RResult::RErr(number) => Err(Denied::from_number(number)),
        }
    }

    /// Checks the last message of a client: the account that it proved to be its own, and what it is sent.
    ///
    /// # Errors
    /// As [`Accounts::login`].
    pub async fn scram_prove(
        &self,
        origin: &Origin,
        proof: Proof<'_>,
    ) -> Result<(Account, Vec<u8>), Denied> {
        let inner = self.inner.as_ref().ok_or(Denied::Refused)?;
        let Checked { held, message } = self.prove(origin, proof, None).await?;
        let account = Account::new(held.ok_or(Denied::Refused)?, inner);
        Ok((account, message))
    }

    /// The same for a client that is logged in, which has to prove that it is still who it was; what it is sent.
    ///
    /// # Errors
    /// As [`Accounts::login`], and [`Denied::Refused`] if it is somebody else by now.
    pub async fn scram_prove_again(
        &self,
        origin: &Origin,
        proof: Proof<'_>,
        current: &Account,
    ) -> Result<Vec<u8>, Denied> {
        let checked = self.prove(origin, proof, Some(current)).await?;
        Ok(checked.message)
    }

    async fn prove(
        &self,
        origin: &Origin,
        proof: Proof<'_>,
        current: Option<&Account>,
    ) -> Result<Checked, Denied> {
        let answer = self.begin_proof(origin, proof, current)?;
        answer.await.unwrap_or(Err(Denied::Refused))
    }

    fn begin_proof(
        &self,
        origin: &Origin,
        proof: Proof<'_>,
        current: Option<&Account>,
    ) -> Result<oneshot::Receiver<Result<Checked, Denied>>, Denied> {
        let inner = self.inner.as_ref().ok_or(Denied::Refused)?;
        let scram = inner.scram.ok_or(Denied::Refused)?;
        let (sender, answer) = oneshot::channel();
        let table = inner.table;
        let pending = Box::into_raw(Box::new(PendingProof { table, sender })).cast();
        let done = ProofDone {
            call: crate::export::proof_done,
        };
        let request = ProofRequest {
            origin: client_origin(origin),
            client_id: proof.client_id.map(Into::into).into(),
            state: proof.state.into(),
            message: proof.message.into(),
            current: current.map_or(ROption::RNone, |account| ROption::RSome(account.handle())),
        };
        (scram.prove)(scram.ctx, request, pending, done);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn nothing(
        _: *const (),
        _: polyport_abi::RStr<'_>,
    ) -> ROption<polyport_abi::Interface> {
        ROption::RNone
    }

    #[tokio::test]
    async fn a_host_without_it_refuses() {
        let accounts = Accounts::new(HostQuery {
            ctx: std::ptr::null(),
            interface: nothing,
        });
        assert!(!accounts.offers_scram());
        let origin = Origin::new(crate::net::Peer::Unix);
        let challenge = accounts.scram_challenge(&origin, b"n,,n=a,r=b");
        assert_eq!(challenge, Err(Denied::Refused));
        let proof = Proof {
            state: b"",
            message: b"",
            client_id: None,
        };
        let proven = accounts.scram_prove(&origin, proof).await;
        assert_eq!(proven.unwrap_err(), Denied::Refused);
    }
}
