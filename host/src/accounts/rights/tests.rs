//! Rules and groups from the file to the decision.

use std::fmt::Write;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::accounts::AccountList;

fn parse(text: &str) -> AccountList {
    AccountList::parse(Path::new("/etc/accounts.ini"), text.as_bytes()).unwrap()
}

fn problems(text: &str) -> Vec<String> {
    let refused = AccountList::parse(Path::new("/etc/accounts.ini"), text.as_bytes()).unwrap_err();
    let prefix = "/etc/accounts.ini:";
    refused
        .iter()
        .map(|one| one.to_string().trim_start_matches(prefix).to_owned())
        .collect()
}

/// `+ CAUSE` or `- CAUSE`.
fn judge(list: &AccountList, login: &str, service: &str, action: Action, target: &str) -> String {
    let account = match login {
        "anonymous" => list.anonymous().unwrap(),
        login => list.get(login).unwrap(),
    };
    let question = Question {
        service,
        action,
        target,
        client_id: Some("dev1"),
        token: None,
    };
    match decide(account, &question, SystemTime::now()) {
        Decision::Allowed(cause) => format!("+ {cause}"),
        Decision::Denied(cause) => format!("- {cause}"),
    }
}

#[test]
fn a_rule_that_denies_beats_one_that_allows_whatever_their_length_and_order() {
    let list = parse(
        "[a]\ndeny.1 = write /pub/**\nallow.1 = read,write /pub/in/**\nallow.2 = read, list /pub/**\n\
         allow.mail = publish,subscribe mail/%u/#\ndeny.mail = subscribe mail/%u/secret/#\n",
    );
    for (action, target, judgement) in [
        (Action::Write, "/pub/in/x", "- a.deny.1 = write /pub/**"),
        (
            Action::Read,
            "/pub/in/x",
            "+ a.allow.1 = read,write /pub/in/**",
        ),
        (Action::List, "/pub", "+ a.allow.2 = read, list /pub/**"),
        (Action::Read, "/x", "- neither a rule nor rights allow it"),
        (
            Action::Delete,
            "/pub/x",
            "- neither a rule nor rights allow it",
        ),
        (
            Action::Publish,
            "mail/a/x",
            "+ a.allow.mail = publish,subscribe mail/%u/#",
        ),
        (
            Action::Publish,
            "mail/b/x",
            "- neither a rule nor rights allow it",
        ),
        (
            Action::Subscribe,
            "mail/a/+",
            "- a.deny.mail = subscribe mail/%u/secret/#",
        ),
        (
            Action::Subscribe,
            "mail/a/x/#",
            "+ a.allow.mail = publish,subscribe mail/%u/#",
        ),
        (
            Action::Subscribe,
            "mail/#",
            "- a.deny.mail = subscribe mail/%u/secret/#",
        ),
        (
            Action::Subscribe,
            "mail/b/x",
            "- neither a rule nor rights allow it",
        ),
    ] {
        assert_eq!(
            judge(&list, "a", "any", action, target),
            judgement,
            "{action:?} {target}"
        );
    }
}

#[test]
fn rights_are_rules_for_every_target_and_denied_by_rules() {
    let list =
        parse("[a]\nrights = read, publish\nallow.1 = write /in/**\ndeny.1 = read /etc/**\n");
    assert_eq!(
        judge(&list, "a", "f", Action::Read, "/x"),
        "+ a.rights = read, publish"
    );
    assert_eq!(
        judge(&list, "a", "f", Action::Read, "/etc/x"),
        "- a.deny.1 = read /etc/**"
    );
    assert_eq!(
        judge(&list, "a", "f", Action::Write, "/in/x"),
        "+ a.allow.1 = write /in/**"
    );
    assert_eq!(
        judge(&list, "a", "f", Action::Publish, "$SYS/x"),
        "+ a.rights = read, publish"
    );
}

#[test]
fn without_rights_an_account_may_everything_until_a_rule_or_a_group_gives_something() {
    let default = "+ no rights are written, so the default ones hold";
    let nothing = "- neither a rule nor rights allow it";
    let rule = |text: &str| judge(&parse(text), "a", "f", Action::Write, "/x");
    assert_eq!(rule("[a]\n"), default);
    assert_eq!(rule("[a]\ndeny.1 = read /**\n"), default);
    assert_eq!(rule("[a]\nrights.g = read\n"), default);
    assert_eq!(
        rule("[group:g]\ndeny.1 = read /**\n[a]\ngroups = g\n"),
        default
    );
    assert_eq!(rule("[a]\nallow.1.g = read /**\n"), nothing);
    assert_eq!(
        rule("[group:g]\nallow.1 = read /**\n[a]\ngroups = g\n"),
        nothing
    );
    assert_eq!(
        rule("[group:g]\nrights.f = read\n[a]\ngroups = g\n"),
        nothing
    );
    assert_eq!(
        rule("[group:g]\nrights.f = read\n[a]\ngroups = g\nrights = write\n"),
        "+ a.rights = write"
    );
    let list = parse("[anonymous]\n");
    assert_eq!(judge(&list, "anonymous", "f", Action::Read, "/x"), default);
    assert_eq!(judge(&list, "anonymous", "f", Action::Write, "/x"), nothing);
    let list = parse("[anonymous]\nallow.1 = read /pub/**\n");
    assert_eq!(judge(&list, "anonymous", "f", Action::Read, "/x"), nothing);
}

