//! `tls = { … }` of a service: files of certificates and keys, and the rules of its handshakes.
//!
//! Reads names and words only; what is in the files is judged by [`crate::tls`].

use std::path::{Path, PathBuf};

use polyport_abi::tls::{ClientCert, MinVersion};

use super::diagnostics::Diagnostics;
use super::read::Reader;
use super::tree::{Entry, Kind};

/// The keys of `tls`.
pub const KEYS: &[&str] = &[
    "cert",
    "key",
    "certificates",
    "client_ca",
    "client_cert",
    "min_version",
    "alpn",
];

/// The keys of one of its `certificates`.
pub const PAIR_KEYS: &[&str] = &["cert", "key"];

/// The TLS of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Certificates with their keys, at least one. The first is for clients that name no server.
    pub pairs: Vec<Pair>,
    /// The authorities whose client certificates count.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate.
    pub client_cert: ClientCert,
    /// The oldest version spoken.
    pub min_version: MinVersion,
    /// The application protocols; none leaves them to the plugin.
    pub alpn: Option<Vec<String>>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The file of the certificate and its chain.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// Where it stands beneath the service, `tls` or `tls.certificates[0]`.
    pub at: String,
}

impl Tls {
    /// The files that it is made of.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [&pair.cert, &pair.key]);
        pairs.chain(&self.client_ca).map(PathBuf::as_path)
    }
}

