//! What the server keeps of a password for SCRAM-SHA-256 (RFC 5802, RFC 7677), in PostgreSQL's form:
//! `SCRAM-SHA-256$ROUNDS:SALT$STOREDKEY:SERVERKEY`, in Base64.
//!
//! SASLprep is left out: a verifier is only made of printable ASCII, which SASLprep does not change.

use std::io;
use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256};

use super::{Hash, Secret};

/// How the text of a verifier begins.
pub const PREFIX: &str = "SCRAM-SHA-256$";

/// How often the password is hashed: at least what RFC 7677 asks for.
pub const ROUNDS: RangeInclusive<u32> = 4096..=2_000_000;

/// Bytes of the salt of a new verifier; PostgreSQL's are as long.
pub const SALT_LENGTH: usize = 16;

/// Bytes of SHA-256.
pub const KEY_LENGTH: usize = 32;

/// The longest salt, in bytes.
const MAX_SALT: usize = 64;

/// What a proof is checked by, and what the server proves itself by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Keys {
    stored: [u8; KEY_LENGTH],
    server: [u8; KEY_LENGTH],
}

impl Keys {
    /// Of a password; takes the time of its rounds.
    pub fn compute(password: &[u8], salt: &[u8], rounds: u32) -> Self {
        let mut salted = [0; KEY_LENGTH];
        pbkdf2_hmac::<Sha256>(password, salt, rounds, &mut salted);
        Self {
            stored: Sha256::digest(mac(&salted, b"Client Key")).into(),
            server: mac(&salted, b"Server Key"),
        }
    }

    /// Of what [`Keys::to_bytes`] gave.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        let (stored, server) = bytes.split_at_checked(KEY_LENGTH)?;
        Some(Self {
            stored: stored.try_into().ok()?,
            server: server.try_into().ok()?,
        })
    }

    /// Both, one after the other.
    pub fn to_bytes(self) -> Vec<u8> {
        [self.stored, self.server].concat()
    }

    /// Whether a client's proof over `message` is of this password (RFC 5802, 3).
    pub fn accept(&self, message: &[u8], proof: &[u8; KEY_LENGTH]) -> bool {
        let signature = mac(&self.stored, message);
        let mut client_key = *proof;
        for (byte, signed) in client_key.iter_mut().zip(signature) {
            *byte ^= signed;
        }
        let stored: [u8; KEY_LENGTH] = Sha256::digest(client_key).into();
        // One bit at the end, whatever differs before it.
        let differing = stored.iter().zip(self.stored);
        differing.fold(0, |all, (one, other)| all | (one ^ other)) == 0
    }

    /// How the server proves over `message` that it knows the verifier.
    pub fn sign(&self, message: &[u8]) -> [u8; KEY_LENGTH] {
        mac(&self.server, message)
    }
}

/// What a client is told to compute by, and what its proof is checked by.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    /// How often the password is hashed.
    pub rounds: u32,
    /// With what.
    pub salt: Vec<u8>,
    /// What came out.
    pub keys: Keys,
}

impl Verifier {
    /// Reads its text; `Err` says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (rounds, rest) = text.strip_prefix(PREFIX)?.split_once(':')?;
            let (salt, rest) = rest.split_once('$')?;
            let (stored, server) = rest.split_once(':')?;
            let rounds = rounds.parse().ok()?;
            let salt = STANDARD.decode(salt).ok()?;
            let keys = [STANDARD.decode(stored).ok()?, STANDARD.decode(server).ok()?];
            let keys = Keys::of(&keys.concat())?;
            let bounded = ROUNDS.contains(&rounds) && (8..=MAX_SALT).contains(&salt.len());
            bounded.then_some(Self { rounds, salt, keys })
        };
        read().ok_or_else(|| {
            format!(
                "{PREFIX}ROUNDS:SALT$STOREDKEY:SERVERKEY as \"polyport user hash --scram\" prints it, with {} to {} \
                 rounds and a salt of 8 to {MAX_SALT} bytes",
                ROUNDS.start(),
                ROUNDS.end()
            )
        })
    }
}

