//! Accounts as a whole: a file in, logins and rights out.

mod scram;
mod sessions;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::time::Duration;

use argon2::password_hash::{PasswordHasher, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use proptest::prelude::*;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::subscriber::{NoSubscriber, with_default};

use super::login::Login;
use super::session::Caller;
use super::*;
use crate::config::Diagnostics;

const LOCAL: Option<IpAddr> = None;

/// A hash of "secret" that costs next to nothing.
fn cheap() -> String {
    let argon2 = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(8, 1, 1, None).unwrap(),
    );
    let salt = SaltString::encode_b64(b"saltsalt").unwrap();
    argon2.hash_password(b"secret", &salt).unwrap().to_string()
}

/// The tutorial's file, T25.
const TUTORIAL: &str =
    "[user1]\nname = xzz\npassword = 123456\nexpore = 2022-01-01\n\n[user2]\nname = username\n";

fn parse(text: &str) -> Result<Parsed, Diagnostics> {
    let file = Path::new("/etc/polyport/accounts.ini");
    AccountList::parse(file, text.as_bytes()).map(Arc::new)
}

fn problems(text: &str) -> Vec<String> {
    let prefix = "/etc/polyport/accounts.ini:";
    parse(text)
        .unwrap_err()
        .iter()
        .map(|one| one.to_string().trim_start_matches(prefix).to_owned())
        .collect()
}

fn peer(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

fn client(peer: Option<IpAddr>) -> Client<'static> {
    Client {
        address: peer,
        ..Client::default()
    }
}

fn verify(
    accounts: &Arc<Accounts>,
    user: &str,
    password: &str,
    peer: Option<IpAddr>,
) -> Result<Session, Denied> {
    log_in(
        accounts,
        &Entrance::new("ftp"),
        &client(peer),
        Some(user),
        Some(password),
    )
}

fn log_in(
    accounts: &Arc<Accounts>,
    entrance: &Arc<Entrance>,
    client: &Client<'_>,
    user: Option<&str>,
    password: Option<&str>,
) -> Result<Session, Denied> {
    let (sender, receiver) = channel();
    let done = Box::new(move |result| sender.send(result).unwrap());
    let password = password.map(str::as_bytes);
    accounts.log_in(entrance, client, user, password, done);
    receiver.recv_timeout(Duration::from_secs(60)).unwrap()
}

fn anonymous(accounts: &Arc<Accounts>, service: &str, peer: Option<IpAddr>) -> Option<Session> {
    accounts.identify(&Entrance::new(service), &client(peer))
}

/// A login with a password that is to be computed.
fn login(user: &str, password: &str) -> Login {
    Login {
        user: user.into(),
        password: password.into(),
        caller: Caller::new(&Entrance::new("ftp"), &client(LOCAL)),
    }
}

#[test]
fn t25_the_tutorials_file_loads() {
    let list = parse(TUTORIAL).unwrap();
    let xzz = list.get("xzz").unwrap();
    assert_eq!(xzz.id, "user1");
    assert_eq!(xzz.secret, Some(Secret::Plain("123456".to_owned())));
    assert!(!xzz.is_valid(SystemTime::now()));
    assert!(xzz.is_valid(SystemTime::UNIX_EPOCH + Duration::from_secs(1_641_081_599)));
    let username = list.get("username").unwrap();
    assert_eq!(username.secret, None);
    assert!(list.get("user1").is_none());
    assert_eq!(
        list.warnings().to_string(),
        "/etc/polyport/accounts.ini:3:1: warning: user1.password: is plain text: \"polyport user hash xzz\" hashes it"
    );
}

