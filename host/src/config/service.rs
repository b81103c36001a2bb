//! `[services.NAME]`: which plugin, where it listens, and the settings that are the plugin's own.

use std::num::NonZeroU16;
use std::path::Path;

use serde_json::Value;

use super::diagnostics::{Diagnostic, Diagnostics, Place, did_you_mean};
use super::limits::Limits;
use super::listen::{self, Listen, Options};
use super::read::Reader;
use super::tls::{self, Tls};
use super::tree::{Entry, Kind};

/// The keys of a service.
pub const KEYS: &[&str] = &[
    "plugin",
    "sha256",
    "enabled",
    "listen",
    "tls",
    "require_tls",
    "isolation",
    "threads",
    "limits",
    "folders",
    "settings",
];

/// The most threads that one service may ask for.
const MAX_THREADS: i64 = 256;

/// One service. Two are equal when a reload need not touch it.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// The name of the instance.
    pub name: String,
    /// The name of the plugin.
    pub plugin: String,
    /// The SHA-256 that its library must have, in lowercase hexadecimal.
    pub sha256: Option<String>,
    /// Whether it runs at all.
    pub enabled: bool,
    /// The addresses that the host binds for it.
    pub listen: Vec<Listen>,
    /// Its certificates and the rules of its handshakes.
    pub tls: Option<Tls>,
    /// Whether passwords are only taken over a connection that nobody can overhear.
    pub require_tls: bool,
    /// The size of its runtime.
    pub threads: Threads,
    /// What its clients are held to.
    pub limits: Limits,
    /// The names of the folders that it shows; all where there is no list.
    pub folders: Option<Vec<String>>,
    /// The keys beneath `settings`, for the plugin to judge; an object.
    pub settings: Value,
}

/// The threads of a service's runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// As many as the host finds right for this machine.
    Auto,
    /// This many.
    Count(NonZeroU16),
}

/// A service's name or a plugin's: what may become a folder's name and part of a dotted key.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// Reads one entry of `services`, with the place of each of its addresses.
pub fn read(
    entry: &Entry,
    folder: &Path,
    folders: &[&str],
    diagnostics: &mut Diagnostics,
) -> Option<(Service, Vec<Place>)> {
    let name = &entry.key;
    let path = format!("services.{name}");
    if !is_name(name) {
        diagnostics.expected(
            &entry.place,
            &path,
            "a service name of a-z, 0-9, _ and -",
            format!("{name:?}"),
        );
        return None;
    }
    let Kind::Table(table) = &entry.node.kind else {
        diagnostics.expected(&entry.node.place, &path, "a table", entry.node.describe());
        return None;
    };
    let mut reader = Reader::new(table, &path, KEYS, diagnostics);
    let plugin = plugin(&mut reader, entry);
    let sha256 = sha256(&mut reader);
    let enabled = reader.boolean("enabled").unwrap_or(true);
    let (listen, places) = listen(&mut reader, folder);
    let tls = reader.entry("tls").and_then(|entry| {
        let path = reader.name("tls");
        tls::read(entry, &path, folder, reader.diagnostics())
    });
    let require_tls = reader.boolean("require_tls").unwrap_or(false);
    isolation(&mut reader);
    let threads = threads(&mut reader);
    let limits = match reader.table("limits") {
        Some(table) => {
            let path = reader.name("limits");
            Limits::read_table(table, &path, reader.diagnostics())
        }
        None => Limits::default(),
    };
    let folders = shown_folders(&mut reader, folders);
    let settings = reader.table("settings").map(|table| table.to_json());
    let settings = settings.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    Some((
        Service {
            name: name.clone(),
            plugin: plugin?,
            sha256,
            enabled,
            listen,
            tls,
            require_tls,
            threads,
            limits,
            folders,
            settings,
        },
        places,
    ))
}

fn sha256(reader: &mut Reader<'_, '_>) -> Option<String> {
    let (text, place) = reader.text("sha256")?;
    let hash = text.to_ascii_lowercase();
    if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(hash);
    }
    let name = reader.name("sha256");
    let expected = "the 64 hexadecimal digits of a library's SHA-256";
    reader
        .diagnostics()
        .expected(place, &name, expected, format!("{text:?}"));
    None
}

