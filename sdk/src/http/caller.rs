//! Who a request is from: what it brought along, against the host's accounts.
//!
//! `Authorization: Basic` carries a name and a password or token, `Bearer` a token; without either, the
//! client's certificate counts, and without that the anonymous account.

use ::http::{HeaderValue, StatusCode, header};

use super::{Credentials, Problem, Request};
use crate::accounts::{Account, Accounts, Action, Denied, Login};
use crate::files;

/// The account that stands for clients without one.
const ANONYMOUS: &str = "anonymous";

/// Whose request it is, and how to ask for an account where one is needed.
#[derive(Clone, Debug)]
pub struct Caller {
    account: Option<Account>,
    named: bool,
    by_token: bool,
    /// Whether a password would pass in clear where none may.
    in_clear: bool,
    realm: String,
}

impl Caller {
    /// Logs the request in: by its credentials, else by the certificate of its connection, else as the anonymous
    /// account where one is configured. Names the user in the access log. The account has a session more until
    /// the response has gone.
    ///
    /// # Errors
    /// 401 for credentials that are not accepted; 403 for those that are, but not here, or not without TLS; 429
    /// when the account has as many sessions as it may have; 503 when too many logins wait.
    pub async fn identify(
        request: &Request,
        accounts: &Accounts,
        realm: &str,
    ) -> Result<Self, Problem> {
        let mut caller = Self {
            account: None,
            named: false,
            by_token: false,
            in_clear: !request.origin().is_secure() && accounts.requires_tls(),
            realm: realm.into(),
        };
        let mut fields = request.headers.get_all(header::AUTHORIZATION).iter();
        let (field, only) = (fields.next(), fields.next().is_none());
        let known = request.exchange.activity().login(field).filter(|_| only);
        if let Some(known) = known {
            match known.resume() {
                Ok(account) => {
                    caller.by_token = field.is_some_and(is_bearer);
                    caller.enter(request, account);
                    return Ok(caller);
                }
                Err(Denied::TooManySessions) => return Err(caller.denied(Denied::TooManySessions)),
                // It has changed since: what it is now, the host says.
                Err(_) => {}
            }
        }
        let found = match Credentials::read(&request.headers) {
            Ok(None) => accounts.identify(request.origin(), None).map(Ok),
            Ok(Some(Credentials::Basic { user, password })) => {
                // `curl -u :TOKEN`: a token names its account.
                let login = Login {
                    user: Some(user.as_str()).filter(|user| !user.is_empty()),
                    password: Some(&password),
                    ..Login::default()
                };
                Some(accounts.login(request.origin(), login).await)
            }
            Ok(Some(Credentials::Bearer(token))) => {
                caller.by_token = true;
                let login = Login {
                    password: Some(token.as_bytes()),
                    ..Login::default()
                };
                Some(accounts.login(request.origin(), login).await)
            }
            Err(wrong) => return Err(caller.challenge(wrong)),
        };
        match found {
            Some(Ok(account)) => {
                request.exchange.activity().set_login(field, &account);
                caller.enter(request, account);
                Ok(caller)
            }
            Some(Err(denied)) => Err(caller.denied(denied)),
            None => Ok(caller),
        }
    }

    fn enter(&mut self, request: &Request, account: Account) {
        self.named = account.name() != ANONYMOUS;
        if self.named {
            request.set_user(account.name());
        }
        request.exchange.set_account(&account);
        self.account = Some(account);
    }