#[test]
fn every_key_is_read() {
    let list = parse(
        "[a]\nname = anna\nenabled = no\nhome = home/anna\nservices = ftp, files\nfrom = 10.0.0.0/8 ::1\n\
         rights = list read\nrights.ftp = all\nexpire = 2030-01-01T00:00:00Z\n[b]\nhome = /srv/b\n",
    )
    .unwrap();
    let anna = list.get("anna").unwrap();
    assert!(!anna.enabled);
    assert_eq!(anna.home, Some(PathBuf::from("/etc/polyport/home/anna")));
    assert_eq!(
        anna.services.as_deref(),
        Some(&["ftp".to_owned(), "files".to_owned()][..])
    );
    assert!(anna.admits(peer("10.1.2.3")) && anna.admits(LOCAL) && !anna.admits(peer("11.0.0.1")));
    assert_eq!(list.get("b").unwrap().home, Some(PathBuf::from("/srv/b")));
    let unknown = list.unknown_services(&["ftp", "file"]);
    assert_eq!(
        unknown.to_string(),
        "/etc/polyport/accounts.ini:5:12: warning: a.services: there is no service \"files\": did you mean \"file\"?"
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let text = "key = 1\n[a]\nname = x\nname = y\nexpire = tomorrow\nexpore = 2022-01-01\n[a]\nname = y\n\
                [c]\nenabled = maybe\nfrom = here\nrights = reed\nrights.Ftp = read\npasword = x\npassword = $6$a$b\n\
                services = a;b\nhome =\n[anonymous]\npassword = x\n[x:y]\nname = anonymous\nword\n";
    assert_eq!(
        problems(text),
        [
            "1:1: expected a [section] before the first key, got \"key\"",
            "4:1: a.name: is already given as \"name\" in line 3",
            "5:10: a.expire: expected a date such as 2026-12-31 or a time such as 2026-12-31T18:00:00Z, got \"tomorrow\"",
            "6:1: a.expore: is already given as \"expire\" in line 5",
            "7:1: the section [a] is already in line 2",
            "7:1: a: the login \"y\" is taken by the section in line 2",
            "10:11: c.enabled: expected yes or no, got \"maybe\"",
            "11:8: c.from: expected networks such as 192.168.1.0/24, 2001:db8::/32, loopback or any, got \"here\"",
            "12:10: c.rights: expected actions out of list, read, write, create, delete, share, publish, subscribe, \
             or all, or none, got \"reed\"",
            "13:14: c.rights.Ftp: expected rights.SERVICE, got \"Ftp\" for the service",
            "14:11: c.pasword: unknown key, did you mean \"password\"?",
            "15:12: c.password: expected a hash such as crypt(3) makes: [rounds=1000 to 1000000$]SALT$ and 86 characters",
            "16:12: c.services: expected names of services such as mqtt, files, got \"a;b\"",
            "17:7: c.home: expected the path of a folder, got \"\"",
            "19:12: anonymous.password: is not for [anonymous]: it stands for the clients that do not log in",
            "20:1: expected a section name of 1 to 128 bytes without \":\", got \"x:y\"",
            "21:8: x:y.name: \"anonymous\" is built in: its section is [anonymous]",
            "22:1: expected [section], key = value or a comment, got \"word\"",
        ]
    );
}

#[test]
fn anonymous_is_off_unless_named_and_from_this_machine_unless_said() {
    let accounts = Accounts::start(parse(TUTORIAL).unwrap()).unwrap();
    assert!(anonymous(&accounts, "mqtt", LOCAL).is_none());
    accounts.replace(parse("[anonymous]\nservices = mqtt\n").unwrap());
    let account = anonymous(&accounts, "mqtt", peer("::1")).unwrap();
    assert!(
        anonymous(&accounts, "mqtt", LOCAL).is_some()
            && anonymous(&accounts, "mqtt", peer("127.1.1.1")).is_some()
    );
    assert!(anonymous(&accounts, "mqtt", peer("10.0.0.1")).is_none());
    assert!(anonymous(&accounts, "ftp", LOCAL).is_none());
    for (action, word) in Action::ALL {
        let granted = account.allows(action, "x");
        assert_eq!(
            granted,
            ["list", "read", "publish", "subscribe"].contains(&word),
            "{word}"
        );
    }
    accounts.replace(parse("[anonymous]\nfrom = any\nrights = none\n").unwrap());
    let account = anonymous(&accounts, "ftp", peer("10.0.0.1")).unwrap();
    assert!(!account.allows(Action::Read, "x"));
    accounts.replace(parse("[anonymous]\nenabled = no\n").unwrap());
    assert!(anonymous(&accounts, "ftp", LOCAL).is_none());
    assert!(matches!(
        verify(&accounts, "anonymous", "", LOCAL),
        Err(Denied::Refused)
    ));
}

#[test]
fn rights_of_a_service_replace_those_of_all() {
    let text = "[a]\nrights = read\nrights.ftp = write\nservices = ftp files\n[b]\nenabled = no\n[c]\nexpire = 2001-01-01\n";
    let accounts = Accounts::start(parse(text).unwrap()).unwrap();
    let list = accounts.list();
    let judge = |login: &str, service: &str, action| {
        let question = Question {
            service,
            action,
            target: "/x",
            client_id: None,
            token: None,
        };
        match decide(list.get(login).unwrap(), &question, SystemTime::now()) {
            Decision::Allowed(cause) => format!("allowed: {cause}"),
            Decision::Denied(cause) => format!("denied: {cause}"),
        }
    };
    for (login, service, action, judgement) in [
        ("a", "files", Action::Read, "allowed: a.rights = read"),
        (
            "a",
            "files",
            Action::Write,
            "denied: neither a rule nor rights allow it",
        ),
        ("a", "ftp", Action::Write, "allowed: a.rights.ftp = write"),
        (
            "a",
            "ftp",
            Action::Read,
            "denied: neither a rule nor rights allow it",
        ),
        (
            "a",
            "mqtt",
            Action::Read,
            "denied: the account is not for this service",
        ),
        ("b", "ftp", Action::Read, "denied: the account is disabled"),
        ("c", "ftp", Action::Read, "denied: the account is expired"),
    ] {
        assert_eq!(judge(login, service, action), judgement);
    }
}

#[test]
fn logins_are_checked_in_every_respect() {
    let cheap = cheap();
    let text = format!(
        "[a]\npassword = {cheap}\nfrom = 10.0.0.0/8\n[plain]\npassword = secret\n[none]\n[off]\npassword = {cheap}\n\
         enabled = no\n[old]\npassword = {cheap}\nexpire = 2001-01-01\n[mqtt-only]\npassword = {cheap}\nservices = mqtt\n"
    );
    let accounts = Accounts::start(parse(&text).unwrap()).unwrap();
    assert_eq!(
        verify(&accounts, "a", "secret", peer("10.0.0.1"))
            .unwrap()
            .account
            .name,
        "a"
    );
    assert_eq!(
        verify(&accounts, "plain", "secret", LOCAL)
            .unwrap()
            .account
            .name,
        "plain"
    );
    let refused = [
        ("a", "wrong", "10.0.0.1"),
        ("a", "wrong", "11.0.0.1"),
        ("plain", "wrong", "10.0.0.1"),
        ("nobody", "secret", "10.0.0.1"),
        ("none", "", "10.0.0.1"),
        ("off", "secret", "10.0.0.1"),
        ("old", "wrong", "10.0.0.1"),
        ("mqtt-only", "wrong", "10.0.0.1"),
    ];
    // Only who knows the password learns more.
    let elsewhere = [
        ("a", "secret", "11.0.0.1"),
        ("old", "secret", "10.0.0.1"),
        ("mqtt-only", "secret", "10.0.0.1"),
    ];
    let refused = refused.map(|login| (login, Denied::Refused));
    let elsewhere = elsewhere.map(|login| (login, Denied::NotHere));
    for ((user, password, from), denied) in refused.into_iter().chain(elsewhere) {
        let answer = verify(&accounts, user, password, peer(from));
        assert_eq!(answer.unwrap_err(), denied, "{user} {password}");
    }
}

#[test]
fn a_proven_password_is_not_hashed_again_until_the_account_changes() {
    let text = format!("[a]\npassword = {}\n", cheap());
    let accounts = Accounts::start(parse(&text).unwrap()).unwrap();
    let login = |password: &str| login("a", password);
    assert!(accounts.proven(&login("secret")).is_none());
    verify(&accounts, "a", "secret", LOCAL).unwrap();
    assert!(accounts.proven(&login("secret")).is_some());
    assert!(accounts.proven(&login("wrong")).is_none());
    accounts.replace(parse(&format!("# moved\n{text}[b]\n")).unwrap());
    assert!(accounts.proven(&login("secret")).is_some());
    accounts.replace(parse(&format!("{text}home = x\n")).unwrap());
    assert!(accounts.proven(&login("secret")).is_none());
    accounts.replace(parse(&format!("{text}enabled = no\n")).unwrap());
    assert!(verify(&accounts, "a", "secret", LOCAL).is_err());
}

#[test]
fn sessions_of_unchanged_accounts_go_on() {
    let text = "[a]\npassword = x\n[b]\npassword = x\n[c]\npassword = x\n[anonymous]\n";
    let accounts = Accounts::start(parse(text).unwrap()).unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|user| verify(&accounts, user, "x", LOCAL).unwrap());
    let nobody = anonymous(&accounts, "ftp", LOCAL).unwrap();
    let all_go_on = || {
        [&a, &b, &c, &nobody]
            .iter()
            .all(|session| session.is_current())
    };
    assert!(all_go_on() && all_go_on());
    let moved = "[c]\npassword = x\n[anonymous]\n# comment\n[b]\npassword = x\n[a]\npassword = x\n";
    let moved = parse(moved).unwrap();
    assert!(!accounts.differs(&moved));
    accounts.replace(moved);
    assert!(all_go_on());
    let next = "[d]\npassword = x\n[a]\npassword = x\n# comment\n[c]\npassword = x\nhome = x\n[anonymous]\n";
    let next = parse(next).unwrap();
    assert!(accounts.differs(&next));
    accounts.replace(next);
    assert!(a.is_current() && nobody.is_current());
    assert!(!b.is_current() && !c.is_current());
    assert!(verify(&accounts, "d", "x", LOCAL).unwrap().is_current());
}

