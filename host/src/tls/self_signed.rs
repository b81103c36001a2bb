//! A certificate and its key for trying out.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, SanType,
};

/// How far in the past it begins, for clients whose clocks are behind.
const BEFORE: Duration = Duration::from_secs(3600);

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub struct SelfSigned {
    /// The certificate.
    pub cert: String,
    /// The key: ECDSA on P-256.
    pub key: String,
}

/// Makes one for these names and IP addresses, at least one, valid for so many days.
///
/// # Errors
/// A host that is neither a name nor an address.
pub fn make(hosts: &[String], days: u16) -> Result<SelfSigned, String> {
    let mut params = CertificateParams::default();
    for host in hosts {
        let wrong = || format!("expected a host name or an IP address, got {host:?}");
        params.subject_alt_names.push(match host.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) if is_host_name(host) => {
                SanType::DnsName(host.as_str().try_into().map_err(|_| wrong())?)
            }
            Err(_) => return Err(wrong()),
        });
    }
    let mut name = DistinguishedName::new();
    // RFC 5280, appendix A: 64 characters at most.
    name.push(
        DnType::CommonName,
        hosts
            .iter()
            .find(|host| host.len() <= 64)
            .map_or("polyport", String::as_str),
    );
    params.distinguished_name = name;
    let now = SystemTime::now();
    params.not_before = (now - BEFORE).into();
    params.not_after = (now + Duration::from_secs(u64::from(days) * 24 * 3600)).into();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let cert = params
        .self_signed(&key)
        .map_err(|error| error.to_string())?;
    Ok(SelfSigned {
        cert: cert.pem(),
        key: key.serialize_pem(),
    })
}

/// Labels of letters, digits and hyphens; an asterisk may be the first.
fn is_host_name(text: &str) -> bool {
    let labels = text.strip_prefix("*.").unwrap_or(text);
    text.len() <= 253
        && labels.split('.').all(|label| {
            (1..64).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        })
}
