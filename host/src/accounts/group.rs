//! One group: what a section `[group:NAME]` gives its members.

use std::collections::HashMap;
use std::sync::Arc;

use super::account::{Wrong, boolean, networks, service_names};
use super::allowance::Allowance;
use super::ini::{Item, Section};
use super::network::Network;
use super::rights::{Grant, Origin, Rights, Rule, Template, head, read_actions};
use super::words;
use crate::config::{did_you_mean, is_name};

/// What the name of a group's section begins with.
const PREFIX: &str = "group:";

/// The keys of a group; rules and `rights.SERVICE` come on top of them.
pub const KEYS: &[&str] = &[
    "services",
    "from",
    "rights",
    "require_tls",
    "quota",
    "rate_up",
    "rate_down",
    "max_sessions",
];

/// What a key that begins so goes on with: the name of a service.
const RIGHTS_OF: &str = "rights.";

/// The groups of a file by name.
pub type Groups = HashMap<String, Group>;

/// What an account gets by being named in `groups`.
#[derive(Debug, Default)]
pub struct Group {
    /// Services for members that name none.
    pub services: Option<(Vec<String>, Origin)>,
    /// Networks for members that name none.
    pub from: Option<Vec<Network>>,
    /// On top of the member's own rights.
    pub entitlement: Entitlement,
}

/// What a section says about rights and limits, whosever it is.
#[derive(Debug, Default)]
pub struct Entitlement {
    /// The simple form.
    pub rights: Rights,
    /// What may be used up.
    pub allowance: Allowance,
    /// Whether passwords are only taken over a secure connection.
    pub require_tls: Option<bool>,
    rules: Vec<Ruling>,
}

#[derive(Debug)]
enum Ruling {
    Same(Arc<Rule>),
    ByName(Template),
}

/// The name of the group that the section `id` is, if it is one; `Err` if it has no good name.
pub fn name_of(id: &str) -> Option<Result<&str, String>> {
    let name = id.strip_prefix(PREFIX)?;
    let good = words(name).count() == 1 && words(name).next() == Some(name) && !name.contains(':');
    Some(if good {
        Ok(name)
    } else {
        Err(format!(
            "expected [{PREFIX}NAME] with a name without commas, spaces and \":\", got {id:?}"
        ))
    })
}

impl Group {
    /// Reads `section` as far as it can be read; `wrong` is told what cannot.
    pub fn read<'a>(section: &'a Section, wrong: &mut dyn FnMut(Wrong<'a>)) -> Self {
        let mut group = Self::default();
        for item in &section.items {
            if let Err(message) = group.read_item(section, item) {
                wrong(Wrong {
                    item: Some(item),
                    message,
                });
            }
        }
        group
    }

    fn read_item(&mut self, section: &Section, item: &Item) -> Result<(), String> {
        match item.key.as_str() {
            "services" => {
                self.services = Some((service_names(&item.value)?, origin(section, item)));
            }
            "from" => self.from = Some(networks(&item.value)?),
            _ => return self.entitlement.read_item(section, item, KEYS),
        }
        Ok(())
    }
}

impl Entitlement {
    /// Reads what is about rights and limits, and refuses a key that is not, as none of `known`.
    pub fn read_item(
        &mut self,
        section: &Section,
        item: &Item,
        known: &[&str],
    ) -> Result<(), String> {
        let key = item.key.as_str();
        if let Some(read) = self.allowance.read_item(key, &item.value) {
            return read;
        }
        if key == "require_tls" {
            let required = boolean(&item.value);
            let required =
                required.ok_or_else(|| format!("expected yes or no, got {:?}", item.value))?;
            self.require_tls = Some(required);
            return Ok(());
        }
        if let Some(head) = head(key) {
            let template = Template::parse(head?, origin(section, item))?;
            // The name of nobody shows what is wrong for everybody.
            let rule = template.rule("name")?;
            self.rules.push(if template.uses_name() {
                Ruling::ByName(template)
            } else {
                Ruling::Same(Arc::new(rule))
            });
            return Ok(());
        }
        let service = if key == "rights" {
            None
        } else {
            match key.strip_prefix(RIGHTS_OF) {
                Some(service) if is_name(service) => Some(service),
                Some(service) => {
                    return Err(format!(
                        "expected {RIGHTS_OF}SERVICE, got {service:?} for the service"
                    ));
                }
                None => return Err(unknown(key, known)),
            }
        };
        let grant = Grant {
            actions: read_actions(words(&item.value))?,
            origin: Some(origin(section, item)),
        };
        match service {
            None => self.rights.everywhere = Some(grant),
            Some(service) => {
                self.rights.services.insert(service.to_owned(), grant);
            }
        }
        Ok(())
    }

    /// Whether a rule allows something.
    pub fn has_allowing_rule(&self) -> bool {
        self.rules.iter().any(|ruling| match ruling {
            Ruling::Same(rule) => !rule.deny,
            Ruling::ByName(template) => template.allows(),
        })
    }

    /// Adds the rules of the account `name` to `rules`; `Err` if a rule cannot be for that name.
    pub fn rules_for(&self, name: &str, rules: &mut Vec<Arc<Rule>>) -> Result<(), String> {
        for ruling in &self.rules {
            rules.push(match ruling {
                Ruling::Same(rule) => Arc::clone(rule),
                Ruling::ByName(template) => Arc::new(template.rule(name)?),
            });
        }
        Ok(())
    }
}

/// Where `item` was written.
pub fn origin(section: &Section, item: &Item) -> Origin {
    Origin {
        section: section.id.clone(),
        key: item.key.clone(),
        value: item.value.clone(),
        line: item.line,
    }
}

fn unknown(key: &str, known: &[&str]) -> String {
    let hint = match did_you_mean(key, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!(
            "expected one of {}, {RIGHTS_OF}SERVICE, allow.NAME, deny.NAME",
            known.join(", ")
        ),
    };
    format!("unknown key, {hint}")
}