#[test]
fn a_list_that_locks_everybody_out_is_refused() {
    let accounts = Accounts::start(parse("[a]\n").unwrap()).unwrap();
    for text in ["", "# nothing\n"] {
        let refused = accounts
            .check_replacement(&parse(text).unwrap())
            .unwrap_err();
        assert!(refused.contains("missing or empty"), "{refused}");
    }
    accounts
        .check_replacement(&parse("[b]\n").unwrap())
        .unwrap();
    let nobody = Accounts::start(parse("").unwrap()).unwrap();
    nobody.check_replacement(&parse("").unwrap()).unwrap();
}

#[test]
fn expiry_is_noticed_once_and_ends_sessions() {
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(4);
    let soon = soon.format(&Rfc3339).unwrap();
    let text =
        format!("[a]\npassword = x\nexpire = {soon}\n[b]\npassword = x\nexpire = 2999-01-01\n");
    let accounts = Accounts::start(parse(&text).unwrap()).unwrap();
    let [a, b] = ["a", "b"].map(|user| verify(&accounts, user, "x", LOCAL).unwrap());
    assert!(a.is_current() && b.is_current());
    while a.is_current() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(b.is_current());
    assert!(accounts.expired_since_last());
    assert!(!accounts.expired_since_last());
    *accounts.looked.lock().unwrap() = SystemTime::UNIX_EPOCH;
    assert!(accounts.expired_since_last());
    assert!(!accounts.expired_since_last());
}

