//! accounts.ini as a whole: read into an immutable list, or refused with every problem at once.

mod reading;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use self::reading::Reading;
use super::account::{ANONYMOUS, Account};
use super::certificate::CertificateName;
use super::ini::Document;
use super::password::{Dummy, Form};
use super::token::Token;
use crate::config::{Diagnostic, Diagnostics, Place, did_you_mean, shown, utf8};

/// All accounts of one file.
#[derive(Debug, Clone)]
pub struct AccountList {
    accounts: Vec<Arc<Account>>,
    by_login: HashMap<String, usize>,
    by_certificate: HashMap<CertificateName, usize>,
    tokens: HashMap<[u8; 32], Arc<Token>>,
    anonymous: Option<Arc<Account>>,
    groups: HashSet<String>,
    services_named: Vec<(Place, String, String)>,
    dummy: Dummy,
    scram_form: Form,
    warnings: Diagnostics,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be read.
    #[error("cannot read the accounts {}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is wrong.
    #[error(transparent)]
    Invalid(#[from] Diagnostics),
}

impl AccountList {
    /// Nobody at all: what a missing file means when the host starts.
    pub fn empty() -> Self {
        Self {
            accounts: Vec::new(),
            by_login: HashMap::new(),
            by_certificate: HashMap::new(),
            tokens: HashMap::new(),
            anonymous: None,
            groups: HashSet::new(),
            services_named: Vec::new(),
            dummy: Dummy::for_all([]),
            scram_form: Form::of_all([]),
            warnings: Diagnostics::new(),
        }
    }

    /// Reads and checks `file`; a missing one is [`AccountList::empty`].
    pub fn load(file: &Path) -> Result<Self, LoadError> {
        match std::fs::read(file) {
            Ok(bytes) => Ok(Self::parse(file, &bytes)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::empty()),
            Err(error) => Err(LoadError::Read {
                file: file.to_owned(),
                source: error,
            }),
        }
    }

    /// Checks `bytes`, the content of `file`; homes begin at the file's folder.
    pub fn parse(file: &Path, bytes: &[u8]) -> Result<Self, Diagnostics> {
        let name = shown(file);
        let (document, malformed) = Document::parse(utf8(&name, bytes)?);
        let mut reading = Reading::new(&name, &document, malformed);
        let folder = file.parent().unwrap_or(Path::new(""));
        let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        let list = reading.list(&folder);
        let (errors, warnings): (Vec<_>, Vec<_>) = reading
            .diagnostics
            .sorted()
            .iter()
            .cloned()
            .partition(Diagnostic::is_error);
        if errors.is_empty() {
            Ok(Self {
                warnings: warnings.into_iter().collect(),
                ..list
            })
        } else {
            Err(errors.into_iter().collect())
        }
    }

    /// The account that `login` names; never the anonymous one.
    pub fn get(&self, login: &str) -> Option<&Arc<Account>> {
        self.by_login.get(login).map(|index| &self.accounts[*index])
    }

    /// The account that stands for a client certificate, in DER; none for none.
    pub fn by_certificate(&self, der: &[u8]) -> Option<&Arc<Account>> {
        if der.is_empty() || self.by_certificate.is_empty() {
            return None;
        }
        let names = CertificateName::all_of(der);
        let index = names
            .iter()
            .find_map(|name| self.by_certificate.get(name))?;
        Some(&self.accounts[*index])
    }

    /// The token that `password` is, if it is one.
    pub fn token(&self, password: &[u8]) -> Option<&Arc<Token>> {
        self.tokens.get(&Token::hash_of(password)?)
    }

    /// The tokens of an account by their names.
    pub fn tokens_of(&self, login: &str) -> Vec<&Arc<Token>> {
        let tokens = self.tokens.values();
        let mut tokens: Vec<_> = tokens.filter(|token| token.account == login).collect();
        tokens.sort_by(|one, other| one.name.cmp(&other.name));
        tokens
    }

