//! The TLS options of vsftpd.conf: the service's `tls` and `require_tls`, and the settings of the same name.

use toml_edit::{Array, InlineTable};

use super::super::plan::Plan;
use super::{Conf, truth};

/// Where vsftpd looks for its certificate unless told.
const CERT: &str = "/usr/share/ssl/certs/vsftpd.pem";

/// Switches that are settings of the same name where TLS is on, with what vsftpd does without them.
const SWITCHES: &[(&str, bool)] = &[
    ("force_anon_logins_ssl", false),
    ("force_local_data_ssl", true),
    ("force_anon_data_ssl", false),
    ("require_ssl_reuse", true),
    ("strict_ssl_read_eof", false),
];

/// Options that are taken into account together with others, or say nothing where TLS is off.
pub(super) const TAKEN: &[&str] = &[
    "allow_anon_ssl",
    "ca_certs_file",
    "force_anon_data_ssl",
    "force_anon_logins_ssl",
    "force_local_data_ssl",
    "force_local_logins_ssl",
    "implicit_ssl",
    "require_cert",
    "require_ssl_reuse",
    "rsa_cert_file",
    "rsa_private_key_file",
    "ssl_enable",
    "ssl_request_cert",
    "ssl_sslv2",
    "ssl_sslv3",
    "ssl_tlsv1",
    "ssl_tlsv1_1",
    "ssl_tlsv1_2",
    "ssl_tlsv1_3",
    "strict_ssl_read_eof",
    "validate_cert",
];

fn is_on(conf: &Conf<'_>) -> bool {
    conf.is_on("ssl_enable", false)
}

/// The listen entries, of which vsftpd has one kind.
pub(super) fn schemes(conf: &Conf<'_>, listen: Array) -> Array {
    if !is_on(conf) || !conf.is_on("implicit_ssl", false) {
        return listen;
    }
    let entries = listen.iter().filter_map(|entry| entry.as_str());
    entries.map(|entry| format!("ftps://{entry}")).collect()
}

pub(super) fn import(plan: &mut Plan, conf: &Conf<'_>) {
    if !is_on(conf) {
        return;
    }
    let cert = conf.get("rsa_cert_file").unwrap_or(CERT);
    let key = conf.get("rsa_private_key_file").unwrap_or(cert);
    let mut tls = InlineTable::new();
    tls.insert("cert", cert.into());
    tls.insert("key", key.into());
    client_certificates(plan, conf, &mut tls);
    versions(plan, conf, &mut tls);
    plan.keys.push(("tls", tls.into()));
    let required = conf.is_on("force_local_logins_ssl", true);
    plan.keys.push(("require_tls", required.into()));
    for (option, default) in SWITCHES {
        plan.set(option, conf.is_on(option, *default));
    }
    if !required && conf.is_on("force_local_data_ssl", true) {
        plan.note(
            conf.place("force_local_data_ssl"),
            "force_local_data_ssl=YES: of accounts that are logged in over TLS; those in clear have data in clear",
        );
    }
    if conf.is_on("anonymous_enable", true) && !conf.is_on("allow_anon_ssl", false) {
        plan.note(
            conf.place("allow_anon_ssl"),
            "allow_anon_ssl=NO: clients without an account may use TLS as well",
        );
    }
}

fn client_certificates(plan: &mut Plan, conf: &Conf<'_>, tls: &mut InlineTable) {
    let required = conf.is_on("require_cert", false);
    match conf.get("ca_certs_file") {
        Some(authorities) if required || conf.is_on("ssl_request_cert", true) => {
            tls.insert("client_ca", authorities.into());
            let words = if required { "required" } else { "optional" };
            tls.insert("client_cert", words.into());
            if !conf.is_on("validate_cert", false) {
                plan.note(
                    conf.place("validate_cert"),
                    "validate_cert=NO: a certificate that client_ca does not vouch for is refused here",
                );
            }
        }
        Some(_) => {}
        None if required => plan.note(
            conf.place("require_cert"),
            "require_cert=YES: tls.client_cert = \"required\" needs tls.client_ca, the file of the authorities",
        ),
        None => {}
    }
}

fn versions(plan: &mut Plan, conf: &Conf<'_>, tls: &mut InlineTable) {
    if conf.is_on("ssl_tlsv1_3", false) && conf.get("ssl_tlsv1_2").is_some_and(|on| !truth(on)) {
        tls.insert("min_version", "1.3".into());
    }
    for option in ["ssl_sslv2", "ssl_sslv3", "ssl_tlsv1", "ssl_tlsv1_1"] {
        if conf.get(option).is_some_and(truth) {
            let place = conf.place(option);
            plan.note(
                place,
                format_args!("{option}=YES: TLS 1.2 and 1.3 are spoken"),
            );
        }
    }
}