#[test]
fn groups_give_their_members_rules_rights_services_and_networks() {
    let list = parse(
        "[a]\ngroups = staff, boards\n[b]\ngroups = boards\nservices = x\nfrom = any\n\
         [group:staff]\nservices = ftp\nrights.ftp = read\nallow.home = all /home/%u/**\n\
         [group:boards]\nservices = mqtt files\nfrom = 10.0.0.0/8\nallow.1.mqtt = publish boards/%u/#\ndeny.1 = all #\n",
    );
    let a = list.get("a").unwrap();
    assert_eq!(a.services.as_deref().unwrap(), ["ftp", "mqtt", "files"]);
    assert!(a.admits(Some([10, 1, 1, 1].into())) && !a.admits(Some([11, 1, 1, 1].into())));
    assert!(list.get("b").unwrap().admits(Some([11, 1, 1, 1].into())));
    for (login, service, action, target, judgement) in [
        (
            "a",
            "ftp",
            Action::Read,
            "/x",
            "+ group:staff.rights.ftp = read",
        ),
        (
            "a",
            "ftp",
            Action::Share,
            "/home/a/x",
            "+ group:staff.allow.home = all /home/%u/**",
        ),
        (
            "a",
            "ftp",
            Action::Write,
            "/home/b/x",
            "- neither a rule nor rights allow it",
        ),
        (
            "a",
            "mqtt",
            Action::Publish,
            "boards/a/x",
            "- group:boards.deny.1 = all #",
        ),
        (
            "b",
            "ftp",
            Action::Read,
            "/x",
            "- the account is not for this service",
        ),
    ] {
        assert_eq!(judge(&list, login, service, action, target), judgement);
    }
}

#[test]
fn every_wrong_rule_is_told_with_its_line() {
    let text = "[a]\nallow = read /x\nallow.1 = read\nallow.2 = reed /x\nallow.3 = read,publish /x\nallow.4 = read x\n\
                allow.5 = publish a/#/b\nallow.6 = read /%c/x\nallow.A = read /x\ndeny.1.F = read /x\ngroups = g h\n\
                allow.7 = none /x\n[group:g]\nname = x\nallow.1 = read ../x\n[group:]\n[group:a b]\n[x/y]\ngroups = g\n\
                deny.1 = publish %u/x\n";
    assert_eq!(
        problems(text),
        [
            "2:9: a.allow: unknown key, expected one of name, password, expire, expore, enabled, home, groups, services, \
             from, rights, certificate, require_tls, quota, rate_up, rate_down, max_sessions, rights.SERVICE, allow.NAME, deny.NAME",
            "3:11: a.allow.1: expected ACTIONS PATTERN, such as \"list,read /pub/**\" or \"publish sensors/%u/#\", got \"read\"",
            "4:11: a.allow.2: expected actions out of list, read, write, create, delete, share, publish, subscribe, or \
             all, or none, got \"reed\"",
            "5:11: a.allow.3: expected a rule about paths or about topics: publish and subscribe are for topics, the \
             other actions for paths",
            "6:11: a.allow.4: expected a path that begins with \"/\", got \"x\"",
            "7:11: a.allow.5: expected \"#\" at the end, got \"a/#/b\"",
            "8:11: a.allow.6: expected %u or %%: %c, the client's id, is for topics, got \"%c\"",
            "9:11: a.allow.A: expected allow.NAME or allow.NAME.SERVICE, got \"allow.A\"",
            "10:12: a.deny.1.F: expected deny.NAME or deny.NAME.SERVICE, got \"deny.1.F\"",
            "11:10: a.groups: expected names of groups, got \"h\": there is no section [group:h]",
            "12:11: a.allow.7: expected at least one action, got \"none /x\"",
            "14:8: group:g.name: unknown key, expected one of services, from, rights, require_tls, quota, rate_up, \
             rate_down, max_sessions, rights.SERVICE, allow.NAME, deny.NAME",
            "15:11: group:g.allow.1: expected a path that begins with \"/\", got \"../x\"",
            "16:1: expected [group:NAME] with a name without commas, spaces and \":\", got \"group:\"",
            "17:1: expected [group:NAME] with a name without commas, spaces and \":\", got \"group:a b\"",
            "18:1: x/y: expected a login without any of ['/', '+', '#'] to stand for %u, got \"x/y\"",
        ]
    );
}

