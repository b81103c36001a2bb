//! What a login becomes: by password, token, certificate or nothing, and until when it lasts.

use super::*;

/// A client on this machine that nobody overhears.
const SECURE: Client<'static> = Client {
    address: LOCAL,
    secure: true,
    certificate: &[],
    id: None,
};

fn start(text: &str) -> Arc<Accounts> {
    Accounts::start(parse(text).unwrap()).unwrap()
}

/// A token, and the line that gives it to an account, with `rest` after the hash.
fn token(rest: &str) -> (String, String) {
    let (token, hash) = Token::generate().unwrap();
    let value = Token::spell(&hash, None, &[], "").unwrap();
    (token, format!("token.ci = {value} {rest}\n"))
}

fn with_token(
    accounts: &Arc<Accounts>,
    user: Option<&str>,
    token: &str,
) -> Result<Session, Denied> {
    log_in(accounts, &Entrance::new("ftp"), &SECURE, user, Some(token))
}

#[test]
fn a_token_is_a_password_with_less_rights() {
    let (secret, line) = token("scope=ftp: read /fw/** | publish x");
    let accounts = start(&format!(
        "[a]\npassword = x\nallow.1 = read,write /**\ndeny.1 = read /fw/no\n{line}[b]\npassword = x\n"
    ));
    for user in [Some("a"), None] {
        let session = with_token(&accounts, user, &secret).unwrap();
        assert_eq!(session.account.name, "a");
        for (action, target, allowed) in [
            (Action::Read, "/fw/x", true),
            (Action::Read, "/fw/no", false), // not the account's
            (Action::Write, "/fw/x", false), // not the token's
            (Action::Read, "/x", false),
            (Action::Publish, "x", false), // not the account's
        ] {
            assert_eq!(
                session.allows(action, target),
                allowed,
                "{action:?} {target}"
            );
        }
        assert!(session.is_current());
    }
    let elsewhere = log_in(
        &accounts,
        &Entrance::new("web"),
        &SECURE,
        None,
        Some(&secret),
    );
    assert!(!elsewhere.unwrap().allows(Action::Read, "/fw/x"));
    assert_eq!(
        with_token(&accounts, Some("b"), &secret).unwrap_err(),
        Denied::Refused
    );
    for wrong in ["pp_", "x", &secret[1..], &format!("pp_{}", "a".repeat(32))] {
        assert_eq!(
            with_token(&accounts, None, wrong).unwrap_err(),
            Denied::Refused
        );
        assert_eq!(
            with_token(&accounts, Some("a"), &format!("{wrong}-")).unwrap_err(),
            Denied::Refused
        );
    }
    let password = verify(&accounts, "a", "x", LOCAL).unwrap();
    assert!(password.allows(Action::Write, "/x"));
}

#[test]
fn a_token_ends_alone_and_with_its_account() {
    let (one, one_line) = token("");
    let (other, other_line) = token("");
    let other_line = other_line.replace("token.ci", "token.other");
    let text = |lines: &str| parse(&format!("[a]\npassword = x\n{lines}")).unwrap();
    let accounts = Accounts::start(text(&format!("{one_line}{other_line}"))).unwrap();
    let by_one = with_token(&accounts, None, &one).unwrap();
    let by_other = with_token(&accounts, None, &other).unwrap();
    let by_password = verify(&accounts, "a", "x", LOCAL).unwrap();
    let current = || [&by_one, &by_other, &by_password].map(|session| session.is_current());
    assert_eq!(current(), [true; 3]);
    let without = text(&other_line);
    assert!(accounts.differs(&without));
    accounts.replace(without);
    assert_eq!(current(), [false, true, true]);
    assert_eq!(
        with_token(&accounts, None, &one).unwrap_err(),
        Denied::Refused
    );
    accounts.replace(text(&other_line.replace('\n', "scope=read /x\n")));
    assert_eq!(current(), [false, false, true]);
    accounts.replace(text(&format!("{one_line}{other_line}home = x\n")));
    assert_eq!(current(), [false; 3]);
    // Its user gone, a token stands for nobody.
    accounts.replace(parse("[b]\n").unwrap());
    assert_eq!(
        with_token(&accounts, None, &one).unwrap_err(),
        Denied::Refused
    );
}

