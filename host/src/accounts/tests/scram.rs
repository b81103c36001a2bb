//! Logins by SCRAM, with a client of its own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use pbkdf2::pbkdf2_hmac;
use sha2::{Digest, Sha256};

use super::super::scram::Challenge;
use super::*;

fn hmac(key: &[u8], message: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().into()
}

/// The value of an attribute of a message.
fn attribute<'a>(message: &'a str, letter: &str) -> &'a str {
    let mut attributes = message.split(',');
    attributes
        .find_map(|part| part.strip_prefix(letter)?.strip_prefix('='))
        .unwrap()
}

/// A client that begins with `header`, and what it answers.
struct Exchange<'a> {
    user: &'a str,
    password: &'a str,
    header: &'a str,
}

impl Exchange<'_> {
    fn bare(&self) -> String {
        format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", self.user)
    }

    fn first(&self) -> String {
        format!("{}{}", self.header, self.bare())
    }

    /// The last message, and what the server has to prove itself by.
    fn last(&self, challenge: &str) -> (String, String) {
        let salt = STANDARD.decode(attribute(challenge, "s")).unwrap();
        let rounds = attribute(challenge, "i").parse().unwrap();
        let mut salted = [0; 32];
        pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, rounds, &mut salted);
        let header = STANDARD.encode(self.header);
        let without = format!("c={header},r={}", attribute(challenge, "r"));
        let signed = format!("{},{challenge},{without}", self.bare());
        let client_key = hmac(&salted, "Client Key");
        let signature = hmac(&Sha256::digest(client_key), &signed);
        let proof: Vec<u8> = client_key
            .iter()
            .zip(signature)
            .map(|(key, sign)| key ^ sign)
            .collect();
        let server = hmac(&hmac(&salted, "Server Key"), &signed);
        (
            format!("{without},p={}", STANDARD.encode(proof)),
            format!("v={}", STANDARD.encode(server)),
        )
    }
}

struct Server {
    accounts: Arc<Accounts>,
    entrance: Arc<Entrance>,
    client: Client<'static>,
}

impl Server {
    fn new(text: &str) -> Self {
        Self {
            accounts: Accounts::start(parse(text).unwrap()).unwrap(),
            entrance: Entrance::new("mqtt"),
            client: client(peer("10.0.0.1")),
        }
    }

    fn challenge(&self, message: &str) -> Result<Challenge, Denied> {
        self.accounts
            .challenge(&self.entrance, &self.client, message.as_bytes())
    }

    fn prove(
        &self,
        state: &[u8],
        message: &str,
        current: Option<&Arc<Session>>,
    ) -> Result<Proven, Denied> {
        let (sender, receiver) = channel();
        let done = Box::new(move |result| sender.send(result).unwrap());
        let messages = (state, message.as_bytes());
        let current = current.cloned();
        self.accounts
            .prove(&self.entrance, &self.client, messages, current, done);
        receiver.recv_timeout(Duration::from_secs(60)).unwrap()
    }

    fn log_in_as(&self, exchange: &Exchange<'_>) -> Result<Arc<Session>, Denied> {
        let challenge = self.challenge(&exchange.first())?;
        assert_eq!(challenge.user, exchange.user);
        let (last, signature) = exchange.last(&challenge.message);
        let proven = self.prove(&challenge.state, &last, None)?;
        assert_eq!(proven.message, signature);
        Ok(Arc::new(proven.session.unwrap()))
    }

    fn log_in(&self, user: &str, password: &str) -> Result<Arc<Session>, Denied> {
        self.log_in_as(&Exchange {
            user,
            password,
            header: "n,,",
        })
    }

    /// Salt and rounds.
    fn told(&self, user: &str) -> (String, String) {
        let challenge = self.challenge(&format!("n,,n={user},r=x")).unwrap();
        let message = challenge.message;
        let told = |letter| attribute(&message, letter).to_owned();
        (told("s"), told("i"))
    }
}

fn verifier(password: &str, rounds: u32) -> String {
    scram_verifier(password.as_bytes(), rounds).unwrap()
}

