//! API tokens: `token.NAME = sha256:HEX [expires=WHEN] [scope=[SERVICE:] ACTIONS PATTERN [| …]]`.
//!
//! A token stands for its account's password with less rights: what its scope allows and the account
//! may do. It is 160 bits from the system's random numbers, so its hash needs no salt, and nobody
//! guesses it however fast it is looked up.

use std::fmt;
use std::io;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::account::Wrong;
use super::group::origin;
use super::ini::{Item, Section};
use super::rights::{Origin, Question, Rule, Template};
use super::{expiry, hex};
use crate::config::is_name;

/// What the keys of tokens begin with.
pub const KEY: &str = "token.";

/// What every token begins with, so that it is known for one wherever it turns up.
const PREFIX: &str = "pp_";

/// The characters after the prefix, five bits each.
const LENGTH: usize = 32;

/// RFC 4648, section 6, in lower case.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// One token, by its hash.
pub struct Token {
    /// Its name among those of its account.
    pub name: String,
    /// The login of its account.
    pub account: String,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// From when on it is no longer valid.
    pub expires: Option<SystemTime>,
    /// What it may be used for; none for whatever the account may do.
    pub scopes: Option<Vec<Scope>>,
    /// Where it was written, without the hash.
    pub origin: Origin,
}

/// A rule that allows something to whoever has the token.
#[derive(Debug)]
pub struct Scope {
    text: String,
    service: Option<String>,
    rule: Rule,
}

impl Token {
    /// A new token and its hash.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn generate() -> io::Result<(String, [u8; 32])> {
        let mut random = [0; LENGTH];
        getrandom::fill(&mut random)?;
        let letters = random
            .iter()
            .map(|byte| ALPHABET[usize::from(byte & 31)] as char);
        let token: String = PREFIX.chars().chain(letters).collect();
        let hash = Sha256::digest(&token).into();
        Ok((token, hash))
    }

    /// The hash of `password`, if it may be a token.
    pub fn hash_of(password: &[u8]) -> Option<[u8; 32]> {
        let letters = password.strip_prefix(PREFIX.as_bytes())?;
        let is_token =
            letters.len() == LENGTH && letters.iter().all(|byte| ALPHABET.contains(byte));
        is_token.then(|| Sha256::digest(password).into())
    }

    /// The tokens of the account `login`; `wrong` is told what cannot be read.
    pub fn read_all<'a>(
        section: &'a Section,
        login: &str,
        wrong: &mut dyn FnMut(Wrong<'a>),
    ) -> Vec<Self> {
        let items = section
            .items
            .iter()
            .filter(|item| item.key.starts_with(KEY));
        let mut read = |item| {
            let token = Self::read(section, item, login);
            token
                .map_err(|message| {
                    wrong(Wrong {
                        item: Some(item),
                        message,
                    })
                })
                .ok()
        };
        items.filter_map(&mut read).collect()
    }

    fn read(section: &Section, item: &Item, login: &str) -> Result<Self, String> {
        let name = item.key.strip_prefix(KEY).unwrap_or_default();
        if !is_name(name) {
            return Err(format!(
                "expected {KEY}NAME with a name of a-z, 0-9, _ and -, got {:?}",
                item.key
            ));
        }
        // The hash is no secret, but too long to be looked at.
        let wrong = || {
            "expected sha256:HEX, expires=WHEN, scope=SCOPE, as \"polyport user token add\" writes them"
                .to_owned()
        };
        let (hash, mut rest) = word(&item.value);
        let hash = hash
            .strip_prefix("sha256:")
            .and_then(hex::decode)
            .ok_or_else(wrong)?;
        let mut origin = origin(section, item);
        origin.value = rest.to_owned();
        let mut expires = None;
        if let (first, after) = word(rest)
            && let Some(when) = first.strip_prefix("expires=")
        {
            let end = expiry::parse(when);
            expires = Some(end.ok_or_else(|| {
                format!("expected a date or time after expires=, such as 2026-12-31, got {when:?}")
            })?);
            rest = after;
        }
        let scopes = match rest.strip_prefix("scope=") {
            Some(scopes) => Some(
                scopes
                    .split('|')
                    .map(|scope| Scope::parse(scope.trim(), &origin, login))
                    .collect::<Result<_, _>>()?,
            ),
            None if rest.is_empty() => None,
            None => return Err(wrong()),
        };
        Ok(Self {
            name: name.to_owned(),
            account: login.to_owned(),
            hash,
            expires,
            scopes,
            origin,
        })
    }

    /// What stands in the file for a token with `hash`; `Err` if one of `scopes` is none.
    pub fn spell(
        hash: &[u8; 32],
        expires: Option<&str>,
        scopes: &[String],
        login: &str,
    ) -> Result<String, String> {
        let mut value = format!("sha256:{}", hex::encode(hash));
        if let Some(when) = expires {
            value.push_str(&format!(" expires={when}"));
        }
        let nowhere = Origin {
            section: String::new(),
            key: String::new(),
            value: String::new(),
            line: 0,
        };
        for (index, scope) in scopes.iter().enumerate() {
            if scope.contains('|') {
                return Err(format!("expected a scope without \"|\", got {scope:?}"));
            }
            Scope::parse(scope.trim(), &nowhere, login)?;
            value.push_str(if index == 0 { " scope=" } else { " | " });
            value.push_str(scope.trim());
        }
        Ok(value)
    }

    /// Whether it has not expired.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    /// Whether its scope allows what is asked.
    pub fn allows(&self, question: &Question<'_>) -> bool {
        self.scopes
            .as_ref()
            .is_none_or(|scopes| scopes.iter().any(|scope| scope.rule.concerns(question)))
    }

    /// As [`allows_some`](super::rights::allows_some).
    pub fn allows_some(&self, question: &Question<'_>) -> bool {
        let some = |scope: &Scope| scope.rule.concerns_some(question);
        self.scopes
            .as_ref()
            .is_none_or(|scopes| scopes.iter().any(some))
    }

    /// The services that its scopes name.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        let scopes = self.scopes.iter().flatten();
        scopes.filter_map(|scope| scope.service.as_deref())
    }

    /// Its scopes as they are written; empty for all that the account may do.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes
            .iter()
            .flatten()
            .map(|scope| scope.text.as_str())
    }
}