/// Reads the table of a service, `entry`, found at the dotted `path`. Relative files begin at `folder`.
pub fn read(
    entry: &Entry,
    path: &str,
    folder: &Path,
    diagnostics: &mut Diagnostics,
) -> Option<Tls> {
    let Kind::Table(table) = &entry.node.kind else {
        let expected = "a table such as { cert = \"cert.pem\", key = \"key.pem\" }";
        diagnostics.expected(&entry.node.place, path, expected, entry.node.describe());
        return None;
    };
    let mut reader = Reader::new(table, path, KEYS, diagnostics);
    let mut pairs = Vec::new();
    let mut complete = true;
    if reader.entry("cert").is_some() || reader.entry("key").is_some() {
        match pair(&mut reader, entry, folder, "tls") {
            Some(pair) => pairs.push(pair),
            None => complete = false,
        }
    } else if reader.entry("certificates").is_none() {
        let expected = "cert and key, or certificates";
        reader
            .diagnostics()
            .expected(&entry.place, path, expected, "neither");
        complete = false;
    }
    complete &= more_pairs(&mut reader, path, folder, &mut pairs);
    let client_ca = reader
        .filled_text("client_ca")
        .map(|file| folder.join(file));
    let client_cert = word(
        &mut reader,
        "client_cert",
        &[
            ("none", ClientCert::None),
            ("optional", ClientCert::Optional),
            ("required", ClientCert::Required),
        ],
    );
    if client_ca.is_none() && client_cert.unwrap_or_default() != ClientCert::None {
        let name = reader.name("client_ca");
        let expected = "the file of the authorities whose client certificates count";
        let place = &entry.node.place;
        reader
            .diagnostics()
            .expected(place, &name, expected, "none");
        complete = false;
    }
    if let (Some(ca), None) = (reader.entry("client_ca"), reader.entry("client_cert")) {
        let name = reader.name("client_cert");
        let expected = "\"optional\" or \"required\" beside client_ca";
        reader
            .diagnostics()
            .expected(&ca.place, &name, expected, "none");
        complete = false;
    }
    let min_version = word(
        &mut reader,
        "min_version",
        &[("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)],
    );
    let alpn = alpn(&mut reader);
    complete.then(|| Tls {
        pairs,
        client_ca,
        client_cert: client_cert.unwrap_or_default(),
        min_version: min_version.unwrap_or_default(),
        alpn,
    })
}

/// `cert` and `key` of one table, both or a problem.
fn pair(reader: &mut Reader<'_, '_>, entry: &Entry, folder: &Path, at: &str) -> Option<Pair> {
    let file = |reader: &mut Reader<'_, '_>, key: &str, what: &str| {
        if reader.entry(key).is_none() {
            let name = reader.name(key);
            let expected = format!("the file of {what}");
            reader
                .diagnostics()
                .expected(&entry.place, &name, &expected, "none");
        }
        reader.filled_text(key).map(|file| folder.join(file))
    };
    let cert = file(reader, "cert", "the certificate");
    let key = file(reader, "key", "the private key");
    Some(Pair {
        cert: cert?,
        key: key?,
        at: at.to_owned(),
    })
}

/// `certificates`; whether all of them are complete.
fn more_pairs(
    reader: &mut Reader<'_, '_>,
    path: &str,
    folder: &Path,
    pairs: &mut Vec<Pair>,
) -> bool {
    let Some(entry) = reader.entry("certificates") else {
        return true;
    };
    let expected = "an array of tables such as { cert = \"cert.pem\", key = \"key.pem\" }";
    let Kind::Array(items) = &entry.node.kind else {
        reader.expected("certificates", expected, &entry.node);
        return false;
    };
    if items.is_empty() && pairs.is_empty() {
        reader.expected("certificates", "at least one certificate", &entry.node);
        return false;
    }
    let mut complete = true;
    for (index, item) in items.iter().enumerate() {
        let key = format!("certificates[{index}]");
        let Kind::Table(table) = &item.kind else {
            reader.expected(&key, "a table with cert and key", item);
            complete = false;
            continue;
        };
        let one = Entry {
            key: key.clone(),
            place: item.place.clone(),
            node: item.clone(),
        };
        let path = format!("{path}.{key}");
        let mut reader = Reader::new(table, &path, PAIR_KEYS, reader.diagnostics());
        match pair(&mut reader, &one, folder, &format!("tls.{key}")) {
            Some(pair) => pairs.push(pair),
            None => complete = false,
        }
    }
    complete
}

/// One of a few words.
fn word<T: Copy>(reader: &mut Reader<'_, '_>, key: &str, words: &[(&str, T)]) -> Option<T> {
    let (text, place) = reader.text(key)?;
    let found = words
        .iter()
        .find_map(|(word, meaning)| (*word == text).then_some(*meaning));
    if found.is_none() {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let name = reader.name(key);
        let expected = quoted.join(" or ");
        reader
            .diagnostics()
            .expected(place, &name, &expected, format!("{text:?}"));
    }
    found
}

fn alpn(reader: &mut Reader<'_, '_>) -> Option<Vec<String>> {
    reader.entry("alpn")?;
    let mut words = Vec::new();
    for (index, (text, place)) in reader.texts("alpn").into_iter().enumerate() {
        // RFC 7301, 3.1: one byte tells the length.
        if (1..256).contains(&text.len()) {
            words.push(text.to_owned());
        } else {
            let name = reader.name(&format!("alpn[{index}]"));
            let expected = "a protocol's name of 1 to 255 bytes, such as \"h2\"";
            reader
                .diagnostics()
                .expected(place, &name, expected, format!("{text:?}"));
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::tree::Table;

    fn tls(text: &str) -> Result<Tls, Vec<String>> {
        let file: Arc<Path> = Arc::from(Path::new("p.toml"));
        let table = Table::parse(&file, text).unwrap();
        let mut diagnostics = Diagnostics::new();
        let entry = table.get("tls").unwrap();
        let read = read(entry, "services.x.tls", Path::new("/etc"), &mut diagnostics);
        if diagnostics.has_errors() {
            return Err(diagnostics.iter().map(ToString::to_string).collect());
        }
        Ok(read.unwrap())
    }

    #[test]
    fn one_pair_many_pairs_and_every_rule() {
        let one = tls("tls = { cert = \"c.pem\", key = \"/k.pem\" }").unwrap();
        let pair = Pair {
            cert: "/etc/c.pem".into(),
            key: "/k.pem".into(),
            at: "tls".into(),
        };
        assert_eq!(one.pairs, [pair]);
        assert_eq!(one.client_cert, ClientCert::None);
        assert_eq!((one.min_version, one.alpn), (MinVersion::Tls12, None));
        let all = tls(
            "[tls]\ncert = \"a\"\nkey = \"b\"\nclient_ca = \"ca\"\nclient_cert = \"required\"\n\
             min_version = \"1.3\"\nalpn = [\"mqtt\"]\n[[tls.certificates]]\ncert = \"c\"\nkey = \"d\"\n",
        )
        .unwrap();
        let files: Vec<&Path> = all.files().collect();
        assert_eq!(
            files,
            ["/etc/a", "/etc/b", "/etc/c", "/etc/d", "/etc/ca"].map(Path::new)
        );
        assert_eq!(all.pairs[1].at, "tls.certificates[0]");
        assert_eq!(all.client_cert, ClientCert::Required);
        assert_eq!(all.min_version, MinVersion::Tls13);
        assert_eq!(all.alpn.unwrap(), ["mqtt"]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            (
                "tls = true",
                "p.toml:1:7: services.x.tls: expected a table such as { cert = \"cert.pem\", key = \"key.pem\" }, got true",
            ),
            (
                "tls = { }",
                "p.toml:1:1: services.x.tls: expected cert and key, or certificates, got neither",
            ),
            (
                "tls = { cert = \"c\" }",
                "p.toml:1:1: services.x.tls.key: expected the file of the private key, got none",
            ),
            (
                "tls = { certificates = [{ key = \"k\" }] }",
                "p.toml:1:25: services.x.tls.certificates[0].cert: expected the file of the certificate, got none",
            ),
            (
                "tls = { certificates = [] }",
                "p.toml:1:24: services.x.tls.certificates: expected at least one certificate, got an array",
            ),
            (
                "tls = { cert = \"c\", key = \"k\", client_cert = \"optional\" }",
                "p.toml:1:7: services.x.tls.client_ca: expected the file of the authorities whose client certificates count, got none",
            ),
            (
                "tls = { cert = \"c\", key = \"k\", client_ca = \"a\" }",
                "p.toml:1:32: services.x.tls.client_cert: expected \"optional\" or \"required\" beside client_ca, got none",
            ),
            (
                "tls = { cert = \"c\", key = \"k\", min_version = \"1.1\" }",
                "p.toml:1:46: services.x.tls.min_version: expected \"1.2\" or \"1.3\", got \"1.1\"",
            ),
            (
                "tls = { cert = \"c\", key = \"k\", alpn = [\"\"] }",
                "p.toml:1:40: services.x.tls.alpn[0]: expected a protocol's name of 1 to 255 bytes, such as \"h2\", got \"\"",
            ),
            (
                "tls = { cert = \"c\", key = \"k\", kay = 1 }",
                "p.toml:1:32: services.x.tls.kay: unknown key, did you mean \"key\"?",
            ),
        ] {
            assert_eq!(tls(text).unwrap_err(), [expected], "{text}");
        }
    }
}
