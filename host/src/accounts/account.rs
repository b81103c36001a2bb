//! One account: the keys of its section, read and bounded.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::allowance::Allowance;
use super::certificate::CertificateName;
use super::group::{Entitlement, Groups, origin};
use super::ini::{Item, Section};
use super::network::{Network, admits};
use super::password::{Secret, Tag};
use super::rights::{Actions, Grant, Origin, Rights, Rule};
use super::usage::Usage;
use super::{expiry, token, words};
use crate::config::is_name;

/// The section of clients that have no account.
pub const ANONYMOUS: &str = "anonymous";

/// The keys of a section; rules and `rights.SERVICE` come on top of them.
pub const KEYS: &[&str] = &[
    "name",
    "password",
    "expire",
    "expore",
    "enabled",
    "home",
    "groups",
    "services",
    "from",
    "rights",
    "certificate",
    "require_tls",
    "quota",
    "rate_up",
    "rate_down",
    "max_sessions",
];

/// The longest login and the longest section name, in bytes.
const MAX_NAME: usize = 128;

/// The longest home, in bytes: PATH_MAX.
const MAX_HOME: usize = 4095;

/// An account. Immutable but for the memory of the password that was right last.
pub struct Account {
    /// The name of its section.
    pub id: String,
    /// What its user types; the section's name unless `name` says otherwise.
    pub name: String,
    /// The password, if it has one: without, nobody logs in.
    pub secret: Option<Secret>,
    /// The moment from which on it is no longer valid.
    pub expires: Option<SystemTime>,
    /// Whether it is in use at all.
    pub enabled: bool,
    /// Its folder, absolute.
    pub home: Option<PathBuf>,
    /// The services that it is for; all of them when absent.
    pub services: Option<Vec<String>>,
    /// The networks that it may come from; all of them when absent.
    pub from: Option<Vec<Network>>,
    /// The groups it is in.
    pub groups: Vec<String>,
    /// The client certificates that stand for it.
    pub certificates: Vec<CertificateName>,
    /// Whether its password is only taken over a secure connection.
    pub require_tls: bool,
    /// What it may use up.
    pub allowance: Allowance,
    /// What it may do to every target: by its own section and by those of its groups.
    pub rights: Vec<Rights>,
    /// What it may do to single targets: its own rules and those of its groups.
    pub rules: Vec<Arc<Rule>>,
    /// Where `enabled`, `expire` and `services` were written.
    pub origins: Vec<Origin>,
    /// Equal for two accounts that differ in nothing.
    pub fingerprint: [u8; 32],
    proven: Mutex<Option<Tag>>,
    scram_proven: AtomicBool,
    usage: OnceLock<Arc<Usage>>,
}

/// What is wrong with a key, before anybody knows its place.
pub struct Wrong<'a> {
    /// The key; the section itself when absent.
    pub item: Option<&'a Item>,
    /// What was expected, what was found.
    pub message: String,
}

impl Account {
    /// Reads `section` as far as it can be read; `wrong` is told what cannot. Homes begin at
    /// `folder`.
    pub fn read<'a>(
        section: &'a Section,
        folder: &Path,
        groups: &Groups,
        wrong: &mut dyn FnMut(Wrong<'a>),
    ) -> Self {
        let anonymous = section.id == ANONYMOUS;
        let mut account = Self {
            id: section.id.clone(),
            name: section.id.clone(),
            secret: None,
            expires: None,
            enabled: true,
            home: None,
            services: None,
            from: None,
            groups: Vec::new(),
            certificates: Vec::new(),
            require_tls: false,
            allowance: Allowance::default(),
            rights: Vec::new(),
            rules: Vec::new(),
            origins: Vec::new(),
            fingerprint: [0; 32],
            proven: Mutex::new(None),
            scram_proven: AtomicBool::new(false),
            usage: OnceLock::new(),
        };
        let mut own = Entitlement::default();
        for item in &section.items {
            let key = item.key.as_str();
            let of_users = matches!(key, "name" | "password" | "certificate");
            let read = if anonymous && (of_users || key.starts_with(token::KEY)) {
                Err(format!(
                    "is not for [{ANONYMOUS}]: it stands for the clients that do not log in"
                ))
            } else {
                account.read_item(section, item, folder, groups, &mut own)
            };
            if let Err(message) = read {
                wrong(Wrong {
                    item: Some(item),
                    message,
                });
            }
        }
        if section.items.iter().all(|item| item.key != "name")
            && let Err(message) = check_login(&section.id)
        {
            wrong(Wrong {
                item: None,
                message,
            });
        }
        if let Err(message) = account.join(own, groups) {
            wrong(Wrong {
                item: None,
                message,
            });
        }
        account.fingerprint = account.compute_fingerprint();
        account
    }