#[test]
fn an_expired_token_is_refused_and_ends_its_sessions() {
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(4);
    let soon = soon.format(&Rfc3339).unwrap();
    let (secret, line) = token(&format!("expires={soon}"));
    let (old, old_line) = token("expires=2001-01-01");
    let old_line = old_line.replace("token.ci", "token.old");
    let accounts = start(&format!("[a]\n{line}{old_line}"));
    assert_eq!(
        with_token(&accounts, Some("a"), &old).unwrap_err(),
        Denied::Refused
    );
    let session = with_token(&accounts, Some("a"), &secret).unwrap();
    assert!(session.is_current() && session.allows(Action::Read, "/x"));
    assert!(!accounts.expired_since_last());
    while session.is_current() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(!session.allows(Action::Read, "/x"));
    assert!(accounts.expired_since_last());
    assert_eq!(
        with_token(&accounts, None, &secret).unwrap_err(),
        Denied::Refused
    );
}

#[test]
fn tokens_that_fail_count_for_bans_and_those_that_hold_pass() {
    let (secret, line) = token("");
    let accounts = start(&format!("[a]\npassword = x\n{line}"));
    accounts.configure_bans(&Bans {
        address_failures: 3,
        ..Bans::default()
    });
    let far = Client {
        address: peer("10.0.0.1"),
        ..SECURE
    };
    let entrance = Entrance::new("ftp");
    let bearer = |password: &str| log_in(&accounts, &entrance, &far, None, Some(password));
    for _ in 0..3 {
        assert!(accounts.bans().is_empty());
        bearer(&format!("pp_{}", "a".repeat(32))).unwrap_err();
    }
    assert_eq!(accounts.bans().len(), 1);
    let password = log_in(&accounts, &entrance, &far, Some("a"), Some("x"));
    assert_eq!(password.unwrap_err(), Denied::Refused);
    bearer(&secret).unwrap();
}

#[test]
fn sessions_count_over_all_services_until_the_last_one_is_dropped() {
    let text = "[a]\npassword = x\nmax_sessions = 2\n[b]\npassword = x\ngroups = g\n[group:g]\nmax_sessions = 1\n\
                [anonymous]\nmax_sessions = 1\n";
    let accounts = start(text);
    let (ftp, web) = (Entrance::new("ftp"), Entrance::new("web"));
    let enter = |entrance, user| log_in(&accounts, entrance, &SECURE, Some(user), Some("x"));
    let one = enter(&ftp, "a").unwrap();
    let two = enter(&web, "a").unwrap();
    assert_eq!(enter(&ftp, "a").unwrap_err(), Denied::TooManySessions);
    let wrong = log_in(&accounts, &ftp, &SECURE, Some("a"), Some("y"));
    assert_eq!(wrong.unwrap_err(), Denied::Refused);
    drop(one);
    let three = enter(&ftp, "a").unwrap();
    // One that rests makes room, as often as it does not count.
    two.leave();
    two.leave();
    assert!(three.enter() && !two.enter());
    three.leave();
    assert!(two.enter());
    drop((two, three));
    let _both = (enter(&ftp, "a").unwrap(), enter(&ftp, "a").unwrap());
    // Of a session that counts twice neither is left over.
    let b = enter(&ftp, "b").unwrap();
    assert_eq!(enter(&ftp, "b").unwrap_err(), Denied::TooManySessions);
    drop(b);
    enter(&ftp, "b").unwrap();
    let nobody = accounts.identify(&ftp, &SECURE);
    assert!(nobody.is_some() && accounts.identify(&web, &SECURE).is_none());
    drop(nobody);
    assert!(accounts.identify(&web, &SECURE).is_some());
}

