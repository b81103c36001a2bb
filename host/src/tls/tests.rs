use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::accounts::AccountList;
use crate::config::Source;

/// A folder with a pair, and what a service with this `tls` table comes to.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn pair(&self, name: &str, hosts: &[&str], days: u16) {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let made = self_signed::make(&hosts, days).unwrap();
        self.write(&format!("{name}.cert"), &made.cert);
        self.write(&format!("{name}.key"), &made.key);
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, listen: &str, tls: &str) -> Config {
        let text = format!("[services.x]\nplugin = \"echo\"\nlisten = [{listen:?}]\n{tls}\n");
        let source = Source {
            file: self.path("p.toml"),
            set: vec![],
            plugins: None,
            control: None,
        };
        Config::parse(&source, text.as_bytes()).unwrap()
    }

    /// The problems, without the folder.
    fn problems(&self, found: &Diagnostics) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        let told = found.iter().map(|one| one.to_string().replace(&folder, ""));
        told.collect()
    }

    fn load(&self, tls: &str, after: Duration) -> Result<(Material, Vec<String>), Vec<String>> {
        let config = self.config("tls://127.0.0.1:0", tls);
        let now = SystemTime::now() + after;
        match load(&config, &config.services[0], now) {
            Ok(loaded) => {
                let loaded = loaded.unwrap();
                let material = serde_json::from_slice(&loaded.material).unwrap();
                Ok((material, self.problems(&loaded.warnings)))
            }
            Err(problems) => Err(self.problems(&problems)),
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const ONE: &str = "tls = { cert = \"one.cert\", key = \"one.key\" }";

#[test]
fn a_good_pair_becomes_material() {
    let files = Files::new();
    files.pair("one", &["One.Test", "*.one.test", "127.0.0.1"], 365);
    let (material, warnings) = files.load(ONE, Duration::ZERO).unwrap();
    assert_eq!(warnings, [""; 0]);
    assert_eq!(material.certificates[0].names, ["one.test", "*.one.test"]);
    assert_eq!(material.client_cert, ClientCert::None);
    files.write(
        "ca.pem",
        &fs::read_to_string(files.path("one.cert")).unwrap(),
    );
    let (material, _) = files
        .load(
            "tls = { cert = \"one.cert\", key = \"one.key\", client_ca = \"ca.pem\", client_cert = \"required\" }",
            Duration::ZERO,
        )
        .unwrap();
    assert!(material.client_ca.contains("BEGIN CERTIFICATE"));
}

#[test]
fn what_cannot_be_used_is_refused_with_its_place() {
    let files = Files::new();
    files.pair("one", &["one.test"], 365);
    files.pair("two", &["two.test"], 365);
    let half = fs::read_to_string(files.path("one.cert")).unwrap();
    files.write("half.cert", &half[..half.len() / 2]);
    let half = fs::read_to_string(files.path("one.key")).unwrap();
    files.write("half.key", &half[..half.len() / 2]);
    files.write("empty", "");
    files.write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    for (cert, key, expected) in [
        (
            "none",
            "one.key",
            "cert: none: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "one.cert",
            "none",
            "key: none: cannot be read: No such file or directory (os error 2)",
        ),
        (
            "empty",
            "one.key",
            "cert: empty: expected a certificate in PEM, got none",
        ),
        (
            "one.key",
            "one.key",
            "cert: one.key: expected a certificate in PEM, got none",
        ),
        (
            "half.cert",
            "one.key",
            "cert: half.cert: expected a certificate in PEM, got one that breaks off: its end is missing",
        ),
        (
            "one.cert",
            "half.key",
            "key: half.key: expected a private key in PEM, got one that breaks off: its end is missing",
        ),
        (
            "one.cert",
            "one.cert",
            "key: one.cert: expected a private key in PEM, got none",
        ),
        (
            "one.cert",
            "locked.key",
            "key: locked.key: expected a private key in PEM, got one behind a passphrase",
        ),
        (
            "one.cert",
            "two.key",
            "key: two.key: expected the key of the certificate in one.cert, got that of another",
        ),
    ] {
        let tls = format!("tls = {{ cert = {cert:?}, key = {key:?} }}");
        let problems = files.load(&tls, Duration::ZERO).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("p.toml:4:"), "{problems:?}");
        assert!(
            problems[0].ends_with(&format!(": services.x.tls.{expected}")),
            "{problems:?}"
        );
    }
    let ca = "tls = { cert = \"one.cert\", key = \"one.key\", client_ca = \"empty\", client_cert = \"optional\" }";
    let problems = files.load(ca, Duration::ZERO).unwrap_err();
    assert!(
        problems[0].contains("tls.client_ca: empty: expected a certificate in PEM, got none"),
        "{problems:?}"
    );
}

#[test]
fn time_and_names_and_modes_are_looked_at() {
    let files = Files::new();
    files.pair("one", &["one.test", "both.test"], 365);
    files.pair("two", &["two.test", "both.test"], 365);
    let ended = files.load(ONE, 366 * DAY).unwrap_err();
    assert!(ended[0].contains("services.x.tls.cert: one.cert: expected a certificate that is valid now, got one that ended on 2"), "{ended:?}");
    let config = files.config("tls://127.0.0.1:0", ONE);
    let early = load(&config, &config.services[0], SystemTime::now() - DAY).unwrap_err();
    assert!(
        files.problems(&early)[0].contains("got one that begins on 2"),
        "{early:?}"
    );
    let (_, soon) = files.load(ONE, 340 * DAY).unwrap();
    assert!(
        soon[0].contains("warning: services.x.tls.cert: one.cert: the certificate ends on 2"),
        "{soon:?}"
    );
    let both = "tls = { certificates = [{ cert = \"one.cert\", key = \"one.key\" }, { cert = \"two.cert\", key = \"two.key\" }] }";
    let (material, warnings) = files.load(both, Duration::ZERO).unwrap();
    assert_eq!(material.certificates.len(), 2);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].ends_with("services.x.tls.certificates[1].cert: two.cert: \"both.test\" is in one.cert as well, which is the one that is used"), "{warnings:?}");
    fs::set_permissions(files.path("one.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let (_, warnings) = files.load(ONE, Duration::ZERO).unwrap();
    assert!(warnings[0].ends_with("tls.key: one.key: every user can read the private key: expected mode 0600 or 0640, got 0644"), "{warnings:?}");
}

#[test]
fn tls_listeners_need_certificates_and_a_plugin_that_can() {
    let files = Files::new();
    let schemes = [("wss".to_owned(), "ws".to_owned())];
    let told = |listen: &str, tls: &str, schemes: Option<&[(String, String)]>| {
        let config = files.config(listen, tls);
        files.problems(&mismatches(&config, &config.services[0], schemes))
    };
    assert_eq!(told("tls://127.0.0.1:0", ONE, Some(&schemes)), [""; 0]);
    assert_eq!(told("https://127.0.0.1:0", "", Some(&schemes)), [""; 0]);
    for scheme in ["tls", "wss"] {
        let listen = format!("{scheme}://127.0.0.1:0");
        let expected = format!(
            "p.toml:3:11: services.x.listen[0]: expected tls = {{ cert = …, key = … }} of the service beside {listen:?}, got none"
        );
        assert_eq!(told(&listen, "", Some(&schemes)), [expected]);
    }
    let expected = "p.toml:4:1: services.x.tls: expected a plugin that can do TLS, got \"echo\", made with an SDK that had none";
    assert_eq!(told("127.0.0.1:0", ONE, None), [expected]);
}

#[test]
fn passwords_in_clear_between_machines_are_warned_about() {
    let files = Files::new();
    let accounts = |text: &str| AccountList::parse(&files.path("a.ini"), text.as_bytes()).unwrap();
    let some = accounts("[alice]\npassword = secret\n");
    let other = accounts("[alice]\npassword = secret\nservices = y\n");
    let told_with = |keys: &str, listen: &str, accounts: &AccountList| {
        let config = files.config(listen, keys);
        let schemes = [("wss".to_owned(), "ws".to_owned())];
        let found = exposure::plain_passwords(&config, &config.services[0], &schemes, accounts);
        files.problems(&found)
    };
    let told = |listen: &str, accounts: &AccountList| told_with("", listen, accounts);
    let warning = "p.toml:3:11: warning: services.x.listen[0]: \"0.0.0.0:21\" takes passwords in clear from other machines: expected TLS, a loopback address, or require_tls = true";
    assert_eq!(told("0.0.0.0:21", &some), [warning]);
    assert_eq!(told("ws://[2001:db8::1]:80", &some).len(), 1);
    for fine in [
        "127.0.0.1:21",
        "[::1]:21",
        "tls://0.0.0.0:21",
        "wss://0.0.0.0:21",
        "unix:/run/x.sock",
    ] {
        assert_eq!(told(fine, &some), [""; 0], "{fine}");
    }
    assert_eq!(told("0.0.0.0:21", &other), [""; 0]);
    assert_eq!(
        told_with("require_tls = true", "0.0.0.0:21", &some),
        [""; 0]
    );
    let tls_only = accounts("[alice]\npassword = secret\nrequire_tls = yes\n");
    assert_eq!(told("0.0.0.0:21", &tls_only), [""; 0]);
    assert_eq!(told("0.0.0.0:21", &AccountList::empty()), [""; 0]);
}

#[test]
fn a_pair_for_trying_out_is_for_names_and_addresses() {
    for wrong in ["", "a b", "-:x", "a..b", "*.*.x"] {
        assert!(
            self_signed::make(&[wrong.to_owned()], 1).is_err(),
            "{wrong:?}"
        );
    }
}

/// A PEM file whose content has one byte changed, and is cut off behind another.
fn damaged(text: &str, byte: (prop::sample::Index, u8), end: prop::sample::Index) -> String {
    let label = text.lines().next().unwrap();
    let content: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut content = STANDARD.decode(content).unwrap();
    let (at, changes) = byte;
    let place = at.index(content.len());
    content[place] ^= changes;
    content.truncate(content.len() - end.index(content.len()) / 8);
    let end = label.replace("BEGIN", "END");
    format!("{label}\n{}\n{end}\n", STANDARD.encode(content))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn no_file_makes_the_reader_panic(
        any in any::<Vec<u8>>(), byte in any::<(prop::sample::Index, u8)>(), end in any::<prop::sample::Index>()
    ) {
        let files = Files::new();
        files.pair("one", &["one.test"], 365);
        for name in ["one.cert", "one.key"] {
            let good = fs::read_to_string(files.path(name)).unwrap();
            for bad in [damaged(&good, byte, end).into_bytes(), any.clone()] {
                fs::write(files.path(name), bad).unwrap();
                let _ = files.load(ONE, Duration::ZERO);
                let _ = files.load("tls = { cert = \"one.cert\", key = \"one.key\", client_ca = \"one.cert\", client_cert = \"required\" }", Duration::ZERO);
            }
            fs::write(files.path(name), good).unwrap();
        }
    }
}