/// Equal for two that differ in nothing but where they are written.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        (
            &self.account,
            &self.name,
            self.hash,
            self.expires,
            self.scopes.is_none(),
        ) == (
            &other.account,
            &other.name,
            other.hash,
            other.expires,
            other.scopes.is_none(),
        ) && self.scopes().eq(other.scopes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Token({:?} of {:?})", self.name, self.account)
    }
}

impl Scope {
    /// Reads `[SERVICE:] ACTIONS PATTERN`; `login` stands for `%u`.
    fn parse(text: &str, token: &Origin, login: &str) -> Result<Self, String> {
        let (service, rule) = match text.split_once(':') {
            Some((service, rule)) if is_name(service) => (Some(service), rule.trim_start()),
            _ => (None, text),
        };
        let origin = Origin {
            value: rule.to_owned(),
            ..token.clone()
        };
        let rule = Template::parse((false, service), origin)?.rule(login)?;
        Ok(Self {
            text: text.to_owned(),
            service: service.map(str::to_owned),
            rule,
        })
    }
}

/// The first word of `text`, and what follows it.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    match text.split_once([' ', '\t']) {
        Some((word, rest)) => (word, rest.trim_start()),
        None => (text, ""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::accounts::Action;
    use crate::accounts::ini::Document;

    fn read(value: &str) -> Result<Token, String> {
        let (document, _) = Document::parse(&format!("[a]\ntoken.ci = {value}\n"));
        let section = &document.sections[0];
        let mut problem = None;
        let token =
            Token::read_all(section, "alice", &mut |wrong| problem = Some(wrong.message)).pop();
        token.ok_or_else(|| problem.unwrap())
    }

    fn allows(token: &Token, service: &str, action: Action, target: &str) -> bool {
        token.allows(&Question {
            service,
            action,
            target,
            client_id: None,
            token: None,
        })
    }

    #[test]
    fn tokens_are_all_different_and_known_by_their_hash() {
        let (one, hash) = Token::generate().unwrap();
        let (other, _) = Token::generate().unwrap();
        assert!(
            one.len() == 35 && one.starts_with("pp_") && one != other,
            "{one}"
        );
        assert_eq!(Token::hash_of(one.as_bytes()), Some(hash));
        for wrong in [
            "",
            "pp_",
            "secret",
            &one[..34],
            &one.to_uppercase(),
            &format!("{one}a"),
        ] {
            assert_eq!(Token::hash_of(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_spelt_is_read_back() {
        let scopes = [
            "files: read /fw/**".to_owned(),
            "publish,subscribe dev/%u/#".to_owned(),
        ];
        let value = Token::spell(&[7; 32], Some("2999-01-01"), &scopes, "alice").unwrap();
        let token = read(&value).unwrap();
        assert_eq!((token.name.as_str(), token.hash), ("ci", [7; 32]));
        assert!(token.is_valid(SystemTime::now()));
        assert_eq!(token.scopes().collect::<Vec<_>>(), scopes);
        assert!(allows(&token, "files", Action::Read, "/fw/x"));
        assert!(!allows(&token, "ftp", Action::Read, "/fw/x"));
        assert!(!allows(&token, "files", Action::Write, "/fw/x"));
        assert!(allows(&token, "mqtt", Action::Publish, "dev/alice/x"));
        assert!(!allows(&token, "mqtt", Action::Subscribe, "dev/#"));
        let all = read(&Token::spell(&[7; 32], None, &[], "alice").unwrap()).unwrap();
        assert!(allows(&all, "any", Action::Delete, "/x") && all.scopes().next().is_none());
        assert!(token != all && all == read(&format!("  sha256:{}", "07".repeat(32))).unwrap());
        let old = read(&format!("sha256:{} expires=2001-01-01", "07".repeat(32))).unwrap();
        assert!(!old.is_valid(SystemTime::now()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        let hash = format!("sha256:{}", "07".repeat(32));
        for wrong in [
            "",
            "sha256:07",
            "pp_abc",
            &format!("{hash} expires=soon"),
            &format!("{hash} scope="),
            &format!("{hash} scope=read"),
            &format!("{hash} scope=read /a |"),
            &format!("{hash} read /a"),
            &format!("{hash} scope=read /a expires=2030-01-01 | reed /b"),
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for scope in [
            "read",
            "read /a|write /b",
            "read a",
            "read,publish /a",
            "x y",
        ] {
            assert!(
                Token::spell(&[7; 32], None, &[scope.to_owned()], "a").is_err(),
                "{scope}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_scope_that_can_be_spelt_reads_back(scopes in prop::collection::vec(
            "([a-z]{1,4}: ?)?(read|list,write|all|publish) ?[/a-z*#+%|:=]{1,12}", 1..4)) {
            if let Ok(value) = Token::spell(&[1; 32], Some("2999-01-01"), &scopes, "alice") {
                let token = read(&value).unwrap();
                prop_assert_eq!(token.scopes().collect::<Vec<_>>(), scopes);
            }
        }

        #[test]
        fn no_value_makes_the_reader_panic(text in any::<String>(), near in "(expires=|scope=|read|/|\\||:| ){0,8}") {
            let hash = "07".repeat(32);
            for value in [text.clone(), format!("sha256:{hash} {text}"), format!("sha256:{hash} {near}")] {
                if Document::parse(&format!("[a]\ntoken.ci = {value}\n")).1.is_empty() {
                    let _ = read(&value);
                }
            }
            let _ = Token::hash_of(text.as_bytes());
        }
    }
}
