//! Writes the folder a test's host runs in: configuration, accounts, plugin libraries, files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::host::Host;
use crate::{artifacts, ports};

/// Login name in the accounts that [`Builder`] writes unless told otherwise.
pub const USER: &str = "alice";
/// Password of [`USER`].
pub const PASSWORD: &str = "wonderland";

/// How many ports a `{range:NAME}` placeholder stands for.
const RANGE: u16 = 20;

/// A service of the shipped configuration, as [`Builder::service`] sets it up.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    /// Name beneath `[services]` and of the port.
    pub name: &'static str,
    /// Name the plugin gives itself.
    pub plugin: &'static str,
    /// Cargo package of the plugin.
    pub package: &'static str,
    /// Listen entries with placeholders.
    pub listen: &'static [&'static str],
    /// Body of `[services.NAME.settings]` with placeholders.
    pub settings: &'static str,
}

/// The five shipped services on ports of the kit's own.
pub const STANDARD: [Standard; 5] = [
    Standard {
        name: "mqtt",
        plugin: "mqtt",
        package: "polyport-mqtt",
        listen: &["127.0.0.1:{port:mqtt}", "ws://127.0.0.1:{port:mqtt-ws}"],
        settings: "",
    },
    Standard {
        name: "files",
        plugin: "http-files",
        package: "polyport-http-files",
        listen: &["127.0.0.1:{port:files}"],
        settings: "root = \"files\"\n",
    },
    Standard {
        name: "json",
        plugin: "json-api",
        package: "polyport-json-api",
        listen: &["127.0.0.1:{port:json}"],
        settings: "",
    },
    Standard {
        name: "ftp",
        plugin: "ftp",
        package: "polyport-ftp",
        listen: &["127.0.0.1:{port:ftp}"],
        settings: "root = \"files\"\npassive_ports = \"{range:ftp-passive}\"\n",
    },
    Standard {
        name: "tcp-files",
        plugin: "tcp-files",
        package: "polyport-tcp-files",
        listen: &["127.0.0.1:{port:tcp-files}"],
        settings: "root = \"files\"\n",
    },
];

/// Describes a [`Host`] before it runs.
///
/// In every text, `{port:NAME}` stands for a free port known as NAME from then on, `{range:NAME}`
/// for 20 successive ones as `low-high`, and `{dir}` for the folder the configuration lies in.
#[derive(Default)]
pub struct Builder {
    services: Vec<Service>,
    packages: Vec<String>,
    config: Option<String>,
    host_keys: String,
    folders: String,
    accounts: Option<String>,
    files: Vec<(PathBuf, Vec<u8>)>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    under: Vec<String>,
}

struct Service {
    name: String,
    plugin: String,
    listen: Vec<String>,
    keys: String,
    settings: String,
}

impl Builder {
    /// Adds one of the [`STANDARD`] services by its name.
    #[track_caller]
    pub fn service(self, name: &str) -> Self {
        let standard = STANDARD.iter().find(|standard| standard.name == name);
        let standard =
            standard.unwrap_or_else(|| panic!("no shipped service {name:?}: see plugin()"));
        let this = self.plugin(standard.name, standard.plugin, standard.package);
        this.listen(name, standard.listen)
            .settings(name, standard.settings)
    }

    /// Adds the five [`STANDARD`] services.
    pub fn all_services(self) -> Self {
        STANDARD
            .iter()
            .fold(self, |this, standard| this.service(standard.name))
    }

    /// Adds the service `name` of any plugin, listening on `127.0.0.1:{port:NAME}`.
    ///
    /// `plugin` is the name the plugin gives itself, `package` the Cargo package it is built from.
    pub fn plugin(mut self, name: &str, plugin: &str, package: &str) -> Self {
        self.services.push(Service {
            name: name.into(),
            plugin: plugin.into(),
            listen: vec![format!("127.0.0.1:{{port:{name}}}")],
            keys: String::new(),
            settings: String::new(),
        });
        self.library(package)
    }

