//! An authority of the test's own, and what it signs.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair,
    SerialNumber,
};

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub struct Pair {
    /// The certificate.
    pub cert: String,
    /// Its key.
    pub key: String,
    /// Its number, as openssl writes it.
    pub serial: String,
}

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, "authority of a test");
        params.distinguished_name = name;
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A pair for these names and addresses that ends in so many days; below 0 it has ended.
    pub fn pair(&self, hosts: &[&str], days: i32) -> Pair {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        let mut params = CertificateParams::new(hosts.clone()).unwrap();
        let mut name = DistinguishedName::new();
        name.push(DnType::CommonName, hosts[0].clone());
        params.distinguished_name = name;
        let now = SystemTime::now();
        params.not_before = (now - 30 * DAY).into();
        let span = days.unsigned_abs() * DAY;
        params.not_after = if days < 0 { now - span } else { now + span }.into();
        let serial: [u8; 8] = rand_bytes();
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let key = KeyPair::generate().unwrap();
        Pair {
            cert: params.signed_by(&key, &self.0).unwrap().pem(),
            key: key.serialize_pem(),
            serial: serial.iter().map(|byte| format!("{byte:02X}")).collect(),
        }
    }
}

/// Begins with a byte that is neither zero nor negative, which openssl would write otherwise.
fn rand_bytes() -> [u8; 8] {
    use std::hash::{BuildHasher, RandomState};
    let mut bytes = RandomState::new().hash_one(0).to_be_bytes();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    bytes
}
