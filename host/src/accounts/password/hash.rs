//! The hashes that accounts.ini may hold: each read from its text, bounded, and computed.
//!
//! New hashes are argon2id. The others are there so that people can bring their users along: what
//! /etc/shadow, htpasswd and mosquitto_passwd write.

use std::fmt;

use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::alphabet::BCRYPT;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD};
use pbkdf2::pbkdf2_hmac;
use sha_crypt::{Sha256Params, Sha512Params, sha256_crypt_b64, sha512_crypt_b64};
use sha2::{Digest, Sha512};

use super::Tag;
use super::md5_crypt::md5_crypt;
use super::scram::{self, Keys, Verifier};

/// The most memory that a hash in the file may ask for, in KiB: 1 GiB.
const MAX_MEMORY: u32 = 1024 * 1024;

/// The most passes over it.
const MAX_PASSES: u32 = 64;

/// The most rounds of sha256-crypt and sha512-crypt, which allow a thousand times as many.
const MAX_CRYPT_ROUNDS: usize = 1_000_000;

/// The rounds of a sha-crypt hash that names none.
const CRYPT_ROUNDS: usize = sha_crypt::ROUNDS_DEFAULT;

/// The most rounds of PBKDF2.
const MAX_PBKDF2_ROUNDS: u32 = 2_000_000;

/// The exponent of bcrypt's rounds.
const BCRYPT_COST: std::ops::RangeInclusive<u32> = 4..=16;

/// What bcrypt sees of a password.
const BCRYPT_LENGTH: usize = 72;

/// Bytes of SHA-512.
const SHA512_LENGTH: usize = 64;

/// The longest salt, in bytes.
const MAX_SALT: usize = 64;

/// bcrypt's Base64: the last bits of a salt are not always zero.
const BCRYPT_BASE64: GeneralPurpose =
    GeneralPurpose::new(&BCRYPT, NO_PAD.with_decode_allow_trailing_bits(true));

/// A hash as the file has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hash {
    text: String,
    method: Method,
    salt: Vec<u8>,
    output: Vec<u8>,
}

/// How a hash is computed. Two hashes of one method take the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// RFC 9106.
    Argon2id(Version, Params, usize),
    /// `$6$` of crypt(3).
    Sha512Crypt(usize),
    /// `$5$` of crypt(3).
    Sha256Crypt(usize),
    /// `$2a$`, `$2b$`, `$2y$`: one computation under three names.
    Bcrypt(u32),
    /// `$1$` and `$apr1$`, by their magic.
    Md5Crypt(&'static str),
    /// `$7$`: PBKDF2 with HMAC-SHA-512.
    Pbkdf2(u32),
    /// `$6$` with a padded Base64 hash: SHA-512 of password and salt, once.
    SaltedSha512,
    /// `SCRAM-SHA-256$`: what a proof of the password is checked by.
    Scram(u32),
}

/// Never prints the hash.
impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.method.name())
    }
}

impl Hash {
    /// Reads `text`, which begins with `$ID$` or is a verifier of SCRAM; `Err` says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(scram::PREFIX) {
            let Verifier { rounds, salt, keys } = Verifier::parse(text)?;
            return Ok(Self {
                text: text.to_owned(),
                method: Method::Scram(rounds),
                salt,
                output: keys.to_bytes(),
            });
        }
        let mut parts = text.split('$').skip(1);
        let id = parts.next().unwrap_or_default();
        let parts: Vec<&str> = parts.collect();
        let read = match id {
            "argon2id" => argon2id(text),
            "6" if text.ends_with('=') => salted_sha512(&parts),
            "6" => sha_crypt(&parts, 86, Method::Sha512Crypt),
            "5" => sha_crypt(&parts, 43, Method::Sha256Crypt),
            "2a" | "2b" | "2y" => bcrypt(&parts),
            "1" => md5(&parts, "$1$"),
            "apr1" => md5(&parts, "$apr1$"),
            "7" => pbkdf2_sha512(&parts),
            _ => Err(
                "an argon2id hash such as \"polyport user hash\" prints, or a hash that begins with \
                 $6$, $5$, $2b$, $apr1$, $1$, $7$ or SCRAM-SHA-256$"
                    .to_owned(),
            ),
        };
        let (method, salt, output) = read?;
        Ok(Self {
            text: text.to_owned(),
            method,
            salt,
            output,
        })
    }

    /// As the file has it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is computed.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// What proofs of the password are checked by, if it is that.
    pub fn verifier(&self) -> Option<Verifier> {
        let Method::Scram(rounds) = self.method else {
            return None;
        };
        Some(Verifier {
            rounds,
            salt: self.salt.clone(),
            keys: Keys::of(&self.output)?,
        })
    }

    /// Whether it is the hash of `password`; takes the time of one computation.
    pub fn matches(&self, password: &[u8]) -> bool {
        let computed = self.method.compute(password, &self.salt);
        computed
            .is_some_and(|computed| Tag::new(b"", &[], &self.output).matches(b"", &[], &computed))
    }
}