#[test]
fn who_knows_the_password_is_let_in_by_a_verifier_or_a_plain_password() {
    let text = format!(
        "[v]\npassword = {}\n[p]\npassword = pl=ai,n\n",
        verifier("secret", 5000)
    );
    let server = Server::new(&text);
    for (user, password, header) in [
        ("v", "secret", "n,,"),
        ("v", "secret", "y,,"),
        ("p", "pl=ai,n", "n,a=p,"),
    ] {
        let session = server.log_in_as(&Exchange {
            user,
            password,
            header,
        });
        assert_eq!(session.unwrap().account.name, user);
    }
    for (user, password) in [("v", "Secret"), ("v", ""), ("p", "plain"), ("x", "secret")] {
        let refused = server.log_in(user, password);
        assert_eq!(refused.unwrap_err(), Denied::Refused, "{user} {password}");
    }
}

#[test]
fn a_verifier_is_good_for_a_password_that_is_sent_as_well() {
    let text = format!("[v]\npassword = {}\n", verifier("secret", 4096));
    let server = Server::new(&text);
    assert!(verify(&server.accounts, "v", "secret", LOCAL).is_ok());
    assert!(verify(&server.accounts, "v", "secret ", LOCAL).is_err());
}

#[test]
fn who_has_no_verifier_or_no_account_is_told_a_salt_that_stays_and_refused_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "[v]\npassword = {}\n[w]\npassword = {}\n[a]\npassword = {}\n[n]\n",
        verifier("secret", 5000),
        verifier("secret", 5000),
        cheap()
    );
    let before = Server::new(&text);
    before.accounts.keep_stand_ins_in(folder.path());
    let after = Server::new(&text);
    after.accounts.keep_stand_ins_in(folder.path());
    let known = before.told("v");
    let mut salts = vec![known.0.clone()];
    for user in ["a", "n", "nobody", "somebody"] {
        let told = before.told(user);
        assert_eq!(told, before.told(user), "{user}");
        assert_eq!(told, after.told(user), "{user} after a restart");
        assert_eq!((told.0.len(), &told.1), (known.0.len(), &known.1), "{user}");
        assert!(!salts.contains(&told.0), "{user}");
        salts.push(told.0);
        assert_eq!(before.log_in(user, "secret").unwrap_err(), Denied::Refused);
    }
}

#[test]
fn every_part_of_the_exchange_counts() {
    let text = format!(
        "[v]\npassword = {}\n[w]\npassword = x\n",
        verifier("secret", 4096)
    );
    let server = Server::new(&text);
    for message in [
        "p=tls-exporter,,n=v,r=x",
        "n,a=w,n=v,r=x",
        "n,,m=1,n=v,r=x",
        "",
        "n,,n=v",
    ] {
        assert_eq!(
            server.challenge(message).unwrap_err(),
            Denied::Refused,
            "{message}"
        );
    }
    let exchange = Exchange {
        user: "v",
        password: "secret",
        header: "n,,",
    };
    let challenge = server.challenge(&exchange.first()).unwrap();
    let other = server.challenge(&exchange.first()).unwrap();
    assert_ne!(
        challenge.message, other.message,
        "each has a nonce of its own"
    );
    let (last, _) = exchange.last(&challenge.message);
    let bound = last.replace("c=biws", "c=eSws");
    let nonce = last.replacen("r=", "r=x", 1);
    for (state, message) in [
        (&challenge.state, bound.as_str()),
        (&challenge.state, &nonce),
        (&challenge.state, &last[..last.len() - 4]),
        (&challenge.state, ""),
        (&other.state, &last),
        (&Vec::new(), &last),
    ] {
        let refused = server.prove(state, message, None);
        assert_eq!(refused.unwrap_err(), Denied::Refused, "{message}");
    }
    assert!(server.prove(&challenge.state, &last, None).is_ok());
}

#[test]
fn a_password_changed_in_an_exchange_ends_it() {
    let text = |password: &str| format!("[v]\npassword = {}\n", verifier(password, 4096));
    let server = Server::new(&text("secret"));
    let exchange = Exchange {
        user: "v",
        password: "secret",
        header: "n,,",
    };
    let challenge = server.challenge(&exchange.first()).unwrap();
    server.accounts.replace(parse(&text("secret")).unwrap());
    let (last, _) = exchange.last(&challenge.message);
    let refused = server.prove(&challenge.state, &last, None);
    assert_eq!(refused.unwrap_err(), Denied::Refused);
    assert!(server.log_in("v", "secret").is_ok());
}

