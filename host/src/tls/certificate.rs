//! What a certificate says of itself.

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

/// The names and the time of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its DNS names, lowercase; without any, its common name (RFC 6125, 6.4.4).
    pub names: Vec<String>,
    /// When it begins to be valid, in seconds since 1970.
    pub begins: u64,
    /// When it is valid no more.
    pub ends: u64,
}

impl Facts {
    /// Reads them; `Err` says what is there instead.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = parse_x509_certificate(certificate).map_err(|error| error.to_string())?;
        let seconds =
            |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
        let mut names: Vec<String> = Vec::new();
        if let Ok(Some(alternatives)) = parsed.subject_alternative_name() {
            for name in &alternatives.value.general_names {
                if let GeneralName::DNSName(name) = name {
                    names.push(name.to_ascii_lowercase());
                }
            }
        } else if let Some(Ok(name)) = parsed
            .subject()
            .iter_common_name()
            .next()
            .map(|name| name.as_str())
        {
            names.push(name.to_ascii_lowercase());
        }
        let validity = parsed.validity();
        Ok(Self {
            names,
            begins: seconds(validity.not_before),
            ends: seconds(validity.not_after),
        })
    }
}

/// `2026-11-22 15:04:05 UTC`.
pub fn date(seconds: u64) -> String {
    let at = i64::try_from(seconds)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let Some(at) = at else {
        return format!("second {seconds}");
    };
    let (hour, minute, second) = at.to_hms();
    format!("{} {hour:02}:{minute:02}:{second:02} UTC", at.date())
}