impl Method {
    /// What people call it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Argon2id(..) => "argon2id",
            Self::Sha512Crypt(_) => "sha512-crypt",
            Self::Sha256Crypt(_) => "sha256-crypt",
            Self::Bcrypt(_) => "bcrypt",
            Self::Md5Crypt("$1$") => "md5-crypt",
            Self::Md5Crypt(_) => "apr1",
            Self::Pbkdf2(_) => "pbkdf2-sha512",
            Self::SaltedSha512 => "sha512",
            Self::Scram(_) => "scram-sha-256",
        }
    }

    /// The hash of `password` with `salt` as [`Hash::parse`] reads it; none if the computation
    /// refuses its parameters.
    pub fn compute(&self, password: &[u8], salt: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::Argon2id(version, params, length) => {
                let argon2 = Argon2::new(Algorithm::Argon2id, *version, params.clone());
                let mut output = vec![0; *length];
                let done = argon2.hash_password_into(password, salt, &mut output);
                done.is_ok().then_some(output)
            }
            Self::Sha512Crypt(rounds) => {
                let params = Sha512Params::new(*rounds).ok()?;
                Some(sha512_crypt_b64(password, salt, &params).ok()?.into_bytes())
            }
            Self::Sha256Crypt(rounds) => {
                let params = Sha256Params::new(*rounds).ok()?;
                Some(sha256_crypt_b64(password, salt, &params).ok()?.into_bytes())
            }
            Self::Bcrypt(cost) => {
                let mut password = password.to_vec();
                password.push(0);
                password.truncate(BCRYPT_LENGTH);
                let output = ::bcrypt::bcrypt(*cost, salt.try_into().ok()?, &password);
                Some(output[..23].to_vec()) // the last byte was never written down
            }
            Self::Md5Crypt(magic) => Some(md5_crypt(magic, password, salt)),
            Self::Pbkdf2(rounds) => {
                let mut output = vec![0; SHA512_LENGTH];
                pbkdf2_hmac::<Sha512>(password, salt, *rounds, &mut output);
                Some(output)
            }
            Self::SaltedSha512 => {
                let digest = Sha512::new().chain_update(password).chain_update(salt);
                Some(digest.finalize().to_vec())
            }
            Self::Scram(rounds) => Some(Keys::compute(password, salt, *rounds).to_bytes()),
        }
    }
}

type Read = Result<(Method, Vec<u8>, Vec<u8>), String>;

fn argon2id(text: &str) -> Read {
    let expected = || "an argon2id hash such as \"polyport user hash\" prints".to_owned();
    let bounds =
        || format!("an argon2id hash with at most {MAX_MEMORY} KiB and {MAX_PASSES} passes");
    let hash = PasswordHash::new(text).map_err(|_| expected())?;
    let (Some(salt), Some(output)) = (hash.salt, hash.hash) else {
        return Err(expected());
    };
    let version = match hash.version {
        None => Version::V0x10,
        Some(number) => Version::try_from(number).map_err(|_| expected())?,
    };
    let params = Params::try_from(&hash).map_err(|_| bounds())?;
    if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
        return Err(bounds());
    }
    let mut bytes = [0; MAX_SALT];
    let salt = salt.decode_b64(&mut bytes).map_err(|_| expected())?;
    let method = Method::Argon2id(version, params, output.len());
    Ok((method, salt.to_vec(), output.as_bytes().to_vec()))
}

