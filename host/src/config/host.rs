//! `[host]`: the folders and files of the host itself, its log and its deadlines.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minisign_verify::PublicKey;

use super::ban;
use super::diagnostics::Diagnostics;
use super::read::Reader;
use super::tree::{Kind, Table};
use crate::accounts::Bans;
use crate::loader::Intake;
use crate::logging::Filter;

/// The keys of `[host]`.
pub const KEYS: &[&str] = &[
    "plugins",
    "signature_keys",
    "require_signature",
    "allow_writable_plugins",
    "user",
    "backlog",
    "accounts",
    "state",
    "control",
    "log",
    "ban",
    "drain_timeout",
    "ready_timeout",
    "handover_timeout",
    "quiet_time",
    "generations",
    "probation",
];

/// The keys of `[host.log]`.
pub const LOG_KEYS: &[&str] = &["level", "format", "file", "access"];

/// Connections that may wait unless the file says otherwise; the system's somaxconn caps it.
const BACKLOG: u16 = 4096;
/// Generations that are kept unless the file says otherwise.
const GENERATIONS: u16 = 10;
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// The host's own configuration; every path is absolute.
#[derive(Debug, Clone, PartialEq)]
pub struct HostConfig {
    /// The folder of the plugin libraries.
    pub plugins: PathBuf,
    /// What is demanded of libraries.
    pub intake: Intake,
    /// Whom the process becomes once its first sockets are bound; itself when absent.
    pub user: Option<String>,
    /// Connections that may wait at a socket to be accepted.
    pub backlog: u16,
    /// The accounts file.
    pub accounts: PathBuf,
    /// The folder of everything that must outlive the process.
    pub state: PathBuf,
    /// The control socket.
    pub control: PathBuf,
    /// The log.
    pub log: LogConfig,
    /// How many failed logins are too many.
    pub ban: Bans,
    /// How long connections may go on after their instance was told to drain.
    pub drain_timeout: Duration,
    /// How long an instance may take to report itself ready.
    pub ready_timeout: Duration,
    /// How long a service with an exclusive store may pause to hand it over; zero: it is never handed over.
    pub handover_timeout: Duration,
    /// How long a changed file must rest before it is read.
    pub quiet_time: Duration,
    /// How many generations are kept.
    pub generations: u16,
    /// How long a changed instance must go without trouble, or its change is taken back.
    pub probation: Duration,
}

/// Where the log goes, in which form, from which level on.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// Which records are kept.
    pub level: Filter,
    /// Their form.
    pub format: LogFormat,
    /// Where they go; standard error when absent.
    pub file: Option<PathBuf>,
    /// Where access lines go.
    pub access: AccessLog,
}

/// The form of log records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// [`Self::Human`]; with colours if the log is a terminal.
    Auto,
    /// A line to read.
    Human,
    /// A JSON object a line.
    Json,
}

/// Where access lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Nowhere.
    Off,
    /// A file, appended to.
    File(PathBuf),
}

