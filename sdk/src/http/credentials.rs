//! Who a request is from: the `Authorization` field (RFC 9110, 11.6.2; Basic: RFC 7617; Bearer:
//! RFC 6750) against the host's accounts.

use std::fmt;

use ::http::{HeaderMap, StatusCode, header};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::{Problem, Request};
use crate::accounts::{Account, Accounts, Action, Denied, Login};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What an `Authorization` field carries.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password, which may be any bytes.
    Basic {
        /// The login name.
        user: String,
        /// The password.
        password: Vec<u8>,
    },
    /// A token.
    Bearer(String),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Basic { user, .. } => write!(f, "Basic({user:?})"),
            Self::Bearer(_) => f.write_str("Bearer"),
        }
    }
}

impl Credentials {
    /// Reads the field; none where there is none.
    ///
    /// # Errors
    /// What is wrong with a field that cannot be read, in words.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, &'static str> {
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err("expected one Authorization field, got several");
        }
        let value = value
            .to_str()
            .map_err(|_| "expected ASCII in Authorization")?;
        let (scheme, rest) = value
            .split_once(' ')
            .ok_or("expected a scheme and credentials in Authorization")?;
        let rest = rest.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("basic") {
            let pair = BASE64
                .decode(rest)
                .map_err(|_| "expected base64 in Basic credentials")?;
            let colon = pair.iter().position(|&byte| byte == b':');
            let (user, password) = colon
                .and_then(|at| Some((pair.get(..at)?, pair.get(at + 1..)?)))
                .ok_or("expected name:password in Basic credentials")?;
            let user =
                std::str::from_utf8(user).map_err(|_| "expected UTF-8 in Basic credentials")?;
            Ok(Some(Self::Basic {
                user: user.into(),
                password: password.into(),
            }))
        } else if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Some(Self::Bearer(rest.into())))
        } else {
            Err("expected the scheme Basic")
        }
    }
}

/// Whose request it is, and how to ask for an account where one is needed.
#[derive(Clone, Debug)]
pub struct Caller {
    account: Option<Account>,
    named: bool,
    realm: String,
}

impl Caller {
    /// Logs the request in: by its credentials, or as the anonymous account where one is
    /// configured. Names the user in the access log.
    ///
    /// # Errors
    /// 401 for credentials that are not accepted, 503 when too many logins wait.
    pub async fn identify(
        request: &Request,
        accounts: &Accounts,
        realm: &str,
    ) -> Result<Self, Problem> {
        let mut caller = Self {
            account: None,
            named: false,
            realm: realm.into(),
        };
        let mut fields = request.headers.get_all(header::AUTHORIZATION).iter();
        let (field, only) = (fields.next(), fields.next().is_none());
        let activity = request.exchange.activity();
        if let Some(account) = activity.login(field).filter(|_| only) {
            caller.named = field.is_some();
            if caller.named {
                request.set_user(account.name());
            }
            caller.account = Some(account);
            return Ok(caller);
        }
        match Credentials::read(&request.headers) {
            Ok(None) => {
                caller.account = accounts.identify(request.origin(), None);
                if let Some(account) = &caller.account {
                    activity.set_login(None, account);
                }
            }
            Ok(Some(Credentials::Basic { user, password })) => {
                let login = Login::with_password(&user, &password);
                match accounts.login(request.origin(), login).await {
                    Ok(account) => {
                        request.set_user(account.name());
                        activity.set_login(field, &account);
                        caller.account = Some(account);
                        caller.named = true;
                    }
                    Err(Denied::Busy | Denied::TooManySessions) => {
                        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE)
                            .detail("too many logins wait")
                            .header(header::RETRY_AFTER, "1"));
                    }
                    Err(denied) => return Err(caller.challenge(match denied {
                        Denied::NeedsTls => "login needs TLS",
                        _ => "login refused",
                    })),
                }
            }
            Ok(Some(Credentials::Bearer(_))) => return Err(caller.challenge("login refused")),
            Err(wrong) => return Err(caller.challenge(wrong)),
        }
        Ok(caller)
    }

    /// The account, none for a client without one where nothing is anonymous.
    #[must_use]
    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    /// Whether the client logged in with a name.
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
    /// 403 to an account that lacks it.
    #[must_use]
    pub fn refusal(&self) -> Problem {
        if self.named {
            Problem::new(StatusCode::FORBIDDEN).detail("the account lacks the right")
        } else {
            self.challenge("this needs an account")
        }
    }

    fn challenge(&self, detail: &'static str) -> Problem {
        let realm: String = self
            .realm
            .chars()
            .filter(|c| !matches!(c, '"' | '\\'))
            .collect();
        Problem::new(StatusCode::UNAUTHORIZED)
            .detail(detail)
            .header_text(
                header::WWW_AUTHENTICATE,
                &format!("Basic realm=\"{realm}\", charset=\"UTF-8\""),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(value: &'static str) -> Result<Option<Credentials>, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        Credentials::read(&headers)
    }

    #[test]
    fn basic_credentials_are_read() {
        let basic = |user: &str, password: &[u8]| {
            Ok(Some(Credentials::Basic {
                user: user.into(),
                password: password.into(),
            }))
        };
        assert_eq!(
            read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            basic("Aladdin", b"open sesame")
        );
        assert_eq!(read("bAsIc  eHp6OjEyMzo0NTY"), basic("xzz", b"123:456"));
        assert_eq!(read("Basic Og=="), basic("", b""));
        assert_eq!(Credentials::read(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn what_is_no_credentials_is_told_apart() {
        for wrong in [
            "Basic",
            "Basic !!!",
            "Basic QWxhZGRpbg==",
            "Digest x",
            "Basic /zo=",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            read("Bearer abc"),
            Ok(Some(Credentials::Bearer("abc".into())))
        );
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", read("Basic eHp6OjEyMzQ1Ng==").unwrap());
        assert_eq!(shown, "Some(Basic(\"xzz\"))");
    }

    proptest! {
        #[test]
        fn names_and_passwords_come_through(user in "[^:\\x00-\\x1f]{0,20}", password in ".{0,20}") {
            let mut headers = HeaderMap::new();
            let field = format!("Basic {}", BASE64.encode(format!("{user}:{password}")));
            headers.insert(header::AUTHORIZATION, field.parse().unwrap());
            let password = password.into_bytes();
            prop_assert_eq!(Credentials::read(&headers), Ok(Some(Credentials::Basic { user, password })));
        }

        #[test]
        fn no_field_makes_it_panic(field in "(Basic |bearer )?[ -~]{0,40}") {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, field.parse().unwrap());
            let _ = Credentials::read(&headers);
        }
    }
}