/// `[rounds=N$]SALT$HASH`, with a hash of `length` characters.
fn sha_crypt(parts: &[&str], length: usize, method: fn(usize) -> Method) -> Read {
    let expected = || {
        format!(
            "a hash such as crypt(3) makes: [rounds=1000 to {MAX_CRYPT_ROUNDS}$]SALT$ and {length} characters"
        )
    };
    let (rounds, salt, output) = match parts {
        [salt, output] => (CRYPT_ROUNDS, salt, output),
        [rounds, salt, output] => {
            let rounds = rounds
                .strip_prefix("rounds=")
                .and_then(|number| number.parse().ok());
            (rounds.ok_or_else(expected)?, salt, output)
        }
        _ => return Err(expected()),
    };
    let bounded = (sha_crypt::ROUNDS_MIN..=MAX_CRYPT_ROUNDS).contains(&rounds);
    if !bounded || salt.len() > 16 || !is_crypt(output, length) {
        return Err(expected());
    }
    Ok((
        method(rounds),
        salt.as_bytes().to_vec(),
        output.as_bytes().to_vec(),
    ))
}

/// `COST$` and 53 characters: the salt and the hash.
fn bcrypt(parts: &[&str]) -> Read {
    let expected = || {
        format!(
            "a bcrypt hash with a cost of {} to {}",
            BCRYPT_COST.start(),
            BCRYPT_COST.end()
        )
    };
    let [cost, rest] = parts else {
        return Err(expected());
    };
    let cost: u32 = cost.parse().map_err(|_| expected())?;
    if !BCRYPT_COST.contains(&cost) || !is_crypt(rest, 53) {
        return Err(expected());
    }
    let decode = |text: &str| BCRYPT_BASE64.decode(text).map_err(|_| expected());
    Ok((
        Method::Bcrypt(cost),
        decode(&rest[..22])?,
        decode(&rest[22..])?,
    ))
}

/// `SALT$HASH`.
fn md5(parts: &[&str], magic: &'static str) -> Read {
    match parts {
        [salt, output] if salt.len() <= 8 && is_crypt(output, 22) => Ok((
            Method::Md5Crypt(magic),
            salt.as_bytes().to_vec(),
            output.as_bytes().to_vec(),
        )),
        _ => Err(format!(
            "{magic}SALT$ with a salt of at most 8 and a hash of 22 characters"
        )),
    }
}

/// `ROUNDS$SALT$HASH` in Base64.
fn pbkdf2_sha512(parts: &[&str]) -> Read {
    let expected =
        || format!("$7$ROUNDS$SALT$HASH with at most {MAX_PBKDF2_ROUNDS} rounds, in Base64");
    let [rounds, salt, output] = parts else {
        return Err(expected());
    };
    let rounds: u32 = rounds.parse().map_err(|_| expected())?;
    if rounds == 0 || rounds > MAX_PBKDF2_ROUNDS {
        return Err(expected());
    }
    let (salt, output) = base64(salt, output).ok_or_else(expected)?;
    Ok((Method::Pbkdf2(rounds), salt, output))
}

/// `SALT$HASH` in Base64.
fn salted_sha512(parts: &[&str]) -> Read {
    let expected = || "$6$SALT$HASH in Base64, with a hash of 64 bytes".to_owned();
    let [salt, output] = parts else {
        return Err(expected());
    };
    let (salt, output) = base64(salt, output).ok_or_else(expected)?;
    Ok((Method::SaltedSha512, salt, output))
}

/// A salt and a SHA-512.
fn base64(salt: &str, output: &str) -> Option<(Vec<u8>, Vec<u8>)> {
    let salt = STANDARD.decode(salt).ok()?;
    let output = STANDARD.decode(output).ok()?;
    let bounded = salt.len() <= MAX_SALT && output.len() == SHA512_LENGTH;
    bounded.then_some((salt, output))
}