    /// Copies the library of a plugin package into the plugins folder.
    pub fn library(mut self, package: &str) -> Self {
        if !self.packages.iter().any(|known| known == package) {
            self.packages.push(package.into());
        }
        self
    }

    /// Replaces the listen entries of a service added before.
    #[track_caller]
    pub fn listen(mut self, service: &str, entries: &[&str]) -> Self {
        self.find(service).listen = entries.iter().map(|entry| entry.to_string()).collect();
        self
    }

    /// Adds lines to `[services.NAME]` of a service added before.
    #[track_caller]
    pub fn keys(mut self, service: &str, toml: &str) -> Self {
        let keys = &mut self.find(service).keys;
        keys.push_str(toml);
        keys.push('\n');
        self
    }

    /// Sets lines of `[services.NAME.settings]` of a service added before.
    ///
    /// A `key = value` line takes the place of an earlier line for the same key.
    #[track_caller]
    pub fn settings(mut self, service: &str, toml: &str) -> Self {
        let settings = &mut self.find(service).settings;
        let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_string());
        let new: Vec<_> = toml.lines().filter_map(key).collect();
        let kept = settings
            .lines()
            .filter(|line| key(line).is_none_or(|key| !new.contains(&key)));
        *settings = kept
            .chain(toml.lines())
            .flat_map(|line| [line, "\n"])
            .collect();
        self
    }

    /// Adds lines to `[host]`.
    pub fn host_keys(mut self, toml: &str) -> Self {
        self.host_keys.push_str(toml);
        self.host_keys.push('\n');
        self
    }

    /// Adds `[folders.NAME]` with these lines.
    pub fn folder(mut self, name: &str, toml: &str) -> Self {
        self.folders
            .push_str(&format!("\n[folders.{name}]\n{toml}\n"));
        self
    }

    /// Uses this whole polyport.toml instead of one made from the services.
    pub fn config(mut self, toml: &str) -> Self {
        self.config = Some(toml.into());
        self
    }

    /// Uses this accounts.ini; without, it holds [`USER`] with [`PASSWORD`], home folder `files`.
    pub fn accounts(mut self, ini: &str) -> Self {
        self.accounts = Some(ini.into());
        self
    }

    /// Writes a file below the folder of the configuration; `files/` is what the services serve.
    pub fn file(mut self, path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Self {
        self.files
            .push((path.as_ref().into(), contents.as_ref().into()));
        self
    }

    /// Adds an argument to `polyport run`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets an environment variable of the host.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Starts the host by a command that ends in executing what follows its arguments: `unshare --user`.
    pub fn under(mut self, command: &[&str]) -> Self {
        self.under = command.iter().map(|word| word.to_string()).collect();
        self
    }

    /// Writes everything and starts the host; panics with its log unless it gets ready.
    #[track_caller]
    pub fn start(self) -> Host {
        let mut host = self.prepare();
        host.start();
        host
    }

    /// Writes everything and leaves the start to the test.
    #[track_caller]
    pub fn prepare(self) -> Host {
        let program = artifacts::program();
        let dir = tempfile::Builder::new().prefix("polyport-").tempdir();
        let dir = dir.unwrap_or_else(|e| panic!("no temporary folder: {e}"));
        let names = Names::new(dir.path());

        let plugins = dir.path().join("plugins");
        for folder in [&plugins, &dir.path().join("files")] {
            std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        }
        let packages: Vec<&str> = self.packages.iter().map(String::as_str).collect();
        artifacts::with_built(&packages, |built| {
            for file in packages
                .iter()
                .map(|package| artifacts::library_of(package))
            {
                // A copy, not a link: tests overwrite and truncate libraries.
                let from = built.join(&file);
                std::fs::copy(&from, plugins.join(file))
                    .unwrap_or_else(|e| panic!("{}: {e}", from.display()));
            }
        });
        for (path, contents) in &self.files {
            write(&dir.path().join(path), contents);
        }
        let accounts = self.accounts.clone().unwrap_or_else(default_accounts);
        write(
            &dir.path().join("accounts.ini"),
            names.expand(&accounts).as_bytes(),
        );
        let config = self
            .config
            .clone()
            .unwrap_or_else(|| self.standard_config());
        write(
            &dir.path().join("polyport.toml"),
            names.expand(&config).as_bytes(),
        );
        Host::new(program, dir, names, self.args, self.env, self.under)
    }

    fn standard_config(&self) -> String {
        let mut text = String::from(
            "[host]\nplugins = \"plugins\"\naccounts = \"accounts.ini\"\nstate = \"state\"\ncontrol = \"control.sock\"\n",
        );
        text.push_str(&self.host_keys);
        text.push_str(&self.folders);
        for Service {
            name,
            plugin,
            listen,
            keys,
            settings,
        } in &self.services
        {
            text.push_str(&format!(
                "\n[services.{name}]\nplugin = {plugin:?}\nlisten = {listen:?}\n{keys}\n[services.{name}.settings]\n{settings}"
            ));
        }
        text
    }

    #[track_caller]
    fn find(&mut self, name: &str) -> &mut Service {
        let service = self
            .services
            .iter_mut()
            .find(|service| service.name == name);
        service.unwrap_or_else(|| panic!("no service {name:?} was added before"))
    }
}

