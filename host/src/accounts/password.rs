//! What an account's `password` holds, and whether a password is the right one.
//!
//! Every check of a wrong password costs one argon2id computation, whatever the account holds,
//! even if there is none: time tells nobody which accounts exist.

use std::fmt;
use std::io;

use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The most memory that a hash in the file may ask for, in KiB: 1 GiB.
const MAX_MEMORY: u32 = 1024 * 1024;

/// The most passes that a hash in the file may ask for.
const MAX_PASSES: u32 = 64;

/// The longest password, in bytes.
pub const MAX_LENGTH: usize = 1024;

/// An account's password as the file has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(String),
    /// Its argon2id hash, as a PHC string.
    Argon2id(String),
}

/// Never prints the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Plain(_) => "Plain",
            Self::Argon2id(_) => "Argon2id",
        })
    }
}

impl Secret {
    /// Tells a hash from a password; `Err` says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err(
                "a password, or no password key at all for an account that cannot log in"
                    .to_owned(),
            );
        }
        if text.len() > MAX_LENGTH {
            return Err(format!("a password of at most {MAX_LENGTH} bytes"));
        }
        if !is_hash(text) {
            return Ok(Self::Plain(text.to_owned()));
        }
        let bounds =
            || format!("an argon2id hash with at most {MAX_MEMORY} KiB and {MAX_PASSES} passes");
        let hash = PasswordHash::new(text)
            .map_err(|_| "an argon2id hash such as \"polyport user hash\" prints")?;
        if hash.algorithm != argon2::ARGON2ID_IDENT || hash.hash.is_none() || hash.salt.is_none() {
            return Err("an argon2id hash such as \"polyport user hash\" prints".to_owned());
        }
        let params = Params::try_from(&hash).map_err(|_| bounds())?;
        if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
            return Err(bounds());
        }
        Ok(Self::Argon2id(text.to_owned()))
    }

    /// The cost of checking it, for choosing the dummy's parameters.
    fn params(&self) -> Option<Params> {
        match self {
            Self::Plain(_) => None,
            Self::Argon2id(text) => Params::try_from(&PasswordHash::new(text).ok()?).ok(),
        }
    }
}

/// `$argon2id$…`, `$6$…`: what no plain password may look like, lest a mistyped hash become one.
fn is_hash(text: &str) -> bool {
    let Some((id, _)) = text.strip_prefix('$').and_then(|rest| rest.split_once('$')) else {
        return false;
    };
    !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// The argon2id PHC string of `password`, with a fresh salt.
pub fn hash(password: &[u8]) -> io::Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt)?;
    let salt = SaltString::encode_b64(&salt).expect("16 bytes are a valid salt");
    let hash = Argon2::default()
        .hash_password(password, &salt)
        .expect("the default parameters are valid");
    Ok(hash.to_string())
}

/// The computation that stands in for the one that an account does not have.
#[derive(Debug, Clone)]
pub struct Dummy {
    params: Params,
}

impl Dummy {
    /// As costly as the costliest of `secrets`, or as a new hash.
    pub fn for_all<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let costliest = secrets
            .into_iter()
            .filter_map(Secret::params)
            .max_by_key(|params| u64::from(params.m_cost()) * u64::from(params.t_cost()));
        Self {
            params: costliest.unwrap_or_default(),
        }
    }

    fn spend(&self, password: &[u8]) {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone());
        let mut output = [0; 32];
        let done = argon2.hash_password_into(password, b"polyport's dummy", &mut output);
        std::hint::black_box((done.is_ok(), output));
    }
}

/// Whether `password` is the one that `secret` holds. Takes the time of one hash in any case.
pub fn verify(secret: Option<&Secret>, password: &[u8], dummy: &Dummy) -> bool {
    match secret {
        Some(Secret::Argon2id(text)) => match PasswordHash::new(text) {
            Ok(hash) => Argon2::default().verify_password(password, &hash).is_ok(),
            Err(_) => false,
        },
        Some(Secret::Plain(plain)) => {
            dummy.spend(password);
            Tag::new(b"", &[], plain.as_bytes()).matches(b"", &[], password)
        }
        None => {
            dummy.spend(password);
            false
        }
    }
}

/// A keyed hash of a password, worthless without the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Tag([u8; 32]);

impl Tag {
    /// The tag of `password` under `key` in `context`.
    pub fn new(key: &[u8], context: &[u8], password: &[u8]) -> Self {
        Self(mac(key, context, password).finalize().into_bytes().into())
    }

    /// Whether `password` gives this tag; in constant time.
    pub fn matches(&self, key: &[u8], context: &[u8], password: &[u8]) -> bool {
        mac(key, context, password).verify_slice(&self.0).is_ok()
    }
}

fn mac(key: &[u8], context: &[u8], password: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(&(context.len() as u64).to_be_bytes());
    mac.update(context);
    mac.update(password);
    mac
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dummy() -> Dummy {
        Dummy {
            params: Params::new(8, 1, 1, None).unwrap(),
        }
    }

    #[test]
    fn a_hash_accepts_its_password_only() {
        let text = hash(b"p\xffss").unwrap();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let secret = Secret::parse(&text).unwrap();
        assert_eq!(secret, Secret::Argon2id(text));
        assert!(verify(Some(&secret), b"p\xffss", &dummy()));
        assert!(!verify(Some(&secret), b"pass", &dummy()));
        assert_eq!(format!("{secret:?}"), "Argon2id");
    }

    #[test]
    fn a_plain_password_and_no_password() {
        let secret = Secret::parse("123456").unwrap();
        assert_eq!(secret, Secret::Plain("123456".to_owned()));
        assert!(verify(Some(&secret), b"123456", &dummy()));
        assert!(!verify(Some(&secret), b"12345", &dummy()));
        assert!(!verify(None, b"", &dummy()));
    }

    #[test]
    fn broken_and_foreign_hashes_are_no_passwords() {
        let cut = &hash(b"x").unwrap()[..60];
        let greedy = "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        for wrong in [
            "",
            "$6$salt$hash",
            "$2y$10$abc",
            "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAA",
            cut,
            greedy,
        ] {
            assert!(Secret::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Secret::parse(&"x".repeat(MAX_LENGTH + 1)).is_err());
        assert!(Secret::parse("$ave$").is_err());
        assert!(matches!(Secret::parse("pa$$word"), Ok(Secret::Plain(_))));
    }

    #[test]
    fn the_dummy_costs_as_much_as_the_costliest() {
        let cheap = Secret::parse("$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
            .unwrap();
        let dear = Secret::parse("$argon2id$v=19$m=32,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
            .unwrap();
        let plain = Secret::Plain("x".to_owned());
        assert_eq!(Dummy::for_all([&cheap, &plain, &dear]).params.m_cost(), 32);
        assert_eq!(
            Dummy::for_all([&plain]).params.m_cost(),
            Params::DEFAULT_M_COST
        );
    }

    #[test]
    fn tags_depend_on_key_context_and_password() {
        let tag = Tag::new(b"key", b"context", b"password");
        assert!(tag.matches(b"key", b"context", b"password"));
        assert!(!tag.matches(b"kex", b"context", b"password"));
        assert!(!tag.matches(b"key", b"contextp", b"assword"));
        assert!(!tag.matches(b"key", b"context", b"passwore"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>(), near in "\\$argon2id\\$[v=19mtp,$A-Z]{0,40}") {
            let _ = Secret::parse(&text);
            let _ = Secret::parse(&near);
        }
    }
}
