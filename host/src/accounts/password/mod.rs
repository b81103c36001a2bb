//! What an account's `password` holds, and whether a password is the right one.
//!
//! Every refused login costs one computation of each method that the file has, whatever the account
//! holds, even if there is none: time tells nobody which accounts exist, nor who brought his hash
//! from elsewhere. A right password costs its own computation.

mod hash;
mod md5_crypt;
mod scram;

use std::fmt;
use std::io;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Argon2, Params, Version};
pub use hash::Hash;
use hash::Method;
use hmac::{Hmac, Mac};
pub use scram::{Form, KEY_LENGTH, Keys, ROUNDS, is_prepared, verifier};
use sha2::Sha256;

/// The longest password, in bytes.
pub const MAX_LENGTH: usize = 1024;

/// The salt of computations whose outcome nobody looks at; as long as bcrypt wants it.
const DUMMY_SALT: &[u8; 16] = b"polyport's dummy";

/// An account's password as the file has it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Plain(String),
    /// Its hash.
    Hash(Hash),
}

/// Never prints the secret.
impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.kind())
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
        if is_hash(text) {
            Hash::parse(text).map(Self::Hash)
        } else {
            Ok(Self::Plain(text.to_owned()))
        }
    }

    /// `plain`, or what its method is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Hash(hash) => hash.method().name(),
        }
    }

    /// As the file has it.
    pub fn text(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Hash(hash) => hash.text(),
        }
    }

    /// Whether `password` is the right one. Longer ones than the file may have are none: some
    /// methods take the square of a password's length.
    pub fn matches(&self, password: &[u8]) -> bool {
        password.len() <= MAX_LENGTH
            && match self {
                Self::Hash(hash) => hash.matches(password),
                Self::Plain(plain) => {
                    Tag::new(b"", &[], plain.as_bytes()).matches(b"", &[], password)
                }
            }
    }

    /// How it is computed, if it is.
    fn method(&self) -> Option<&Method> {
        match self {
            Self::Plain(_) => None,
            Self::Hash(hash) => Some(hash.method()),
        }
    }
}

/// `$argon2id$…`, `$6$…`, `SCRAM-SHA-256$…`: what no plain password may look like, lest a mistyped hash become one.
pub fn is_hash(text: &str) -> bool {
    if text.starts_with(scram::PREFIX) {
        return true;
    }
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

/// The computations that stand in for those that an account does not have.
#[derive(Debug, Clone)]
pub struct Dummy {
    /// Each method of the file once; that of a new hash if there is none.
    methods: Vec<Method>,
}

impl Dummy {
    /// The methods of `secrets`.
    pub fn for_all<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut methods = Vec::new();
        for method in secrets.into_iter().filter_map(Secret::method) {
            if !methods.contains(method) {
                methods.push(method.clone());
            }
        }
        if methods.is_empty() {
            let length = Params::DEFAULT_OUTPUT_LEN;
            methods.push(Method::Argon2id(Version::V0x13, Params::default(), length));
        }
        Self { methods }
    }

    /// Spends the time that remains of a refused login after the check of `secret`.
    pub fn spend_rest(&self, secret: Option<&Secret>, password: &[u8]) {
        let tried = secret.filter(|_| password.len() <= MAX_LENGTH);
        let password = &password[..password.len().min(MAX_LENGTH)];
        for method in self.rest(tried) {
            std::hint::black_box(method.compute(password, DUMMY_SALT));
        }
    }

    /// What remains once `tried` was computed.
    fn rest(&self, tried: Option<&Secret>) -> impl Iterator<Item = &Method> {
        let spent = tried.and_then(Secret::method);
        self.methods
            .iter()
            .filter(move |method| Some(*method) != spent)
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

    #[test]
    fn a_hash_accepts_its_password_only() {
        let text = hash(b"p\xffss").unwrap();
        assert!(
            text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{text}"
        );
        let secret = Secret::parse(&text).unwrap();
        assert_eq!((secret.kind(), secret.text()), ("argon2id", text.as_str()));
        assert!(secret.matches(b"p\xffss"));
        assert!(!secret.matches(b"pass"));
        assert_eq!(format!("{secret:?}"), "argon2id");
    }

    #[test]
    fn a_plain_password() {
        let secret = Secret::parse("123456").unwrap();
        assert_eq!(secret, Secret::Plain("123456".to_owned()));
        assert!(secret.matches(b"123456"));
        assert!(!secret.matches(b"12345"));
        assert!(!secret.matches(&[b'1'; MAX_LENGTH + 1]));
        assert_eq!(format!("{secret:?}"), "plain");
    }

    #[test]
    fn broken_and_foreign_hashes_are_no_passwords() {
        let cut = &hash(b"x").unwrap()[..60];
        let greedy = "$argon2id$v=19$m=4000000,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA";
        for wrong in [
            "",
            "$6$salt$hash",
            "$2y$10$abc",
            "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7",
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
    fn the_dummy_has_each_method_of_the_file_once() {
        let secret = |text: &str| Secret::parse(text).unwrap();
        let cheap = secret("$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA");
        let dear = secret("$argon2id$v=19$m=32,t=3,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA");
        let twin = secret("$argon2id$v=19$m=32,t=3,p=1$c2FsdHRsYXM$BBBBBBBBBBBBBBBBBBBBBA");
        let apr1 = secret("$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0");
        let plain = secret("x");
        let names =
            |dummy: Dummy| -> Vec<&str> { dummy.methods.iter().map(Method::name).collect() };
        assert_eq!(
            names(Dummy::for_all([&cheap, &plain, &dear, &apr1, &twin])),
            ["argon2id", "argon2id", "apr1"]
        );
        let dummy = Dummy::for_all([&cheap, &plain, &dear, &apr1]);
        assert_eq!(dummy.rest(None).count(), 3);
        assert_eq!(dummy.rest(Some(&plain)).count(), 3);
        for spent in [&cheap, &dear, &twin, &apr1] {
            assert_eq!(dummy.rest(Some(spent)).count(), 2, "{spent:?}");
        }
        assert_eq!(names(Dummy::for_all([&apr1])), ["apr1"]);
        assert_eq!(names(Dummy::for_all([&plain])), ["argon2id"]);
    }

    #[test]
    fn every_dummy_is_a_whole_computation() {
        for text in [
            "$argon2id$v=19$m=16,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
            "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0",
            "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
            "$2y$05$W8Jh3re/YdR9D3d0X/iQZ.uZXozBUvwRFc6Is02tpXl6ErXRKXh6S",
        ] {
            for method in Dummy::for_all([&Secret::parse(text).unwrap()]).methods {
                assert!(method.compute(b"x", DUMMY_SALT).is_some(), "{text}");
            }
        }
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