/// What the placeholders stand for.
pub(crate) struct Names {
    dir: String,
    ports: Mutex<BTreeMap<String, u16>>,
}

impl Names {
    fn new(dir: &Path) -> Self {
        let dir = dir.to_str().expect("temporary folders have plain names");
        Self {
            dir: dir.into(),
            ports: Mutex::default(),
        }
    }

    fn ports(&self) -> MutexGuard<'_, BTreeMap<String, u16>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn port(&self, name: &str) -> Option<u16> {
        self.ports().get(name).copied()
    }

    /// Replaces the placeholders; a `{` that begins none stays as it is.
    pub(crate) fn expand(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            match after
                .split_once('}')
                .and_then(|(name, rest)| Some((self.value(name)?, rest)))
            {
                Some((value, after)) => {
                    out.push_str(&value);
                    rest = after;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn value(&self, placeholder: &str) -> Option<String> {
        let reserve = |name: &str, count| {
            let mut ports = self.ports();
            *ports
                .entry(name.to_string())
                .or_insert_with(|| ports::free_ports(count))
        };
        match placeholder.split_once(':') {
            None if placeholder == "dir" => Some(self.dir.clone()),
            Some(("port", name)) => Some(reserve(name, 1).to_string()),
            Some(("range", name)) => {
                let first = reserve(name, RANGE);
                Some(format!("{first}-{}", first + RANGE - 1))
            }
            _ => None,
        }
    }
}

fn default_accounts() -> String {
    format!("[{USER}]\nname = {USER}\npassword = {PASSWORD}\nhome = files\n")
}

fn write(path: &Path, contents: &[u8]) {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    }
    std::fs::write(path, contents).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_keep_their_meaning() {
        let names = Names::new(Path::new("/x"));
        let text = names.expand("{ a = 1 } {dir}/y {port:a} {port:a} {range:b} {");
        let a = names.port("a").unwrap();
        let b = names.port("b").unwrap();
        assert_eq!(text, format!("{{ a = 1 }} /x/y {a} {a} {b}-{} {{", b + 19));
    }

    #[test]
    fn settings_are_replaced_by_key() {
        let mut builder = Builder::default()
            .service("ftp")
            .settings("ftp", "root = \"other\"\nbanner = \"x\"");
        let settings = &builder.find("ftp").settings;
        assert_eq!(
            settings,
            "passive_ports = \"{range:ftp-passive}\"\nroot = \"other\"\nbanner = \"x\"\n"
        );
    }
}