fn plugin(reader: &mut Reader<'_, '_>, entry: &Entry) -> Option<String> {
    if reader.entry("plugin").is_none() {
        let name = reader.name("plugin");
        let message = "is missing: expected the name of a plugin, such as plugin = \"mqtt\"";
        reader
            .diagnostics()
            .push(Diagnostic::error(entry.place.clone(), name, message));
        return None;
    }
    let (text, place) = reader.text("plugin")?;
    if !is_name(text) {
        let name = reader.name("plugin");
        reader.diagnostics().expected(
            place,
            &name,
            "a plugin name of a-z, 0-9, _ and -",
            format!("{text:?}"),
        );
        return None;
    }
    Some(text.to_owned())
}

fn listen(reader: &mut Reader<'_, '_>, folder: &Path) -> (Vec<Listen>, Vec<Place>) {
    let (mut addresses, mut places) = (Vec::new(), Vec::new());
    let Some(entry) = reader.entry("listen") else {
        return (addresses, places);
    };
    let Kind::Array(items) = &entry.node.kind else {
        reader.expected("listen", "an array of addresses", &entry.node);
        return (addresses, places);
    };
    for (index, item) in items.iter().enumerate() {
        let key = format!("listen[{index}]");
        let path = reader.name(&key);
        let found = match &item.kind {
            Kind::Text(text) => address(text, &item.place, &path, folder, reader.diagnostics()),
            Kind::Table(table) => {
                let mut reader = Reader::new(table, &path, &listen::KEYS, reader.diagnostics());
                listen_table(&mut reader, &item.place, folder)
            }
            _ => {
                reader.expected(&key, "a string or a table", item);
                None
            }
        };
        if let Some(listen) = found {
            addresses.push(listen);
            places.push(item.place.clone());
        }
    }
    (addresses, places)
}

fn listen_table(reader: &mut Reader<'_, '_>, place: &Place, folder: &Path) -> Option<Listen> {
    if reader.entry("address").is_none() {
        let name = reader.name("address");
        let message = "is missing: expected an address, such as address = \"127.0.0.1:1883\"";
        reader
            .diagnostics()
            .push(Diagnostic::error(place.clone(), name, message));
        return None;
    }
    let (text, place) = reader.text("address")?;
    let path = reader.name("address");
    let listen = address(text, place, &path, folder, reader.diagnostics())?;
    let options = Options::read(reader, &listen.address);
    Some(Listen { options, ..listen })
}

fn address(
    text: &str,
    place: &Place,
    path: &str,
    folder: &Path,
    diagnostics: &mut Diagnostics,
) -> Option<Listen> {
    Listen::parse(text, folder)
        .map_err(|expected| diagnostics.expected(place, path, &expected, format!("{text:?}")))
        .ok()
}

fn shown_folders(reader: &mut Reader<'_, '_>, known: &[&str]) -> Option<Vec<String>> {
    reader.entry("folders")?;
    let mut names = Vec::new();
    for (index, (text, place)) in reader.texts("folders").into_iter().enumerate() {
        if known.contains(&text) {
            names.push(text.to_owned());
            continue;
        }
        let name = reader.name(&format!("folders[{index}]"));
        let expected = match did_you_mean(text, known.iter().copied()) {
            Some(near) => format!("the name of one of [folders], such as {near:?}"),
            None => "the name of one of [folders]".to_owned(),
        };
        reader
            .diagnostics()
            .expected(place, &name, &expected, format!("{text:?}"));
    }
    Some(names)
}

fn threads(reader: &mut Reader<'_, '_>) -> Threads {
    let Some(entry) = reader.entry("threads") else {
        return Threads::Auto;
    };
    let count = match &entry.node.kind {
        Kind::Text(text) if text == "auto" => return Threads::Auto,
        Kind::Integer(count) if *count <= MAX_THREADS => {
            u16::try_from(*count).ok().and_then(NonZeroU16::new)
        }
        _ => None,
    };
    if count.is_none() {
        reader.expected(
            "threads",
            &format!("\"auto\" or a number from 1 to {MAX_THREADS}"),
            &entry.node,
        );
    }
    count.map_or(Threads::Auto, Threads::Count)
}

/// A key whose words are settled and whose work is not done: a clear no instead of silence.
fn isolation(reader: &mut Reader<'_, '_>) {
    match reader.text("isolation") {
        None | Some(("in-process", _)) => {}
        Some(("process", place)) => {
            let name = reader.name("isolation");
            let message = "\"process\" is not available in this version: expected \"in-process\"";
            reader
                .diagnostics()
                .push(Diagnostic::error(place.clone(), name, message));
        }
        Some((other, place)) => {
            let name = reader.name("isolation");
            reader
                .diagnostics()
                .expected(place, &name, "\"in-process\"", format!("{other:?}"));
        }
    }
}