#[test]
fn services_that_rules_name_are_known() {
    let list = parse("[a]\nallow.1.ftpp = read /x\n[group:g]\nservices = ftp\nrights.fpt = read\n");
    assert_eq!(
        list.unknown_services(&["ftp"]).to_string(),
        "/etc/accounts.ini:2:16: warning: a.allow.1.ftpp: there is no service \"ftpp\": did you mean \"ftp\"?\n\
         /etc/accounts.ini:5:14: warning: group:g.rights.fpt: there is no service \"fpt\": did you mean \"ftp\"?"
    );
}

#[test]
fn an_account_changes_with_its_groups_and_not_with_its_lines() {
    let text = "[group:g]\nallow.1 = read /x\n[group:h]\nrights = read\n[a]\ngroups = g\n[b]\n";
    let list = parse(text);
    let same = |text: &str, login: &str| {
        list.get(login).unwrap().fingerprint == parse(text).get(login).unwrap().fingerprint
    };
    assert!(same(&format!("; moved\n\n{text}"), "a"));
    let other = text.replace("/x", "/y");
    assert!(!same(&other, "a") && same(&other, "b"));
    assert!(same(&text.replace("rights = read", "rights = write"), "a"));
}

#[test]
fn the_number_of_rules_does_not_make_a_decision_slow() {
    let mut text = "[a]\n".to_owned();
    for number in 0..100 {
        writeln!(
            text,
            "allow.{number} = publish,subscribe sensors/{number}/+/%u/#"
        )
        .unwrap();
    }
    let list = parse(&text);
    let account = list.get("a").unwrap();
    let begin = std::time::Instant::now();
    for _ in 0..10_000 {
        let question = Question {
            service: "s",
            action: Action::Publish,
            target: "sensors/99/x/a/t",
            client_id: None,
            token: None,
        };
        let decision = decide(account, &question, SystemTime::UNIX_EPOCH);
        assert!(matches!(decision, Decision::Allowed(_)));
    }
    // The bound catches only what is out of proportion, on a busy machine and not optimised.
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn what_an_allowed_filter_stands_for_is_allowed(
        rules in prop::collection::vec(("allow|deny", "(a|b|\\+|%u)(/(a|b|\\+)){0,2}(/#)?|#"), 1..6),
        filter in "(a|b|\\+)(/(a|b|\\+)){0,2}(/#)?|#",
        topics in prop::collection::vec("(a|b|c)(/(a|b|c)){0,3}", 8),
    ) {
        let mut text = "[a]\n".to_owned();
        for (number, (word, pattern)) in rules.iter().enumerate() {
            writeln!(text, "{word}.{number} = subscribe {pattern}").unwrap();
        }
        let list = parse(&text);
        let may = |target: &str| judge(&list, "a", "s", Action::Subscribe, target).starts_with('+');
        let stands_for = topic::TopicPattern::parse(&filter, "").unwrap();
        if may(&filter) {
            for topic in topics.iter().filter(|topic| stands_for.matches(topic, "")) {
                prop_assert!(may(topic), "{text} {filter} {topic}");
            }
        }
        let question = Question {
            service: "s",
            action: Action::Subscribe,
            target: &filter,
            client_id: None,
            token: None,
        };
        if !allows_some(list.get("a").unwrap(), &question, SystemTime::UNIX_EPOCH) {
            for topic in topics.iter().filter(|topic| stands_for.matches(topic, "")) {
                prop_assert!(!may(topic), "{text} {filter} {topic}");
            }
        }
    }

    #[test]
    fn some_topics_of_a_filter_are_told_from_none(filter in "(a|b|\\+)(/(a|b|\\+)){0,2}(/#)?|#") {
        let list = parse("[a]\nallow.own = subscribe a/b/#\ndeny.part = subscribe a/b/b\n");
        let question = Question {
            service: "s",
            action: Action::Subscribe,
            target: &filter,
            client_id: None,
            token: None,
        };
        let pattern = topic::TopicPattern::parse("a/b/#", "").unwrap();
        let denied = topic::TopicPattern::parse("a/b/b", "").unwrap();
        prop_assert_eq!(
            allows_some(list.get("a").unwrap(), &question, SystemTime::UNIX_EPOCH),
            pattern.overlaps(&filter, "") && !denied.covers(&filter, "")
        );
    }

    #[test]
    fn no_rule_makes_the_reader_panic(head in "[a-z0-9.]{0,8}", value in any::<String>(),
                                      near in "(read|publish|all|,| ){0,4}[ /a*+#%u]{0,12}") {
        for value in [value, near] {
            let text = format!("[a/b]\nallow.{head} = {value}\n[group:g]\ndeny.{head} = {value}\n[c]\ngroups = g\n");
            let _ = AccountList::parse(Path::new("a.ini"), text.as_bytes());
        }
    }
}
