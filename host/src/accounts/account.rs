//! One account: the keys of its section, read and bounded.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::expiry;
use super::ini::{Item, Section};
use super::network::{Network, admits};
use super::password::{Secret, Tag};
use super::rights::{Actions, Rights};
use crate::config::is_name;

/// The section of clients that have no account.
pub const ANONYMOUS: &str = "anonymous";

/// The keys of a section; `rights.SERVICE` comes on top of them.
pub const KEYS: &[&str] = &[
    "name", "password", "expire", "expore", "enabled", "home", "services", "from", "rights",
];

/// What a key that begins so goes on with: the name of a service.
const RIGHTS_OF: &str = "rights.";

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
    /// What it may do.
    pub rights: Rights,
    /// Equal for two accounts that differ in nothing.
    pub fingerprint: [u8; 32],
    proven: Mutex<Option<Tag>>,
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
    pub fn read<'a>(section: &'a Section, folder: &Path, wrong: &mut dyn FnMut(Wrong<'a>)) -> Self {
        let anonymous = section.id == ANONYMOUS;
        let mut account = Self {
            id: section.id.clone(),
            name: section.id.clone(),
            secret: None,
            expires: None,
            enabled: true,
            home: None,
            services: None,
            from: anonymous.then(|| Network::LOOPBACK.to_vec()),
            rights: Rights {
                everywhere: if anonymous {
                    Actions::of_anonymous()
                } else {
                    Actions::ALL
                },
                services: Default::default(),
            },
            fingerprint: [0; 32],
            proven: Mutex::new(None),
        };
        for item in &section.items {
            let read = if anonymous && matches!(item.key.as_str(), "name" | "password") {
                Err(format!(
                    "is not for [{ANONYMOUS}]: it stands for the clients that do not log in"
                ))
            } else {
                account.read_item(&item.key, &item.value, folder)
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
        account.fingerprint = account.compute_fingerprint();
        account
    }

    fn read_item(&mut self, key: &str, value: &str, folder: &Path) -> Result<(), String> {
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
            "services" => {
                let names: Vec<String> = words(value).map(str::to_owned).collect();
                if let Some(word) = names.iter().find(|name| !is_name(name)) {
                    return Err(format!(
                        "expected names of services such as mqtt, files, got {word:?}"
                    ));
                }
                self.services = Some(names);
            }
            "from" => self.from = Some(networks(value)?),
            "rights" => self.rights.everywhere = actions(value)?,
            _ => match key.strip_prefix(RIGHTS_OF) {
                Some(service) if is_name(service) => {
                    self.rights
                        .services
                        .insert(service.to_owned(), actions(value)?);
                }
                Some(service) => {
                    return Err(format!(
                        "expected {RIGHTS_OF}SERVICE, got {service:?} for the service"
                    ));
                }
                None => {
                    let near = crate::config::did_you_mean(key, KEYS.iter().copied());
                    let hint = match near {
                        Some(near) => format!("did you mean {near:?}?"),
                        None => format!("expected one of {}, {RIGHTS_OF}SERVICE", KEYS.join(", ")),
                    };
                    return Err(format!("unknown key, {hint}"));
                }
            },
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
                (&self.home, &self.services, &self.from, &self.rights),
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

fn words(value: &str) -> impl Iterator<Item = &str> {
    value
        .split([',', ' ', '\t'])
        .filter(|word| !word.is_empty())
}

fn boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" | "1" => Some(true),
        "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

fn networks(value: &str) -> Result<Vec<Network>, String> {
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

fn actions(value: &str) -> Result<Actions, String> {
    Actions::parse(words(value)).map_err(|word| {
        let known: Vec<&str> = super::rights::Action::ALL
            .iter()
            .map(|(_, word)| *word)
            .collect();
        format!(
            "expected actions out of {}, or all, or none, got {word:?}",
            known.join(", ")
        )
    })
}