    /// Puts together what the account's own section and its groups say.
    fn join(&mut self, own: Entitlement, groups: &Groups) -> Result<(), String> {
        let anonymous = self.id == ANONYMOUS;
        let groups: Vec<_> = self
            .groups
            .iter()
            .filter_map(|name| groups.get(name))
            .collect();
        if self.services.is_none() {
            for (names, origin) in groups.iter().filter_map(|group| group.services.as_ref()) {
                self.services
                    .get_or_insert_default()
                    .extend_from_slice(names);
                self.origins.push(origin.clone());
            }
        }
        if self.from.is_none() {
            for networks in groups.iter().filter_map(|group| group.from.as_ref()) {
                self.from
                    .get_or_insert_default()
                    .extend_from_slice(networks);
            }
            if self.from.is_none() && anonymous {
                self.from = Some(Network::LOOPBACK.to_vec());
            }
        }
        self.require_tls = own.require_tls.unwrap_or_else(|| {
            groups
                .iter()
                .any(|group| group.entitlement.require_tls == Some(true))
        });
        self.allowance = own.allowance;
        self.allowance
            .fill(groups.iter().map(|group| &group.entitlement.allowance));
        let entitlements: Vec<&Entitlement> = std::iter::once(&own)
            .chain(groups.iter().map(|group| &group.entitlement))
            .collect();
        self.rights = entitlements
            .iter()
            .map(|entitlement| entitlement.rights.clone())
            .collect();
        let granted = entitlements.iter().any(|one| one.has_allowing_rule())
            || self.rights[1..].iter().any(Rights::is_given);
        if self.rights[0].everywhere.is_none() && !granted {
            self.rights[0].everywhere = Some(Grant {
                actions: if anonymous {
                    Actions::of_anonymous()
                } else {
                    Actions::ALL
                },
                origin: None,
            });
        }
        let name = self.name.clone();
        entitlements
            .iter()
            .try_for_each(|entitlement| entitlement.rules_for(&name, &mut self.rules))
    }

    fn read_item(
        &mut self,
        section: &Section,
        item: &Item,
        folder: &Path,
        groups: &Groups,
        own: &mut Entitlement,
    ) -> Result<(), String> {
        let (key, value) = (item.key.as_str(), item.value.as_str());
        if matches!(key, "enabled" | "expire" | "expore" | "services") {
            self.origins.push(origin(section, item));
        }
        let expected = |what: &str| format!("expected {what}, got {value:?}");
        match key {
            "name" => {
                check_login(value)?;
                if value == ANONYMOUS {
                    return Err(format!(
                        "{value:?} is built in: its section is [{ANONYMOUS}]"
                    ));
                }
                self.name = value.to_owned();
            }
            // The value itself is never printed.
            "password" => {
                self.secret = Some(Secret::parse(value).map_err(|what| format!("expected {what}"))?)
            }
            "expire" | "expore" => {
                let end = expiry::parse(value);
                self.expires = Some(end.ok_or_else(|| {
                    expected("a date such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z")
                })?);
            }
            "enabled" => self.enabled = boolean(value).ok_or_else(|| expected("yes or no"))?,
            "home" => {
                if value.is_empty() || value.len() > MAX_HOME {
                    return Err(expected("the path of a folder"));
                }
                self.home = Some(folder.join(value));
            }
            "groups" => {
                let names: Vec<String> = words(value).map(str::to_owned).collect();
                if let Some(word) = names.iter().find(|name| !groups.contains_key(*name)) {
                    return Err(format!(
                        "expected names of groups, got {word:?}: there is no section [group:{word}]"
                    ));
                }
                self.groups = names;
            }
            "services" => self.services = Some(service_names(value)?),
            "from" => self.from = Some(networks(value)?),
            "certificate" => self.certificates = CertificateName::parse_list(value)?,
            // Read when the login is known.
            key if key.starts_with(token::KEY) => {}
            _ => return own.read_item(section, item, KEYS),
        }
        Ok(())
    }

