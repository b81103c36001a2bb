//! mosquitto's password file, `NAME:HASH`, and its ACL file:
//!
//! ```text
//! topic [read|write|readwrite|deny] TOPIC      for clients without a name, or for the `user` above
//! user NAME
//! pattern [read|write|readwrite|deny] TOPIC    for all; %u is the name, %c the client's id
//! ```
//!
//! Whatever no line allows is refused.

use super::Text;
use super::plan::{Plan, Section};
use crate::accounts::ANONYMOUS;

/// One line of an ACL file as a rule.
struct Rule {
    deny: bool,
    actions: &'static str,
    pattern: String,
}

/// Rules for everybody and for those without a name.
#[derive(Default)]
pub struct Common {
    patterns: Vec<Rule>,
    anonymous: Vec<Rule>,
}

/// The accounts of `passwords` with the rules of `acl`, for `service` alone.
pub fn import(passwords: &Text, acl: Option<&Text>, service: &str) -> Plan {
    let mut plan = Plan::new(service);
    let common = accounts(&mut plan, Some(passwords), acl);
    for rule in common.into_iter().flat_map(|common| common.anonymous) {
        let actions = rule.actions;
        plan.notes.push(format!(
            "a rule for clients without a name is left out, because the files do not say whether there are any: \
             {actions} {}",
            rule.pattern
        ));
    }
    plan
}

/// Adds the accounts of both files to `plan`; gives the rules that are not of a single one.
pub fn accounts(plan: &mut Plan, passwords: Option<&Text>, acl: Option<&Text>) -> Option<Common> {
    for line in passwords.iter().flat_map(|text| text.lines()) {
        plan.password_line(&line.place, line.text);
    }
    let acl = acl?;
    let mut common = Common::default();
    let mut user: Option<String> = None;
    for line in acl.lines() {
        let (word, rest) = split_word(line.text);
        match word {
            "user" => {
                if plan
                    .sections
                    .iter()
                    .all(|section| section.login() != Some(rest))
                {
                    plan.note(
                        &line.place,
                        format_args!("{rest:?} has no password in the password file"),
                    );
                    plan.account(&line.place, rest);
                }
                user = Some(rest.to_owned());
            }
            "topic" => {
                let rule = rule(rest, false);
                match &user {
                    None => common.anonymous.push(rule),
                    Some(user) => {
                        let mut sections = plan.sections.iter_mut();
                        if let Some(section) =
                            sections.find(|section| section.login() == Some(user))
                        {
                            add(section, &rule);
                        }
                    }
                }
            }
            "pattern" => common.patterns.push(rule(rest, true)),
            _ => plan.note(
                &line.place,
                format_args!("expected user, topic or pattern, got {word:?}"),
            ),
        }
    }
    join(plan, &common.patterns);
    Some(common)
}

/// Makes a group of the rules that are for all accounts.
fn join(plan: &mut Plan, patterns: &[Rule]) {
    let mut group = Section {
        id: format!("group:{}", plan.service),
        items: Vec::new(),
    };
    patterns.iter().for_each(|rule| add(&mut group, rule));
    let is_allow = |(key, _): &(String, String)| key.starts_with("allow.");
    let group_allows = group.items.iter().any(is_allow);
    for section in &mut plan.sections {
        let allows = group_allows || section.items.iter().any(is_allow);
        if !patterns.is_empty() {
            section
                .items
                .insert(1, ("groups".to_owned(), plan.service.clone()));
        }
        if !allows {
            section.add("rights", "none");
        }
    }
    if !patterns.is_empty() && !plan.sections.is_empty() {
        plan.sections.insert(0, group);
    }
}

/// The section of clients without a name, as far as the files say.
pub fn anonymous(service: &str, common: Option<&Common>) -> Section {
    let mut section = Section {
        id: ANONYMOUS.to_owned(),
        items: Vec::new(),
    };
    section.add("services", service);
    let Some(common) = common else {
        section.add("rights", "publish, subscribe");
        return section;
    };
    let patterns = common
        .patterns
        .iter()
        .filter(|rule| !rule.pattern.contains("%u"));
    common
        .anonymous
        .iter()
        .chain(patterns)
        .for_each(|rule| add(&mut section, rule));
    if section
        .items
        .iter()
        .all(|(key, _)| !key.starts_with("allow."))
    {
        section.add("rights", "none");
    }
    section
}

fn add(section: &mut Section, rule: &Rule) {
    let word = if rule.deny { "deny" } else { "allow" };
    let number = section
        .items
        .iter()
        .filter(|(key, _)| key.starts_with(word))
        .count()
        + 1;
    section.add(
        format!("{word}.{number}"),
        format!("{} {}", rule.actions, rule.pattern),
    );
}

/// `[read|write|readwrite|deny] TOPIC`
fn rule(text: &str, is_pattern: bool) -> Rule {
    let (word, rest) = split_word(text);
    let (deny, actions, topic) = match (word, rest) {
        ("read", topic) if !topic.is_empty() => (false, "subscribe", topic),
        ("write", topic) if !topic.is_empty() => (false, "publish", topic),
        ("readwrite", topic) if !topic.is_empty() => (false, "publish,subscribe", topic),
        ("deny", topic) if !topic.is_empty() => (true, "publish,subscribe", topic),
        _ => (false, "publish,subscribe", text),
    };
    let pattern = topic.replace('%', "%%");
    Rule {
        deny,
        actions,
        pattern: if is_pattern {
            pattern.replace("%%u", "%u").replace("%%c", "%c")
        } else {
            pattern
        },
    }
}

fn split_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_start())
}