    /// The account, none for a client without one where nothing is anonymous.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Whether the client has an account of its own, not the anonymous one.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.named
    }

    /// Whether the caller may do this to a path (`/a/b`).
    #[must_use]
    pub fn allows(&self, action: Action, target: &str) -> bool {
        self.account
            .as_ref()
            .is_some_and(|account| account.allows(action, target))
    }

    /// Insists that the caller may do this to a path.
    ///
    /// # Errors
    /// [`refusal`](Self::refusal).
    pub fn require(&self, action: Action, target: &str) -> Result<(), Problem> {
        if self.allows(action, target) {
            Ok(())
        } else {
            Err(self.refusal())
        }
    }

    /// How a lacking right is answered: 401 to a client without an account, who may have one,
    /// 403 to an account that lacks it, and to a client that would have to log in by https.
    #[must_use]
    pub fn refusal(&self) -> Problem {
        if !self.named {
            return self.challenge("this needs an account");
        }
        let problem = Problem::new(StatusCode::FORBIDDEN).detail("the account lacks the right");
        if self.by_token {
            // RFC 6750, 3.1: another token of the same account may have it.
            let value = self.bearer_challenge(Some("insufficient_scope"));
            return problem.header_text(header::WWW_AUTHENTICATE, &value);
        }
        problem
    }

    /// How an error of a file is answered: a lacking right as a [`refusal`](Self::refusal).
    #[must_use]
    pub fn problem(&self, error: files::Error) -> Problem {
        match error {
            files::Error::Forbidden => self.refusal(),
            error => error.into(),
        }
    }

    fn denied(&self, denied: Denied) -> Problem {
        match denied {
            Denied::Refused => self.challenge("login refused"),
            Denied::Busy => Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                .detail("too many logins wait")
                .header(header::RETRY_AFTER, "1"),
            Denied::NotHere => Problem::new(StatusCode::FORBIDDEN)
                .detail("the account is not for this service, from this network or at this time"),
            // RFC 6585, 4.
            Denied::TooManySessions => Problem::new(StatusCode::TOO_MANY_REQUESTS)
                .detail("the account has as many requests under way as it may have")
                .header(header::RETRY_AFTER, "1"),
            // Neither 426, which names a protocol to upgrade this connection to and that no client knows for
            // TLS (RFC 2817), nor 421, which makes clients repeat the request, password and all (RFC 9110,
            // 15.5.20). And no challenge: a browser would answer it in clear.
            Denied::NeedsTls => Problem::new(StatusCode::FORBIDDEN).detail(
                "passwords and tokens are not taken in clear here: use https, and change those already sent",
            ),
        }
    }

    fn challenge(&self, detail: &'static str) -> Problem {
        if self.in_clear {
            return Problem::new(StatusCode::FORBIDDEN)
                .detail("this needs an account, and logins are taken over https alone");
        }
        let realm = self.quoted_realm();
        // RFC 6750, 3.1: without a token there is no error to name.
        let bearer = self.bearer_challenge(self.by_token.then_some("invalid_token"));
        // Basic first: some clients read no further.
        Problem::new(StatusCode::UNAUTHORIZED)
            .detail(detail)
            .header_text(
                header::WWW_AUTHENTICATE,
                &format!("Basic realm={realm}, charset=\"UTF-8\""),
            )
            .and_header_text(header::WWW_AUTHENTICATE, &bearer)
    }

    fn bearer_challenge(&self, error: Option<&str>) -> String {
        let realm = self.quoted_realm();
        match error {
            None => format!("Bearer realm={realm}"),
            Some(error) => format!("Bearer realm={realm}, error=\"{error}\""),
        }
    }

    fn quoted_realm(&self) -> String {
        let fit = |c: &char| !matches!(c, '"' | '\\');
        format!("\"{}\"", self.realm.chars().filter(fit).collect::<String>())
    }
}

fn is_bearer(field: &HeaderValue) -> bool {
    field
        .as_bytes()
        .get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"bearer "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(named: bool, by_token: bool) -> Caller {
        Caller {
            account: None,
            named,
            by_token,
            in_clear: false,
            realm: "a \"b\"".into(),
        }
    }

    fn told(problem: &Problem) -> (u16, Vec<&str>, Option<&str>) {
        let challenges = problem.headers().get_all(header::WWW_AUTHENTICATE);
        (
            problem.status().as_u16(),
            challenges
                .iter()
                .map(|value| value.to_str().unwrap())
                .collect(),
            problem
                .headers()
                .get(header::RETRY_AFTER)
                .map(|value| value.to_str().unwrap()),
        )
    }

    #[test]
    fn every_refusal_has_its_status_and_only_a_401_asks_for_credentials() {
        let caller = caller(false, false);
        let asks = vec![
            "Basic realm=\"a b\", charset=\"UTF-8\"",
            "Bearer realm=\"a b\"",
        ];
        for (denied, expected) in [
            (Denied::Refused, (401, asks, None)),
            (Denied::Busy, (503, vec![], Some("1"))),
            (Denied::NotHere, (403, vec![], None)),
            (Denied::TooManySessions, (429, vec![], Some("1"))),
            (Denied::NeedsTls, (403, vec![], None)),
        ] {
            assert_eq!(told(&caller.denied(denied)), expected, "{denied:?}");
        }
    }

    #[test]
    fn nobody_is_asked_for_a_password_in_clear() {
        let caller = Caller {
            in_clear: true,
            ..caller(false, false)
        };
        assert_eq!(told(&caller.refusal()), (403, vec![], None));
        assert_eq!(told(&caller.denied(Denied::Refused)), (403, vec![], None));
    }

    #[test]
    fn a_token_is_told_what_is_wrong_with_it() {
        let bad = caller(false, true).denied(Denied::Refused);
        assert_eq!(
            told(&bad).1[1],
            "Bearer realm=\"a b\", error=\"invalid_token\""
        );
        let narrow = told(&caller(true, true).refusal()).1.concat();
        assert_eq!(narrow, "Bearer realm=\"a b\", error=\"insufficient_scope\"");
        assert_eq!(told(&caller(true, false).refusal()), (403, vec![], None));
        assert_eq!(told(&caller(false, false).refusal()).0, 401);
        assert!(is_bearer(&HeaderValue::from_static("bEARER x")));
        assert!(!is_bearer(&HeaderValue::from_static("Bearer")));
    }
}