    /// When accounts and tokens expire.
    pub(super) fn expiries(&self) -> impl Iterator<Item = SystemTime> {
        let accounts = self.everybody().filter_map(|account| account.expires);
        accounts.chain(self.tokens.values().filter_map(|token| token.expires))
    }

    /// All accounts in the order of the file, without the anonymous one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.iter()
    }

    /// What clients without an account get, if the file has the section.
    pub fn anonymous(&self) -> Option<&Arc<Account>> {
        self.anonymous.as_ref()
    }

    /// All accounts and the anonymous one.
    pub fn everybody(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.iter().chain(&self.anonymous)
    }

    /// Whether there is a section `[group:NAME]`.
    pub fn has_group(&self, name: &str) -> bool {
        self.groups.contains(name)
    }

    /// Whether there is no account at all, nor rights for clients without one.
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.anonymous.is_none()
    }

    /// What somebody should look at.
    pub fn warnings(&self) -> &Diagnostics {
        &self.warnings
    }

    /// A warning for each service that an account names and `known` does not.
    pub fn unknown_services(&self, known: &[&str]) -> Diagnostics {
        let unknown = self
            .services_named
            .iter()
            .filter(|(_, _, service)| !known.contains(&service.as_str()));
        let warnings: Diagnostics = unknown
            .map(|(place, key, service)| {
                let hint = match did_you_mean(service, known.iter().copied()) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None if known.is_empty() => "there are none".to_owned(),
                    None => format!("there are {}", known.join(", ")),
                };
                Diagnostic::warning(
                    place.clone(),
                    key.as_str(),
                    format!("there is no service {service:?}: {hint}"),
                )
            })
            .collect();
        warnings.sorted()
    }

    /// The computation for a login without one of its own.
    pub(super) fn dummy(&self) -> &Dummy {
        &self.dummy
    }

    /// How the verifiers of SCRAM are here.
    pub(super) fn scram_form(&self) -> Form {
        self.scram_form
    }

    /// Whether this very account is in the list, not one that replaced it.
    pub(super) fn holds(&self, account: &Arc<Account>) -> bool {
        self.namesake(account)
            .is_some_and(|held| Arc::ptr_eq(held, account))
    }

    /// Whether this token is in the list as it is.
    pub(super) fn has_token(&self, token: &Arc<Token>) -> bool {
        let held = self.tokens.get(&token.hash);
        held.is_some_and(|held| Arc::ptr_eq(held, token) || held == token)
    }

    /// The account of the same name here, if it differs in nothing.
    fn unchanged(&self, other: &Account) -> Option<&Arc<Account>> {
        self.namesake(other)
            .filter(|account| account.fingerprint == other.fingerprint)
    }

    /// The account of the same name here.
    fn namesake(&self, other: &Account) -> Option<&Arc<Account>> {
        if other.id == ANONYMOUS {
            self.anonymous()
        } else {
            self.get(&other.name)
        }
    }

    /// Whether any account or token of one list is not in the other as it is.
    pub(super) fn differs(&self, other: &Self) -> bool {
        self.tokens != other.tokens
            || self.everybody().count() != other.everybody().count()
            || self
                .everybody()
                .any(|account| other.unchanged(account).is_none())
    }

    /// The names of the accounts that are not in both lists as they are, in order.
    pub(super) fn changed(&self, other: &Self) -> BTreeSet<String> {
        let missing = |one: &Self, two: &Self| -> Vec<String> {
            one.everybody()
                .filter(|account| two.unchanged(account).is_none())
                .map(|account| account.name.clone())
                .collect()
        };
        missing(self, other)
            .into_iter()
            .chain(missing(other, self))
            .collect()
    }

    /// The same list with the accounts of `before` in the place of those that did not change, so
    /// that their sessions, which hold them, stay current.
    pub(super) fn keep_unchanged(&self, before: &Self) -> Self {
        let mut list = self.clone();
        for account in list.accounts.iter_mut().chain(&mut list.anonymous) {
            if let Some(old) = before.unchanged(account) {
                *account = Arc::clone(old);
            } else if let Some(old) = before.namesake(account) {
                account.go_on_from(old);
            }
        }
        list
    }
}
