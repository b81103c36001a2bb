//! `tls/1`: certificates, keys and rules for TLS, kept current by the host while an instance runs.

use abi_stable::StableAbi;
use abi_stable::std_types::RVec;

use crate::InterfaceTable;
use crate::log::LevelCell;

/// What an instance's TLS is made of.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct TlsV1 {
    /// First argument of the function.
    pub ctx: *const (),
    /// Counts up each time that there is other material. A handshake that begins afterwards uses the new one;
    /// connections that are open keep what they began with.
    pub revision: &'static LevelCell,
    /// JSON of the [`Material`] in force; empty when the service has no TLS.
    pub material: extern "C" fn(ctx: *const ()) -> RVec<u8>,
}

// SAFETY: the id is this type's alone.
unsafe impl InterfaceTable for TlsV1 {
    const ID: &'static str = "tls/1";
}

// SAFETY: `ctx` is shared between threads only through the function here, which the host makes thread-safe.
unsafe impl Send for TlsV1 {}
// SAFETY: as above.
unsafe impl Sync for TlsV1 {}

/// Certificates, keys and rules, checked by the host: they parse, and each key fits its certificate.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Material {
    /// At least one; the first is shown to clients that name no server, or one that none is made for.
    pub certificates: Vec<Certificate>,
    /// PEM of the authorities whose client certificates count; empty: none do.
    #[serde(default)]
    pub client_ca: String,
    /// `none`, `optional` or `required`: whether clients are asked for a certificate.
    #[serde(default)]
    pub client_cert: ClientCert,
    /// The oldest version spoken, `1.2` or `1.3`.
    #[serde(default)]
    pub min_version: MinVersion,
    /// Application protocols in the order of preference; absent: the plugin's own list.
    #[serde(default)]
    pub alpn: Option<Vec<String>>,
}

/// A certificate, its chain and its key.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Certificate {
    /// PEM: the server's certificate first, then the intermediate ones.
    pub chain: String,
    /// PEM of the private key.
    pub key: String,
    /// The DNS names that it is made for, lowercase; `*.` may stand for one first label.
    pub names: Vec<String>,
}

/// Whether clients are asked for a certificate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCert {
    /// They are not.
    #[default]
    None,
    /// They are, and may have none.
    Optional,
    /// Without one there is no connection.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MinVersion {
    /// RFC 5246.
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// RFC 8446.
    #[serde(rename = "1.3")]
    Tls13,
}

/// Without the keys.
impl std::fmt::Debug for Material {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&[String]> = self.certificates.iter().map(|c| &c.names[..]).collect();
        f.debug_struct("Material")
            .field("names", &names)
            .field("client_cert", &self.client_cert)
            .field("min_version", &self.min_version)
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

/// Without the key.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}