    /// Whether a client at `peer` may use it; a peer without an address came by a Unix socket.
    pub fn admits(&self, peer: Option<IpAddr>) -> bool {
        self.from
            .as_ref()
            .is_none_or(|networks| admits(networks, peer))
    }

    /// Whether it is neither disabled nor expired.
    pub fn is_valid(&self, now: SystemTime) -> bool {
        self.enabled && self.expires.is_none_or(|end| now < end)
    }

    /// Whether `password` was proven to be the right one before; costs no hash.
    pub fn is_proven(&self, key: &[u8], password: &[u8]) -> bool {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven
            .as_ref()
            .is_some_and(|tag| tag.matches(key, &self.fingerprint, password))
    }

    /// Remembers that `password` is the right one, as a tag that only `key` can tell.
    pub fn prove(&self, key: &[u8], password: &[u8]) {
        let tag = Tag::new(key, &self.fingerprint, password);
        *self.proven.lock().unwrap_or_else(PoisonError::into_inner) = Some(tag);
    }

    /// Whether somebody proved by SCRAM that he knows its password.
    pub fn was_proven(&self) -> bool {
        self.scram_proven.load(Ordering::Relaxed)
    }

    /// Somebody did.
    pub fn note_proven(&self) {
        self.scram_proven.store(true, Ordering::Relaxed);
    }

    /// What its sessions use up.
    pub fn usage(&self) -> &Arc<Usage> {
        self.usage.get_or_init(Arc::default)
    }

    /// Goes on with the counters of the account that this one replaces.
    pub fn go_on_from(&self, before: &Self) {
        // Set already if both are in force at once, and then it is the same.
        let _ = self.usage.set(Arc::clone(before.usage()));
    }

    /// Over everything that was read, in a fixed order.
    fn compute_fingerprint(&self) -> [u8; 32] {
        let secret = self
            .secret
            .as_ref()
            .map(|secret| (secret.kind(), secret.text()));
        let everything = format!(
            "{:?}",
            (
                (&self.id, &self.name, secret, self.expires, self.enabled),
                (&self.home, &self.services, &self.from),
                (&self.certificates, self.require_tls, self.allowance),
                (&self.rights, &self.rules),
            )
        );
        Sha256::digest(everything).into()
    }
}

/// Without the password.
impl fmt::Debug for Account {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Account")
            .field("id", &self.id)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The bounds of a login read from a file.
fn check_login(login: &str) -> Result<(), String> {
    if login.is_empty() || login.len() > MAX_NAME || login.contains(char::is_control) {
        return Err(format!(
            "expected a name of 1 to {MAX_NAME} bytes, got {login:?}"
        ));
    }
    Ok(())
}

pub fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// The names of services; `Err` says what was expected.
pub fn service_names(value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = words(value).map(str::to_owned).collect();
    match names.iter().find(|name| !is_name(name)) {
        Some(word) => Err(format!(
            "expected names of services such as mqtt, files, got {word:?}"
        )),
        None => Ok(names),
    }
}

/// The networks of a list; `Err` says what was expected.
pub fn networks(value: &str) -> Result<Vec<Network>, String> {
    let mut networks = Vec::new();
    for word in words(value) {
        let network = Network::parse(word).ok_or_else(|| {
            format!("expected networks such as 192.168.1.0/24, 2001:db8::/32, loopback or any, got {word:?}")
        })?;
        networks.extend(network);
    }
    if networks.is_empty() {
        Err("expected at least one network, such as loopback or any".to_owned())
    } else {
        Ok(networks)
    }
}