#[test]
fn a_session_that_goes_over_counts_once_whoever_leaves_first() {
    let accounts = start("[a]\npassword = x\nmax_sessions = 1\n");
    let enter = || verify(&accounts, "a", "x", LOCAL);
    let session = enter().unwrap();
    session.share();
    session.leave();
    assert_eq!(enter().unwrap_err(), Denied::TooManySessions);
    // Twice in a row, and not taken over the second time.
    session.share();
    session.share();
    session.leave();
    session.leave();
    assert_eq!(enter().unwrap_err(), Denied::TooManySessions);
    session.leave();
    let next = enter().unwrap();
    session.leave();
    assert_eq!(enter().unwrap_err(), Denied::TooManySessions);
    drop((session, next));
    enter().unwrap();
}

#[test]
fn an_account_that_changes_goes_on_with_its_count() {
    let accounts = start("[a]\npassword = x\nmax_sessions = 1\n");
    let session = verify(&accounts, "a", "x", LOCAL).unwrap();
    accounts.replace(parse("[a]\npassword = x\nmax_sessions = 1\nhome = y\n").unwrap());
    assert!(!session.is_current());
    assert_eq!(
        verify(&accounts, "a", "x", LOCAL).unwrap_err(),
        Denied::TooManySessions
    );
    drop(session);
    verify(&accounts, "a", "x", LOCAL).unwrap();
}

#[test]
fn whoever_must_use_tls_is_told_so_and_strangers_are_told_nothing() {
    let (secret, line) = token("");
    let text = format!(
        "[a]\npassword = x\n{line}[s]\npassword = x\nrequire_tls = yes\n[anonymous]\nfrom = any\n"
    );
    let accounts = start(&text);
    let clear = client(peer("10.0.0.1"));
    let secure = Client {
        secure: true,
        ..clear
    };
    let entrance = Entrance::new("ftp");
    let enter = |client: &Client<'_>, user, password| {
        log_in(&accounts, &entrance, client, user, Some(password))
            .map(|session| session.is_current())
    };
    // Of one account: only who has its password learns that it exists.
    assert_eq!(enter(&clear, Some("s"), "x"), Err(Denied::NeedsTls));
    assert_eq!(enter(&clear, Some("s"), "y"), Err(Denied::Refused));
    assert_eq!(enter(&secure, Some("s"), "x"), Ok(true));
    let open = log_in(&accounts, &entrance, &clear, Some("a"), Some("x")).unwrap();
    let nobody = accounts.identify(&entrance, &clear).unwrap();
    entrance.set_require_tls(true);
    // Of the service: whatever was sent was not looked at.
    for (user, password) in [
        ("a", "x"),
        ("a", "y"),
        ("nobody", "x"),
        ("a", secret.as_str()),
    ] {
        assert_eq!(enter(&clear, Some(user), password), Err(Denied::NeedsTls));
    }
    assert_eq!(enter(&clear, None, &secret), Err(Denied::NeedsTls));
    assert_eq!(enter(&secure, Some("a"), "x"), Ok(true));
    assert!(!open.is_current() && nobody.is_current());
    assert!(accounts.identify(&entrance, &clear).is_some());
}