/// Reads `[host]`, which may be missing. Relative paths begin at `folder`; `program_folder` is
/// where libraries are looked for unless the file says otherwise.
pub fn read(
    table: Option<&Table>,
    folder: &Path,
    program_folder: &Path,
    diagnostics: &mut Diagnostics,
) -> HostConfig {
    let empty = Table::default();
    let mut reader = Reader::new(table.unwrap_or(&empty), "host", KEYS, diagnostics);
    let path = |reader: &mut Reader<'_, '_>, key: &str| {
        reader.filled_text(key).map(|text| folder.join(text))
    };
    let plugins = path(&mut reader, "plugins").unwrap_or_else(|| program_folder.to_owned());
    let intake = intake(&mut reader);
    let backlog = reader.count("backlog").unwrap_or(BACKLOG);
    let user = reader.filled_text("user").map(ToOwned::to_owned);
    let accounts = path(&mut reader, "accounts").unwrap_or_else(|| folder.join("accounts.ini"));
    let state = path(&mut reader, "state").unwrap_or_else(|| folder.join("state"));
    let control = path(&mut reader, "control").unwrap_or_else(|| state.join("control.sock"));
    let drain_timeout = reader
        .duration("drain_timeout", HOUR)
        .unwrap_or(Duration::from_secs(30));
    let ready_timeout = reader
        .duration("ready_timeout", 10 * MINUTE)
        .unwrap_or(Duration::from_secs(10));
    let handover_timeout = reader
        .duration("handover_timeout", MINUTE)
        .unwrap_or(Duration::from_secs(5));
    let quiet_time = reader
        .duration("quiet_time", MINUTE)
        .unwrap_or(Duration::from_millis(100));
    let generations = generations(&mut reader);
    let probation = reader
        .duration("probation", 10 * MINUTE)
        .unwrap_or(Duration::from_secs(10));
    let log = reader.table("log");
    let log = read_log(log.unwrap_or(&empty), folder, reader.diagnostics());
    let ban = reader.table("ban");
    let ban = ban::read(ban.unwrap_or(&empty), reader.diagnostics());
    HostConfig {
        plugins,
        intake,
        user,
        backlog,
        accounts,
        state,
        control,
        log,
        ban,
        drain_timeout,
        ready_timeout,
        handover_timeout,
        quiet_time,
        generations,
        probation,
    }
}

fn generations(reader: &mut Reader<'_, '_>) -> u16 {
    let bounds = 2..=1000;
    match reader.entry("generations").map(|entry| &entry.node) {
        None => GENERATIONS,
        Some(node) => match node.kind {
            Kind::Integer(count) if bounds.contains(&count) => {
                u16::try_from(count).unwrap_or(GENERATIONS)
            }
            _ => {
                reader.expected("generations", "a number from 2 to 1000", node);
                GENERATIONS
            }
        },
    }
}

fn intake(reader: &mut Reader<'_, '_>) -> Intake {
    let mut keys = Vec::new();
    for (index, (text, place)) in reader.texts("signature_keys").into_iter().enumerate() {
        match PublicKey::from_base64(text) {
            Ok(key) => keys.push(key),
            Err(_) => {
                let name = reader.name(&format!("signature_keys[{index}]"));
                let expected = "a public key of minisign, such as \"RWQf6LRCGA9i53ml...\"";
                reader
                    .diagnostics()
                    .expected(place, &name, expected, format!("{text:?}"));
            }
        }
    }
    let require_signature = reader.boolean("require_signature").unwrap_or(false);
    if require_signature && keys.is_empty() {
        let node = reader.entry("require_signature").map(|entry| &entry.node);
        if let Some(node) = node {
            reader.expected(
                "require_signature",
                "signature_keys with at least one key beside it",
                node,
            );
        }
    }
    Intake {
        keys,
        require_signature,
        allow_writable: reader.boolean("allow_writable_plugins").unwrap_or(false),
    }
}

fn read_log(table: &Table, folder: &Path, diagnostics: &mut Diagnostics) -> LogConfig {
    let mut reader = Reader::new(table, "host.log", LOG_KEYS, diagnostics);
    let level = match reader.text("level") {
        None => Filter::default(),
        Some((text, place)) => text.parse().unwrap_or_else(|expected: String| {
            let name = reader.name("level");
            reader
                .diagnostics()
                .expected(place, &name, &expected, format!("{text:?}"));
            Filter::default()
        }),
    };
    let format = match reader.text("format") {
        None | Some(("auto", _)) => LogFormat::Auto,
        Some(("human", _)) => LogFormat::Human,
        Some(("json", _)) => LogFormat::Json,
        Some((other, place)) => {
            let name = reader.name("format");
            reader.diagnostics().expected(
                place,
                &name,
                "\"auto\", \"human\" or \"json\"",
                format!("{other:?}"),
            );
            LogFormat::Auto
        }
    };
    let file = reader.filled_text("file").map(|text| folder.join(text));
    let access = match reader.filled_text("access") {
        None | Some("stdout") => AccessLog::Stdout,
        Some("off") => AccessLog::Off,
        Some(path) => AccessLog::File(folder.join(path)),
    };
    LogConfig {
        level,
        format,
        file,
        access,
    }
}
