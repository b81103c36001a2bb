//! The names by which accounts.ini ties client certificates to accounts: `CN=alice`, `dns:host.example`,
//! `email:a@example.org`, `uri:urn:dev:1`, `sha256:HEX`.
//!
//! Whether a certificate can be trusted was decided when the connection was made: here its names are read.

use std::fmt;

use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::hex;

/// The longest name, in bytes.
const MAX_NAME: usize = 1024;

/// A name of a certificate, in the order in which they are looked for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CertificateName {
    /// The SHA-256 of the whole certificate.
    Fingerprint([u8; 32]),
    /// A URI among its subject alternative names.
    Uri(String),
    /// A mail address among its subject alternative names.
    Email(String),
    /// A host name among its subject alternative names, in lower case.
    Dns(String),
    /// The common name of its subject, if it has exactly one.
    CommonName(String),
}

impl CertificateName {
    /// Reads a name as accounts.ini has it; `Err` says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "expected a certificate such as CN=alice, dns:HOST, email:ADDRESS, uri:URI or sha256:HEX, got {text:?}"
            )
        };
        let (kind, name) = text.split_once([':', '=']).ok_or_else(wrong)?;
        let name = name.trim();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(wrong());
        }
        let spelt = &text[kind.len()..=kind.len()];
        match (kind, spelt) {
            ("CN", "=") => Ok(Self::CommonName(name.to_owned())),
            ("dns", ":") => Ok(Self::Dns(name.to_ascii_lowercase())),
            ("email", ":") => Ok(Self::email(name)),
            ("uri", ":") => Ok(Self::Uri(name.to_owned())),
            ("sha256", ":") => fingerprint(name).map(Self::Fingerprint).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }

    /// The names of a list, separated by commas.
    pub fn parse_list(value: &str) -> Result<Vec<Self>, String> {
        let names = value
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let names: Vec<Self> = names.map(Self::parse).collect::<Result<_, _>>()?;
        if names.is_empty() {
            return Self::parse(value).map(|name| vec![name]);
        }
        Ok(names)
    }

    /// All names of a certificate in DER, in the order in which they are to be looked for; none if it
    /// cannot be read.
    pub fn all_of(der: &[u8]) -> Vec<Self> {
        let Ok((_, certificate)) = parse_x509_certificate(der) else {
            return Vec::new();
        };
        let mut names = vec![Self::Fingerprint(Sha256::digest(der).into())];
        if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
            names.extend(alternative.value.general_names.iter().filter_map(|name| {
                Some(match name {
                    GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
                    GeneralName::RFC822Name(address) => Self::email(address),
                    GeneralName::DNSName(name) => Self::Dns(name.to_ascii_lowercase()),
                    _ => return None,
                })
            }));
        }
        let mut common = certificate.subject().iter_common_name();
        if let (Some(name), None) = (common.next(), common.next())
            && let Ok(name) = name.as_str()
        {
            names.push(Self::CommonName(name.to_owned()));
        }
        names.sort();
        names
    }

    /// The part after the @ is a host name, for which case plays no part.
    fn email(address: &str) -> Self {
        Self::Email(match address.rsplit_once('@') {
            Some((local, host)) => format!("{local}@{}", host.to_ascii_lowercase()),
            None => address.to_owned(),
        })
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(hash) => write!(out, "sha256:{}", hex::encode(hash)),
            Self::Uri(name) => write!(out, "uri:{name}"),
            Self::Email(name) => write!(out, "email:{name}"),
            Self::Dns(name) => write!(out, "dns:{name}"),
            Self::CommonName(name) => write!(out, "CN={name}"),
        }
    }
}

/// 64 hexadecimal digits, with or without colons between the bytes, as `openssl x509 -fingerprint` has them.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    hex::decode(&text.replace(':', ""))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    use super::*;

    fn certificate(common_names: &[&str], alternative: Vec<SanType>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        for name in common_names {
            params.distinguished_name.push(DnType::CommonName, *name);
        }
        params.subject_alt_names = alternative;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, name) in [
            ("CN=Alice A", CertificateName::CommonName("Alice A".into())),
            (
                "dns:Host.Example",
                CertificateName::Dns("host.example".into()),
            ),
            (
                "email:A@Example.org",
                CertificateName::Email("A@example.org".into()),
            ),
            ("uri:urn:dev:1", CertificateName::Uri("urn:dev:1".into())),
        ] {
            assert_eq!(CertificateName::parse(text), Ok(name), "{text}");
        }
        let colons = vec!["AB"; 32].join(":");
        assert_eq!(
            CertificateName::parse(&format!("sha256:{colons}")),
            Ok(CertificateName::Fingerprint([0xab; 32]))
        );
        for wrong in [
            "",
            "alice",
            "CN:alice",
            "cn=alice",
            "dns=x",
            "dns:",
            "sha256:ab",
            "sha1:00",
        ] {
            assert!(CertificateName::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(CertificateName::parse_list("CN=a, dns:b").unwrap().len(), 2);
        assert!(CertificateName::parse_list(" , ").is_err());
    }

    #[test]
    fn a_certificate_has_the_names_it_was_made_with() {
        let der = certificate(
            &["alice"],
            vec![
                SanType::DnsName("Host.Example".try_into().unwrap()),
                SanType::Rfc822Name("a@Example.org".try_into().unwrap()),
                SanType::URI("urn:dev:1".try_into().unwrap()),
            ],
        );
        let names: Vec<String> = CertificateName::all_of(&der)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            names[1..],
            [
                "uri:urn:dev:1",
                "email:a@example.org",
                "dns:host.example",
                "CN=alice"
            ]
        );
        assert_eq!(
            CertificateName::parse(&names[0]),
            Ok(CertificateName::Fingerprint(Sha256::digest(&der).into()))
        );
        assert_eq!(CertificateName::all_of(b"no certificate"), []);
    }

    proptest! {
        #[test]
        fn a_name_that_is_read_is_printed_so_that_it_reads_back(
            text in "(CN=|dns:|email:|uri:|sha256:)?.{0,70}", hash in "sha256:[0-9a-fA-F]{64}"
        ) {
            for text in [text, hash] {
                if let Ok(name) = CertificateName::parse(&text) {
                    prop_assert_eq!(CertificateName::parse(&name.to_string()), Ok(name));
                }
            }
        }

        #[test]
        fn no_bytes_make_the_reader_panic(at in 0usize..400, byte in any::<u8>(), bytes in any::<Vec<u8>>()) {
            let _ = CertificateName::all_of(&bytes);
            static DER: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| certificate(&["a"], Vec::new()));
            let mut der = DER.clone();
            if let Some(place) = der.get_mut(at) {
                *place = byte;
            }
            let _ = CertificateName::all_of(&der);
        }
    }
}