#[test]
fn an_account_has_the_same_rules_as_with_its_password() {
    let secret = verifier("x", 4096);
    let text = format!(
        "[off]\npassword = {secret}\nenabled = no\n[old]\npassword = {secret}\nexpire = 2020-01-01\n\
         [files]\npassword = {secret}\nservices = files\n[far]\npassword = {secret}\nfrom = 192.168.0.0/16\n\
         [tls]\npassword = {secret}\nrequire_tls = yes\n[one]\npassword = {secret}\nmax_sessions = 1\n"
    );
    let mut server = Server::new(&text);
    for (user, denied) in [
        ("off", Denied::Refused),
        ("old", Denied::NotHere),
        ("files", Denied::NotHere),
        ("far", Denied::NotHere),
        ("tls", Denied::NeedsTls),
    ] {
        assert_eq!(server.log_in(user, "x").unwrap_err(), denied, "{user}");
        assert_eq!(
            server.log_in(user, "y").unwrap_err(),
            Denied::Refused,
            "{user}"
        );
    }
    let first = server.log_in("one", "x").unwrap();
    assert_eq!(
        server.log_in("one", "x").unwrap_err(),
        Denied::TooManySessions
    );
    drop(first);
    assert!(server.log_in("one", "x").is_ok());
    server.entrance.set_require_tls(true);
    assert_eq!(server.log_in("one", "x").unwrap_err(), Denied::NeedsTls);
    server.client.secure = true;
    assert!(server.log_in("one", "x").is_ok() && server.log_in("tls", "x").is_ok());
}

#[test]
fn failures_count_for_bans_and_who_proved_himself_before_passes_one() {
    let text = format!(
        "[v]\npassword = {}\n[w]\npassword = {}\n",
        verifier("x", 4096),
        verifier("x", 4096)
    );
    let server = Server::new(&text);
    server.accounts.configure_bans(&Bans {
        address_failures: 3,
        exempt: Vec::new(),
        ..Bans::default()
    });
    assert!(server.log_in("v", "x").is_ok());
    assert!(server.challenge("nonsense").is_err());
    for _ in 0..2 {
        assert_eq!(server.log_in("v", "y").unwrap_err(), Denied::Refused);
    }
    assert_eq!(server.accounts.bans().len(), 1);
    assert!(server.log_in("v", "x").is_ok(), "it was proven before");
    assert_eq!(server.log_in("v", "y").unwrap_err(), Denied::Refused);
    assert_eq!(server.log_in("w", "x").unwrap_err(), Denied::Refused);
    assert!(server.accounts.lift("10.0.0.1"));
    assert!(server.log_in("w", "x").is_ok());
}

#[test]
fn proving_once_more_begins_no_session_and_holds_to_the_account() {
    let text = |rounds| {
        format!(
            "[v]\npassword = {}\nmax_sessions = 1\n[w]\npassword = {}\n",
            verifier("x", rounds),
            verifier("x", 4096)
        )
    };
    let server = Server::new(&text(4096));
    let session = server.log_in("v", "x").unwrap();
    let again = |user, password| {
        let exchange = Exchange {
            user,
            password,
            header: "n,,",
        };
        let challenge = server.challenge(&exchange.first()).unwrap();
        let (last, signature) = exchange.last(&challenge.message);
        let proven = server.prove(&challenge.state, &last, Some(&session))?;
        assert_eq!(proven.message, signature);
        assert!(proven.session.is_none());
        Ok(())
    };
    assert_eq!(again("v", "x"), Ok(()));
    assert_eq!(again("v", "x"), Ok(()));
    assert_eq!(again("v", "y"), Err(Denied::Refused));
    assert_eq!(again("w", "x"), Err(Denied::Refused), "somebody else");
    server.accounts.replace(parse(&text(4097)).unwrap());
    assert_eq!(again("v", "x"), Err(Denied::Refused), "the account changed");
}
