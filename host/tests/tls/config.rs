//! What `polyport check` says of TLS.

use std::fs;

use polyport_testkit::Host;

use super::authority::Authority;
use super::files;

fn checked(host: &Host, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["check"].iter().chain(arguments).copied().collect();
    let said = host.command(&arguments).stdout();
    said.replace(&format!("{}/", host.path().display()), "")
}

#[test]
fn check_warns_of_what_ends_soon_and_of_passwords_in_clear() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let soon = authority.pair(&["one.test"], 20);
    fs::write(host.path().join("one.cert"), soon.cert).unwrap();
    fs::write(host.path().join("one.key"), soon.key).unwrap();
    let said = checked(&host, &[]);
    assert!(
        said.contains("warning: services.files.tls.cert: one.cert: the certificate ends on 20"),
        "{said}"
    );
    assert!(said.contains("\nok: "), "{said}");
    assert!(!said.contains("in clear"), "{said}");
    let said = checked(&host, &["--set", "services.files.listen=[\"0.0.0.0:0\"]"]);
    let warning = "warning: services.files.listen[0]: \"0.0.0.0:0\" takes passwords in clear from other machines";
    assert!(said.contains(warning), "{said}");
}

#[test]
fn tls_addresses_need_a_certificate() {
    let authority = Authority::new();
    let host = files(&authority, "");
    host.edit_config(|text| {
        text.lines()
            .filter(|line| !line.starts_with("tls = "))
            .map(|line| format!("{line}\n"))
            .collect()
    });
    let said = checked(&host, &[]);
    assert!(said.contains("services.files.listen[0]: expected tls = { cert = …, key = … } of the service beside \"https://"), "{said}");
}

#[test]
fn a_plugin_of_the_first_release_cannot_do_tls() {
    let authority = Authority::new();
    let host = files(&authority, "");
    let library = polyport_testkit::library("polyport-newer");
    let name = library.file_name().unwrap();
    fs::copy(&library, host.path().join("plugins").join(name)).unwrap();
    let said = checked(&host, &["--set", "services.files.plugin=\"newer\""]);
    assert!(said.contains("services.files.tls: expected a plugin that can do TLS, got \"newer\", made with an SDK that had none"), "{said}");
}