/// The text of a verifier of `password` with a fresh salt.
///
/// # Errors
/// When the password is not printable ASCII, or the system gives no random bytes.
pub fn verifier(password: &[u8], rounds: u32) -> io::Result<String> {
    if !is_prepared(password) {
        let message = "expected a password of printable ASCII characters: clients write others in several ways, of \
                       which SCRAM takes one";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut salt = [0; SALT_LENGTH];
    getrandom::fill(&mut salt)?;
    let Keys { stored, server } = Keys::compute(password, &salt, rounds);
    let (salt, stored) = (STANDARD.encode(salt), STANDARD.encode(stored));
    let server = STANDARD.encode(server);
    Ok(format!("{PREFIX}{rounds}:{salt}${stored}:{server}"))
}

/// Whether SASLprep (RFC 4013) leaves a password as it is, as far as can be said without its tables.
pub fn is_prepared(password: &[u8]) -> bool {
    password.iter().all(|byte| (0x20..0x7f).contains(byte))
}

/// How the verifiers of a file are: what a user is told who has none looks the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// How often a password is hashed.
    pub rounds: u32,
    /// Bytes of a salt.
    pub salt: usize,
    /// Whether one has to be computed of a plain password each time.
    pub computed: bool,
}

impl Form {
    /// What most of `secrets` have.
    pub fn of_all<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut counts: Vec<((u32, usize), usize)> = Vec::new();
        let mut computed = false;
        for secret in secrets {
            computed |= matches!(secret, Secret::Plain(_));
            let Secret::Hash(hash) = secret else { continue };
            let Some(verifier) = Hash::verifier(hash) else {
                continue;
            };
            let form = (verifier.rounds, verifier.salt.len());
            match counts.iter_mut().find(|(known, _)| *known == form) {
                Some((_, count)) => *count += 1,
                None => counts.push((form, 1)),
            }
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count);
        let (rounds, salt) = most.map_or((*ROUNDS.start(), SALT_LENGTH), |(form, _)| form);
        Self {
            rounds,
            salt,
            computed,
        }
    }
}

fn mac(key: &[u8], message: &[u8]) -> [u8; KEY_LENGTH] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, 3: the password is "pencil".
    const SALT: &str = "W22ZaJ0SNY7soEsUEjb6gQ==";
    const MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SIGNATURE: &str = "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    #[test]
    fn the_example_of_rfc_7677() {
        let salt = STANDARD.decode(SALT).unwrap();
        let keys = Keys::compute(b"pencil", &salt, 4096);
        let proof = STANDARD.decode(PROOF).unwrap().try_into().unwrap();
        assert!(keys.accept(MESSAGE.as_bytes(), &proof));
        assert_eq!(STANDARD.encode(keys.sign(MESSAGE.as_bytes())), SIGNATURE);
        for byte in 0..KEY_LENGTH {
            let mut wrong = proof;
            wrong[byte] ^= 1;
            assert!(!keys.accept(MESSAGE.as_bytes(), &wrong), "{byte}");
        }
        assert!(!keys.accept(&MESSAGE.as_bytes()[1..], &proof));
        let other = Keys::compute(b"pencil", &salt, 4097);
        assert!(!other.accept(MESSAGE.as_bytes(), &proof));
    }

    #[test]
    fn a_verifier_is_read_as_it_is_written() {
        let text = verifier(b"secret", 4096).unwrap();
        let read = Verifier::parse(&text).unwrap();
        assert_eq!((read.rounds, read.salt.len()), (4096, SALT_LENGTH));
        assert!(read.keys == Keys::compute(b"secret", &read.salt, 4096));
        assert!(Keys::of(&read.keys.to_bytes()) == Some(read.keys));
        assert_ne!(
            text,
            verifier(b"secret", 4096).unwrap(),
            "the same salt twice"
        );
    }

    #[test]
    fn what_is_cut_weak_or_greedy_is_refused() {
        let text = verifier(b"secret", 4096).unwrap();
        for end in 0..text.len() {
            assert!(Verifier::parse(&text[..end]).is_err(), "{end}");
        }
        for wrong in [
            text.replace("$4096:", "$4095:"),
            text.replace("$4096:", "$2000001:"),
            text.replace("$4096:", "$-4096:"),
            text.replace("SHA-256", "SHA-1"),
            text.clone() + "AA==",
        ] {
            assert!(Verifier::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_printable_ascii_becomes_a_verifier() {
        assert!(verifier(b" ~azAZ09\"$=,", 4096).is_ok());
        for wrong in ["p\u{e4}ss", "tab\t", "\u{7f}", "nul\0"] {
            assert!(verifier(wrong.as_bytes(), 4096).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_has_none_looks_like_most_who_have_one() {
        let secret = |rounds| Secret::parse(&verifier(b"x", rounds).unwrap()).unwrap();
        let (few, many) = (secret(4096), secret(5000));
        let plain = Secret::parse("x").unwrap();
        let form = Form::of_all([&few, &many, &many]);
        assert_eq!((form.rounds, form.salt, form.computed), (5000, 16, false));
        let form = Form::of_all([&plain]);
        assert_eq!((form.rounds, form.salt, form.computed), (4096, 16, true));
    }
}