fn is_crypt(text: &str, length: usize) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/');
    text.len() == length && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Hashes of "secret" by the programs that people bring them from.
    const SECRET: [(&str, &str); 9] = [
        // openssl passwd -6, -5
        (
            "sha512-crypt",
            "$6$saltsalt$TVLlQcbpFVof5W3Yz4DTP6gRstiNuHwwTt6GLc1E5n0U0aDehy0S5knV8wiOQSpT0Y77vwPZN.Pq.H91p5hVO1",
        ),
        (
            "sha256-crypt",
            "$5$saltsalt$0IyaXrmV7.sGNS6tirgqHLqX/G.FBvgkYA.lpPdS5sA",
        ),
        // htpasswd -B, -2, -5 and without an option
        (
            "bcrypt",
            "$2y$05$W8Jh3re/YdR9D3d0X/iQZ.uZXozBUvwRFc6Is02tpXl6ErXRKXh6S",
        ),
        (
            "sha256-crypt",
            "$5$DUZpIhUzbbpdQYMq$I2MWs6FU/MWUm3vU22xGXXXp8EPwe0EULxrVrhce.0B",
        ),
        (
            "sha512-crypt",
            "$6$ze90JJWRi2w6fwtf$HX358nYWkgCYyYB8vuHjcuegAvSLMNOPitCZy3k9vawvamMRWbeLH8T14lEm6H4N6phO2bJg3qsA3dnO.QShn/",
        ),
        ("apr1", "$apr1$oRZuB90y$xLeFwGj6H7lBk.JuUdABN."),
        // openssl passwd -1
        ("md5-crypt", "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"),
        // mosquitto_passwd, mosquitto_passwd -H sha512
        (
            "pbkdf2-sha512",
            "$7$101$nfgPEA5hbJbBOxXv$EETpgXn/dTmGkwoHnQWksOiz32BMfjjHzDu+sgauTpbNyCTF1vGf+pvhbErms6KffIHNpWo8a+SCSGvv6Tf2oQ==",
        ),
        (
            "sha512",
            "$6$olj9bxEEFMA3rCh8$SP5s8FAtonPiO2MMWLe+zYhKD6qdtFYTioY11juYxjv49JpQej9GT8agOZbeJ2abDQo60vyFoUekua4U8CN7ng==",
        ),
    ];

    #[test]
    fn hashes_of_other_programs_accept_their_password_only() {
        for (name, text) in SECRET {
            let hash = Hash::parse(text).unwrap();
            assert_eq!((hash.method().name(), hash.text()), (name, text));
            assert_eq!(format!("{hash:?}"), name);
            assert!(hash.matches(b"secret"), "{text}");
            for wrong in [&b""[..], b"secre", b"secret ", b"Secret"] {
                assert!(!hash.matches(wrong), "{text} {wrong:?}");
            }
        }
    }

    #[test]
    fn rounds_are_read() {
        // openssl has none; from the specification by Ulrich Drepper
        let text = "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.";
        let hash = Hash::parse(text).unwrap();
        assert_eq!(*hash.method(), Method::Sha512Crypt(10_000));
        assert!(hash.matches(b"Hello world!"));
    }

    #[test]
    fn what_asks_for_too_much_or_is_cut_is_refused() {
        for (_, text) in SECRET {
            assert!(Hash::parse(&text[..text.len() - 1]).is_err(), "{text}");
        }
        for text in [
            SECRET[0].1.replace("$6$", "$6$rounds=999$"),
            SECRET[0].1.replace("$6$", "$6$rounds=1000001$"),
            SECRET[2].1.replace("$05$", "$17$"),
            SECRET[2].1.replace("$05$", "$03$"),
            SECRET[2].1.replace("$2y$", "$2x$"),
            SECRET[7].1.replace("$101$", "$0$"),
            SECRET[7].1.replace("$101$", "$2000001$"),
            SECRET[5].1.replace("oRZuB90y", "oRZuB90yy"),
        ] {
            assert!(Hash::parse(&text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(
            text in any::<String>(),
            near in "\\$(6|5|7|2y|1|apr1|argon2id)(\\$|\\$rounds=)[0-9]{0,4}\\$[a-zA-Z0-9./+=$]{0,100}",
        ) {
            let _ = Hash::parse(&text);
            let _ = Hash::parse(&near);
        }
    }
}