fn certificate(name: &str) -> Vec<u8> {
    let mut params = rcgen::CertificateParams::new([format!("{name}.example")]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    let key = rcgen::KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

#[test]
fn a_certificate_stands_for_its_account() {
    let text = "[a]\ncertificate = CN=alice, email:a@example.org\nservices = ftp\n[b]\npassword = x\ncertificate = dns:bob.example\n\
                [off]\nenabled = no\ncertificate = CN=off\n[anonymous]\n";
    let accounts = start(text);
    let (ftp, web) = (Entrance::new("ftp"), Entrance::new("web"));
    let name_of = |session: Option<Session>| session.map(|session| session.account.name.clone());
    for (name, of_ftp, of_web) in [
        ("alice", "a", "anonymous"),
        ("bob", "b", "b"),
        ("off", "anonymous", "anonymous"),
        ("stranger", "anonymous", "anonymous"),
    ] {
        let der = certificate(name);
        let client = Client {
            certificate: &der,
            ..SECURE
        };
        assert_eq!(
            name_of(accounts.identify(&ftp, &client)).as_deref(),
            Some(of_ftp),
            "{name}"
        );
        assert_eq!(
            name_of(accounts.identify(&web, &client)).as_deref(),
            Some(of_web),
            "{name}"
        );
    }
    let alice = certificate("alice");
    let client = Client {
        certificate: &alice,
        ..SECURE
    };
    let enter = |entrance, user, password| {
        log_in(&accounts, entrance, &client, user, password)
            .map(|session| session.account.name.clone())
    };
    assert_eq!(enter(&ftp, Some("a"), None).as_deref(), Ok("a"));
    assert_eq!(enter(&ftp, None, None).as_deref(), Ok("a"));
    assert_eq!(enter(&web, Some("a"), None), Err(Denied::NotHere));
    assert_eq!(enter(&ftp, Some("b"), None), Err(Denied::Refused));
    assert_eq!(enter(&ftp, Some("nobody"), None), Err(Denied::Refused));
    assert_eq!(enter(&ftp, Some("b"), Some("x")).as_deref(), Ok("b"));
    let bare = log_in(&accounts, &ftp, &SECURE, Some("a"), None);
    assert_eq!(bare.unwrap_err(), Denied::Refused);
    let session = accounts.identify(&ftp, &client).unwrap();
    accounts.replace(parse(&text.replace("CN=alice, ", "")).unwrap());
    assert!(!session.is_current());
    assert_eq!(
        name_of(accounts.identify(&ftp, &client)).as_deref(),
        Some("anonymous")
    );
}

#[test]
fn a_certificate_or_a_token_of_two_accounts_is_refused() {
    let hash = "ab".repeat(32);
    let text = format!(
        "[a]\ncertificate = CN=x, dns:a\ntoken.1 = sha256:{hash}\n[b]\ncertificate = DNS:A\n[c]\n\
         certificate = dns:A\ntoken.2 = sha256:{hash} expires=2030-01-01\n[anonymous]\ncertificate = CN=n\ntoken.x = y\n\
         [d]\nquota = much\nmax_sessions = 0\nrequire_tls = perhaps\ntoken.A = sha256:{hash}\n"
    );
    assert_eq!(
        problems(&text),
        [
            "5:15: b.certificate: expected a certificate such as CN=alice, dns:HOST, email:ADDRESS, uri:URI or \
             sha256:HEX, got \"DNS:A\"",
            "7:15: c.certificate: the certificate dns:a is in line 2 already",
            "8:1: c.token.2: the same token is in line 3 already",
            "10:15: anonymous.certificate: is not for [anonymous]: it stands for the clients that do not log in",
            "11:11: anonymous.token.x: is not for [anonymous]: it stands for the clients that do not log in",
            "13:9: d.quota: expected bytes such as 500M or 10G, got \"much\"",
            "14:16: d.max_sessions: expected a number of sessions, 1 or more, got \"0\"",
            "15:15: d.require_tls: expected yes or no, got \"perhaps\"",
            "16:11: d.token.A: expected token.NAME with a name of a-z, 0-9, _ and -, got \"token.A\"",
        ]
    );
}

#[test]
fn a_service_that_only_a_scope_knows_is_told() {
    let hash = "ab".repeat(32);
    let text =
        format!("[a]\ntoken.ci = sha256:{hash} scope=file: read /x | list /x | ftp: read /y\n");
    let unknown = parse(&text).unwrap().unknown_services(&["ftp", "files"]);
    assert_eq!(
        unknown.to_string(),
        "/etc/polyport/accounts.ini:2:1: warning: a.token.ci: there is no service \"file\": did you mean \"files\"?"
    );
}

#[test]
fn the_clients_id_is_known_to_rules_about_topics() {
    let accounts =
        start("[a]\npassword = x\nallow.1 = publish dev/%c/#\ndeny.1 = publish dev/+/key/%c\n");
    let may = |id, topic: &str| {
        let client = Client { id, ..SECURE };
        let session = log_in(
            &accounts,
            &Entrance::new("mqtt"),
            &client,
            Some("a"),
            Some("x"),
        );
        session.unwrap().allows(Action::Publish, topic)
    };
    assert!(may(Some("d1"), "dev/d1/t") && !may(Some("d1"), "dev/d2/t"));
    assert!(!may(Some("d1"), "dev/d1/key/d1") && may(Some("d1"), "dev/d1/key/d2"));
    for id in [None, Some(""), Some("+"), Some("#"), Some("d1/t")] {
        assert!(!may(id, "dev/d1/t"), "{id:?}");
    }
}

#[test]
fn a_quota_counts_what_is_in_the_home_already() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("old"), [0; 70]).unwrap();
    let home = folder.path().display();
    let accounts = start(&format!(
        "[a]\npassword = x\nhome = {home}\nquota = 100\n[b]\npassword = x\nquota = 1\n"
    ));
    let session = verify(&accounts, "a", "x", LOCAL).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    // More than fits beside what was there is refused once the home is measured.
    while session.charge(31) {
        assert!(session.charge(-31) && Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(session.charge(30) && !session.charge(1));
    let other = verify(&accounts, "a", "x", LOCAL).unwrap();
    assert!(!other.charge(1) && other.charge(-30) && session.charge(30));
    let homeless = verify(&accounts, "b", "x", LOCAL).unwrap();
    assert!(homeless.charge(1000));
}

#[test]
fn sessions_share_a_rate() {
    let accounts = start("[a]\npassword = x\nrate_down = 1K\n");
    let [one, two] = [(); 2].map(|()| verify(&accounts, "a", "x", LOCAL).unwrap());
    assert_eq!(one.pace(Direction::Up, 1 << 30), 0);
    let first = one.pace(Direction::Down, 1024);
    let second = two.pace(Direction::Down, 1024);
    assert!((800_000_000..=900_000_000).contains(&first), "{first}");
    assert!(
        (1_500_000_000..=1_900_000_000).contains(&second),
        "{second}"
    );
}

#[test]
fn an_account_that_nobody_is_logged_in_to_may_do_what_its_rules_say_now() {
    let accounts = start(
        "[a]\nname = anna\npassword = x\nfrom = 10.0.0.0/8\nrequire_tls = yes\nservices = mqtt\n\
         allow.1 = publish dev/%u/%c\n[off]\nenabled = no\nrights = all\n\
         [anonymous]\nrights = publish\ndeny.1 = publish dev/#\n",
    );
    let may = |service: &str, login: &str, topic: &str| {
        let entrance = Entrance::new(service);
        accounts.named_allows(&entrance, login, "c", Action::Publish, topic)
    };
    assert!(may("mqtt", "anna", "dev/anna/c"));
    assert!(!may("mqtt", "anna", "dev/anna/d") && !may("mqtt", "a", "dev/anna/c"));
    assert!(!may("other", "anna", "dev/anna/c") && !may("mqtt", "off", "t"));
    assert!(may("mqtt", "anonymous", "t") && !may("mqtt", "anonymous", "dev/x"));
    accounts.replace(parse("[b]\nname = anna\nrights = list\n").unwrap());
    assert!(!may("mqtt", "anna", "dev/anna/c") && !may("mqtt", "anonymous", "t"));
}
