//! The keys beneath `[services.NAME.settings]`, their defaults and bounds.
//!
//! Where vsftpd has a setting of the same meaning, the key has its name; `docs/ftp.md` maps one
//! to the other.

use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use polyport_ftp_core::MAX_LINE;
use polyport_sdk::config::Problem;
use polyport_sdk::files::Symlinks;
use polyport_sdk::limits::Known;
use serde::{Deserialize, Serialize};

/// Lowest port passive mode may use: those below belong to system services.
const FIRST_PORT: u16 = 1024;
/// Longest time-out in seconds: one day.
const MAX_TIMEOUT: u32 = 86_400;

/// Settings of one FTP service.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Folder of anonymous clients and of accounts without a home; empty for the host's folders alone.
    pub root: PathBuf,
    /// Where set, the folder of every account in place of its home; `%u` stands for the name.
    pub local_root: PathBuf,
    /// Whether accounts may log in.
    pub local_enable: bool,
    /// Whether an account is kept in its own folder; otherwise it sees all of `root` and the host's folders.
    pub chroot_local_user: bool,
    /// Accounts for which `chroot_local_user` is turned round.
    pub chroot_list: Vec<String>,
    /// Whether an account whose own folder can be written may log in.
    pub allow_writeable_chroot: bool,
    /// Accounts that may not log in by FTP.
    pub deny_users: Vec<String>,
    /// Whether clients may log in as `anonymous`, where the accounts allow it.
    pub anonymous_enable: bool,
    /// Where set, the folder of anonymous clients in place of `root`.
    pub anonymous_root: PathBuf,
    /// Whether any command may change files.
    pub write_enable: bool,
    /// Whether an upload that broke off is removed rather than kept for going on; never does it
    /// replace a file.
    pub delete_failed_uploads: bool,
    /// When TYPE A converts line ends.
    pub ascii: Ascii,
    /// What happens to symbolic links in `root` and in homes.
    pub symlinks: Symlinks,
    /// Text of the greeting; `%v` stands for the version.
    pub banner: String,
    /// Whether PASV and EPSV are offered.
    pub pasv_enable: bool,
    /// IPv4 address told to clients of passive mode; empty for the one they reached.
    pub pasv_address: String,
    /// Ports of passive mode, `low-high`.
    pub passive_ports: String,
    /// Whether PORT and EPRT are offered.
    pub port_enable: bool,
    /// Seconds without progress until a transfer ends.
    pub data_timeout: u32,
    /// Seconds until a data connection must have come about.
    pub accept_timeout: u32,
    /// Failed logins until the connection is closed.
    pub max_login_failures: u32,
    /// Whether a client without an account may log in only over TLS.
    pub force_anon_logins_ssl: bool,
    /// Whether the data connections of an account that is logged in over TLS must have TLS too.
    pub force_local_data_ssl: bool,
    /// The same of clients without an account.
    pub force_anon_data_ssl: bool,
    /// Whether data connections must take up the TLS session of their control connection.
    pub require_ssl_reuse: bool,
    /// Whether an upload whose TLS ends without close_notify is taken for broken off.
    pub strict_ssl_read_eof: bool,
}

/// When TYPE A converts line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ascii {
    /// Unless a NUL byte among the first 8 KiB shows that it is no text.
    Text,
    /// Always, to the letter of RFC 959.
    Always,
    /// Never, as vsftpd does by default.
    Never,
}

/// What clients are held to where the operator says nothing.
pub const LIMITS: Known = Known::new()
    .max_connections(2000)
    .login_timeout(Duration::from_secs(60))
    .idle_timeout(Duration::from_secs(300))
    .max_line(MAX_LINE as u64, 512..=65_536);

/// All but the folders that an instance opens at its start.
pub const LIVE: &[&str] = &[
    "local_root",
    "local_enable",
    "chroot_local_user",
    "chroot_list",
    "allow_writeable_chroot",
    "deny_users",
    "anonymous_enable",
    "write_enable",
    "delete_failed_uploads",
    "ascii",
    "symlinks",
    "banner",
    "pasv_enable",
    "pasv_address",
    "passive_ports",
    "port_enable",
    "data_timeout",
    "accept_timeout",
    "max_login_failures",
    "force_anon_logins_ssl",
    "force_local_data_ssl",
    "force_anon_data_ssl",
    "require_ssl_reuse",
    "strict_ssl_read_eof",
];

