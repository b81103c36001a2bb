//! The `Authorization` field (RFC 9110, 11.6.2; Basic: RFC 7617; Bearer: RFC 6750).

use std::fmt;

use ::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

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
            // What is no token is told as RFC 6750, 3.1 wants it, by whoever looks the token up.
            Ok(Some(Self::Bearer(rest.into())))
        } else {
            Err("expected the scheme Basic or Bearer")
        }
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