#[test]
fn a_missing_file_is_nobody_and_a_folder_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        AccountList::load(&folder.path().join("accounts.ini"))
            .unwrap()
            .is_empty()
    );
    assert!(matches!(
        AccountList::load(folder.path()),
        Err(LoadError::Read { .. })
    ));
    fs::write(folder.path().join("a.ini"), "\u{feff}[a]\n").unwrap();
    assert!(
        AccountList::load(&folder.path().join("a.ini"))
            .unwrap()
            .get("a")
            .is_some()
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(bytes in any::<Vec<u8>>(), key in prop::sample::select(account::KEYS),
                                      value in "[a-z0-9 ,./:$=\"'-]{0,30}") {
        let file = Path::new("accounts.ini");
        let _ = AccountList::parse(file, &bytes);
        for section in ["a", ANONYMOUS] {
            let _ = AccountList::parse(file, format!("[{section}]\n{key} = {value}\nrights.{value} = all\n").as_bytes());
        }
    }
}

#[test]
fn a_refusal_takes_the_same_time_whatever_its_reason_is() {
    const TRIES: usize = 2000;
    let apr1 = "$apr1$saltsalt$LrttParrLPdxvgutaSXWJ0";
    let text = format!(
        "[argon]\npassword = {}\n[apr]\npassword = {apr1}\n[plain]\npassword = secret\n[none]\n\
         [off]\nenabled = no\npassword = {apr1}\n[elsewhere]\nservices = other\npassword = {apr1}\n\
         [late]\nexpire = 2001-01-01\npassword = {apr1}\n[far]\nfrom = 192.0.2.0/24\npassword = {apr1}\n",
        cheap()
    );
    let accounts = Accounts::start(parse(&text).unwrap()).unwrap();
    // The last four have the right password, and are refused for something else.
    let logins = [
        ("nobody", "wrong"),
        ("argon", "wrong"),
        ("apr", "wrong"),
        ("plain", "wrong"),
        ("none", "wrong"),
        ("off", "secret"),
        ("elsewhere", "secret"),
        ("late", "secret"),
        ("far", "secret"),
    ];
    let logins = logins.map(|(user, password)| login(user, password));
    let mut times = logins.each_ref().map(|_| Vec::with_capacity(TRIES));
    // In turns, so that whatever else the machine does is the same for all.
    for _ in 0..TRIES {
        for (login, times) in logins.iter().zip(&mut times) {
            let begin = std::time::Instant::now();
            let refused = with_default(NoSubscriber::default(), || accounts.check(login));
            times.push(begin.elapsed());
            assert!(refused.is_err());
        }
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[TRIES / 2].as_secs_f64()
    });
    for (login, median) in logins.iter().zip(medians) {
        let ratio = median / medians[0];
        assert!(
            (0.8..1.25).contains(&ratio),
            "{}: {ratio} of the time of an unknown user",
            login.user
        );
    }
}