impl Default for Config {
    fn default() -> Self {
        Self {
            root: "files".into(),
            local_root: PathBuf::new(),
            local_enable: true,
            chroot_local_user: true,
            chroot_list: Vec::new(),
            allow_writeable_chroot: true,
            deny_users: Vec::new(),
            anonymous_enable: true,
            anonymous_root: PathBuf::new(),
            write_enable: true,
            delete_failed_uploads: false,
            ascii: Ascii::Text,
            symlinks: Symlinks::Inside,
            banner: "(polyport %v)".into(),
            pasv_enable: true,
            pasv_address: String::new(),
            passive_ports: "40000-40099".into(),
            port_enable: true,
            data_timeout: 300,
            accept_timeout: 60,
            max_login_failures: 3,
            force_anon_logins_ssl: false,
            force_local_data_ssl: true,
            force_anon_data_ssl: false,
            require_ssl_reuse: false,
            strict_ssl_read_eof: true,
        }
    }
}

impl Config {
    /// Everything that the types cannot say.
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |key: &str, expected: &str, got: String| {
            problems.push(Problem {
                key: key.into(),
                expected: expected.into(),
                got,
            });
        };
        if parse_ports(&self.passive_ports).is_none() {
            let expected = "\"low-high\" with 1024 <= low <= high <= 65535";
            problem(
                "passive_ports",
                expected,
                format!("{:?}", self.passive_ports),
            );
        }
        if !self.pasv_address.is_empty() && self.pasv_address().is_none() {
            problem(
                "pasv_address",
                "an IPv4 address or \"\"",
                format!("{:?}", self.pasv_address),
            );
        }
        for (key, seconds) in [
            ("data_timeout", self.data_timeout),
            ("accept_timeout", self.accept_timeout),
        ] {
            if !(1..=MAX_TIMEOUT).contains(&seconds) {
                problem(key, "1 to 86400 seconds", seconds.to_string());
            }
        }
        if self.max_login_failures == 0 {
            problem("max_login_failures", "1 or more", "0".into());
        }
        problems
    }

    /// Whether an account may not log in here.
    pub fn denies(&self, user: &str) -> bool {
        !self.local_enable || self.deny_users.iter().any(|denied| denied == user)
    }

    /// The ports of passive mode.
    pub fn passive_ports(&self) -> RangeInclusive<u16> {
        parse_ports(&self.passive_ports).unwrap_or(40_000..=40_099)
    }

    /// The address to tell in place of the one a client reached.
    pub fn pasv_address(&self) -> Option<Ipv4Addr> {
        self.pasv_address.parse().ok()
    }

    /// The greeting's text.
    pub fn banner(&self) -> String {
        self.banner.replace("%v", env!("CARGO_PKG_VERSION"))
    }

    /// Time until a data connection must have come about.
    pub fn accept_timeout(&self) -> Duration {
        Duration::from_secs(self.accept_timeout.into())
    }
}

fn parse_ports(text: &str) -> Option<RangeInclusive<u16>> {
    let (low, high) = text.split_once('-')?;
    let (low, high) = (low.trim().parse().ok()?, high.trim().parse().ok()?);
    (FIRST_PORT <= low && low <= high).then_some(low..=high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_have_no_problem() {
        assert!(Config::default().check().is_empty());
        assert_eq!(Config::default().passive_ports(), 40_000..=40_099);
        assert!(Config::default().banner().starts_with("(polyport 0."));
    }

    #[test]
    fn every_bound_is_told_at_once() {
        let config = Config {
            passive_ports: "2000".into(),
            pasv_address: "somewhere".into(),
            data_timeout: 86_401,
            accept_timeout: 0,
            max_login_failures: 0,
            ..Config::default()
        };
        let keys: Vec<_> = config
            .check()
            .into_iter()
            .map(|problem| problem.key)
            .collect();
        assert_eq!(
            keys,
            [
                "passive_ports",
                "pasv_address",
                "data_timeout",
                "accept_timeout",
                "max_login_failures"
            ]
        );
    }

    #[test]
    fn port_ranges() {
        assert_eq!(parse_ports("40000 - 45000"), Some(40_000..=45_000));
        assert_eq!(parse_ports("5000-5000"), Some(5000..=5000));
        for bad in ["", "-", "5000", "5001-5000", "80-90", "1024-65536", "-1-2"] {
            assert_eq!(parse_ports(bad), None, "{bad:?}");
        }
    }
}
