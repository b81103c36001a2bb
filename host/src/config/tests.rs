//! The configuration as a whole: files in, values or lines of problems out.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn source(set: &[&str]) -> Source {
    Source {
        file: PathBuf::from("/etc/polyport/polyport.toml"),
        set: set.iter().map(|text| (*text).to_owned()).collect(),
        plugins: None,
        control: None,
    }
}

fn parse(text: &str) -> Result<Config, Diagnostics> {
    Config::parse(&source(&[]), text.as_bytes())
}

fn problems(text: &str) -> Vec<String> {
    let prefix = "/etc/polyport/polyport.toml:";
    parse(text)
        .unwrap_err()
        .iter()
        .map(|one| one.to_string().trim_start_matches(prefix).to_owned())
        .collect()
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("").unwrap();
    assert_eq!(
        config.host.accounts,
        Path::new("/etc/polyport/accounts.ini")
    );
    assert_eq!(config.host.state, Path::new("/etc/polyport/state"));
    assert_eq!(
        config.host.control,
        Path::new("/etc/polyport/state/control.sock")
    );
    assert_eq!(
        config.host.plugins,
        std::env::current_exe().unwrap().parent().unwrap()
    );
    assert_eq!(config.host.log.format, LogFormat::Auto);
    assert_eq!(config.host.log.access, AccessLog::Stdout);
    assert_eq!(config.host.drain_timeout, Duration::from_secs(30));
    assert!(config.services.is_empty());
}

#[test]
fn the_shipped_file_shows_the_defaults_of_the_host() {
    let shipped = Config::parse(
        &source(&[]),
        include_bytes!("../../../config/polyport.toml"),
    )
    .unwrap();
    assert_eq!(shipped.host, parse("").unwrap().host);
}

#[test]
fn values_are_taken_and_paths_begin_at_the_file() {
    let config = parse(
        "[host]\nstate = \"var\"\nplugins = \"/usr/lib/polyport\"\nready_timeout = \"2m\"\n\
         log = { level = \"warn,mqtt=debug\", format = \"json\", file = \"p.log\", access = \"off\" }\n\
         [services.b]\nplugin = \"mqtt\"\nlisten = [\"127.0.0.1:1883\", \"unix:b.sock\"]\nthreads = 2\n\
         settings = { z = 1, a = [1979-05-27, 1_000, 0x10, 1.5] }\n\
         [services.a]\nplugin = \"mqtt\"\nenabled = false\nlisten = [\"127.0.0.1:1883\"]\n",
    )
    .unwrap();
    assert_eq!(
        config.host.control,
        Path::new("/etc/polyport/var/control.sock")
    );
    assert_eq!(
        config.host.log.file.as_deref(),
        Some(Path::new("/etc/polyport/p.log"))
    );
    assert_eq!(
        config
            .services
            .iter()
            .map(|one| one.name.as_str())
            .collect::<Vec<_>>(),
        ["b", "a"]
    );
    let b = &config.services[0];
    assert_eq!(
        b.listen[1].address,
        Address::Unix(PathBuf::from("/etc/polyport/b.sock"))
    );
    assert_eq!(b.threads, Threads::Count(2.try_into().unwrap()));
    assert_eq!(
        b.settings,
        json!({"z": 1, "a": ["1979-05-27", 1000, 16, 1.5]})
    );
    assert!(!config.services[1].enabled);
}

#[test]
fn folders_are_shown_by_all_services_or_by_those_that_name_them() {
    let config = parse(
        "[folders.firmware]\npath = \"fw\"\n\
         [folders.logs]\npath = \"/var/log\"\nat = \"/firmware/logs/\"\nsymlinks = \"never\"\nhidden = true\n\
         [services.a]\nplugin = \"ftp\"\n[services.b]\nplugin = \"ftp\"\nfolders = [\"logs\"]\n\
         [services.c]\nplugin = \"ftp\"\nfolders = []\n",
    )
    .unwrap();
    let names = |service: usize| -> Vec<String> {
        let shown = config.folders_of(&config.services[service]);
        shown.into_iter().map(|folder| folder.name).collect()
    };
    assert_eq!(names(0), ["firmware", "logs"]);
    assert_eq!(names(1), ["logs"]);
    assert!(names(2).is_empty());
    let [firmware, logs] = &config.folders[..] else {
        panic!("{:?}", config.folders)
    };
    assert_eq!(firmware.path, Path::new("/etc/polyport/fw"));
    assert_eq!(
        (firmware.at.as_str(), firmware.symlinks),
        ("/firmware", "inside")
    );
    assert!(!firmware.hidden && logs.hidden);
    assert_eq!(
        (logs.at.as_str(), logs.symlinks),
        ("/firmware/logs", "never")
    );
}

#[test]
fn problems_of_folders_have_their_line() {
    let found = problems(
        "[folders.a]\n[folders.B]\npath = \"x\"\n[folders.c]\npath = \"x\"\nat = \"/a/../b\"\n\
         [folders.d]\npath = \"x\"\nat = \"/e\"\nsymlinks = \"outside\"\n[folders.e]\npath = \"y\"\nsimlinks = 1\n\
         [services.ftp]\nplugin = \"ftp\"\nfolders = [\"d\", \"aa\"]\n",
    );
    assert_eq!(
        found,
        [
            "1:10: folders.a.path: expected a folder, such as path = \"/srv/files\", got none",
            "2:10: folders.B: expected a folder's name of a-z, 0-9, _ and -, got \"B\"",
            "6:6: folders.c.at: expected a path such as \"/firmware\": absolute, not / itself, no name in it \
             empty or beginning with a dot, got \"/a/../b\"",
            "10:12: folders.d.symlinks: expected \"never\", \"inside\" or \"follow\", got \"outside\"",
            "11:10: folders.e.at: expected a place that is free: \"/e\" is that of folders.d at \
             /etc/polyport/polyport.toml:9:6, got \"/e\"",
            "13:1: folders.e.simlinks: unknown key, did you mean \"symlinks\"?",
            "16:17: services.ftp.folders[1]: expected the name of one of [folders], such as \"a\", got \"aa\"",
        ]
    );
}

#[test]
fn every_problem_is_reported_at_once_with_its_line() {
    let found = problems(
        "hots = 1\n[host]\nstate = 5\nlog.level = \"loud\"\nlog.colour = true\ndrain_timeout = \"2h\"\n\
         [services.ftp]\nplugn = \"ftp\"\nlisten = [\"localhost:21\", 7]\nthreads = 0\nisolation = \"process\"\n\
         tls.cert = \"x\"\n[services.Bad]\n",
    );
    assert_eq!(
        found,
        [
            "1:1: hots: unknown key, did you mean \"host\"?",
            "3:9: host.state: expected a string, got 5",
            "4:13: host.log.level: expected a level (off, error, warn, info, debug, trace) or a list such as \
             \"info,mqtt=debug\", got \"loud\"",
            "5:5: host.log.colour: unknown key, expected one of level, format, file, access",
            "6:17: host.drain_timeout: expected a duration from \"0s\" to \"1h\", such as \"300ms\", \"10s\" or \
             \"2m\", got \"2h\"",
            "7:11: services.ftp.plugin: is missing: expected the name of a plugin, such as plugin = \"mqtt\"",
            "8:1: services.ftp.plugn: unknown key, did you mean \"plugin\"?",
            "9:11: services.ftp.listen[0]: expected an IP address, not a name: this machine is \"127.0.0.1:21\" and \
             \"[::1]:21\", got \"localhost:21\"",
            "9:27: services.ftp.listen[1]: expected a string or a table, got 7",
            "10:11: services.ftp.threads: expected \"auto\" or a number from 1 to 256, got 0",
            "11:13: services.ftp.isolation: \"process\" is not available in this version: expected \"in-process\"",
            "12:1: services.ftp.tls.key: expected the file of the private key, got none",
            "13:11: services.Bad: expected a service name of a-z, 0-9, _ and -, got \"Bad\"",
        ]
    );
}

#[test]
fn limits_and_listen_tables_are_taken_and_a_change_of_them_is_one() {
    let text = "[services.a]\nplugin = \"x\"\nlimits = { max_connections = 7, idle_timeout = \"2m\", rate_up = \"3K\" }\n\
                listen = [\"127.0.0.1:80\", { address = \"unix:a.sock\", mode = \"0600\", owner = \"12:34\", max_packet = 5,\n\
                proxy_protocol = [\"10.0.0.0/8\", \"loopback\"] }]\n";
    let config = parse(text).unwrap();
    let service = &config.services[0];
    let written: Vec<_> = service.limits.iter().collect();
    assert_eq!(
        written,
        [
            ("idle_timeout", 120_000),
            ("max_connections", 7),
            ("rate_up", 3072)
        ]
    );
    assert_eq!(service.listen[0].options, ListenOptions::default());
    let options = &service.listen[1].options;
    assert_eq!(options.access.mode, 0o600);
    assert_eq!(options.access.owner, (Some(12), Some(34)));
    assert_eq!(options.proxies.len(), 3);
    assert_eq!(
        options.limits.iter().collect::<Vec<_>>(),
        [("max_packet", 5)]
    );
    assert_ne!(config, parse(&text.replace("= 7", "= 8")).unwrap());
    assert_ne!(config, parse(&text.replace("0600", "0660")).unwrap());
}

#[test]
fn an_address_used_twice_names_both_lines() {
    let text = "[services.a]\nplugin = \"x\"\nlisten = [\"127.0.0.1:80\"]\n\
                [services.b]\nplugin = \"x\"\nlisten = [\"ws://0.0.0.0:80\"]\n";
    assert_eq!(
        problems(text),
        [
            "6:11: services.b.listen[0]: \"ws://0.0.0.0:80\" is taken: services.a.listen[0] at \
          /etc/polyport/polyport.toml:3:11 listens on \"127.0.0.1:80\""
        ]
    );
    parse(&text.replace("[services.b]\n", "[services.b]\nenabled = false\n")).unwrap();
}

#[test]
fn overrides_win_and_their_problems_say_so() {
    let text = "[services.a]\nplugin = \"x\"\nlisten = [\"127.0.0.1:80\"]\nsettings.depth = 1\n";
    let set = [
        "services.a.listen=[\"127.0.0.1:81\"]",
        "services.a.settings.depth=2",
        "host.state=\"/var/p\"",
    ];
    let config = Config::parse(&source(&set), text.as_bytes()).unwrap();
    assert_eq!(config.services[0].listen[0].text, "127.0.0.1:81");
    assert_eq!(config.services[0].settings, json!({"depth": 2}));
    assert_eq!(config.host.state, Path::new("/var/p"));
    let wrong =
        Config::parse(&source(&["services.a.enabled=1", "x"]), text.as_bytes()).unwrap_err();
    assert_eq!(
        wrong.to_string(),
        "--set x: expected KEY=VALUE, got \"x\"\n\
         --set services.a.enabled: services.a.enabled: expected true or false, got 1"
    );
}

#[test]
fn the_command_line_names_folders_beside_the_file() {
    let source = Source {
        plugins: Some("/p".into()),
        control: Some("/c.sock".into()),
        ..source(&[])
    };
    let config = Config::parse(&source, b"[host]\nplugins = \"q\"\ncontrol = \"d\"").unwrap();
    assert_eq!(
        (config.host.plugins.as_path(), config.host.control.as_path()),
        (Path::new("/p"), Path::new("/c.sock"))
    );
}

#[test]
fn a_plugins_problem_is_mapped_to_its_line() {
    let text = "[services.ftp]\nplugin = \"ftp\"\n[services.ftp.settings]\npassive_ports = \"2000\"\n\
                folders = [{ path = \"a\" },\n  { path = 5 }]\n";
    let config =
        Config::parse(&source(&["services.ftp.settings.depth=1"]), text.as_bytes()).unwrap();
    let line = |key: &str| {
        let text = config
            .problem("ftp", key, "expected \"low-high\", got \"2000\"")
            .to_string();
        text.trim_start_matches("/etc/polyport/polyport.toml:")
            .to_owned()
    };
    assert_eq!(
        line("passive_ports"),
        "4:1: services.ftp.settings.passive_ports: expected \"low-high\", got \"2000\""
    );
    assert!(line("folders[1].path").starts_with("6:5: services.ftp.settings.folders[1].path: "));
    assert!(line("depth").starts_with("--set services.ftp.settings.depth: "));
    assert!(line("not.there").starts_with("3:"), "{}", line("not.there"));
    assert!(line("").starts_with("3:"), "{}", line(""));
    assert_eq!(
        config.place("nowhere").to_string(),
        "/etc/polyport/polyport.toml:1:1"
    );
}

#[test]
fn services_compare_one_by_one() {
    let text =
        "[services.a]\nplugin = \"x\"\nsettings = { a = 1, b = 2 }\n[services.b]\nplugin = \"x\"\n";
    let before = parse(text).unwrap();
    let same = parse(
        "# moved\n[services.a]\nsettings = { b = 2, a = 1 }\nplugin = \"x\"\n[services.b]\nplugin = \"x\"\n",
    );
    assert_eq!(before, same.unwrap());
    let after = parse(&text.replace("a = 1", "a = 3")).unwrap();
    assert_ne!(before, after);
    assert_ne!(before.services[0], after.services[0]);
    assert_eq!(before.services[1], after.services[1]);
}

#[test]
fn a_file_that_is_not_text_says_where() {
    let found = Config::parse(&source(&[]), b"a = 1\nb = \"\xff\"")
        .unwrap_err()
        .to_string();
    assert_eq!(
        found,
        "/etc/polyport/polyport.toml:2:6: expected UTF-8 text, got byte 0xff"
    );
    Config::parse(&source(&[]), b"\xef\xbb\xbf[host]\n").unwrap();
}

#[test]
fn a_missing_file_is_named() {
    let source = Source {
        file: PathBuf::from("/nowhere/polyport.toml"),
        ..source(&[])
    };
    let error = Config::load(&source).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration /nowhere/polyport.toml"
    );
}

proptest! {
    #[test]
    fn no_file_makes_the_reader_panic(bytes in any::<Vec<u8>>(), value in "[a-z0-9\"\\[\\]{}=., :/-]{0,30}",
                                      key in 0usize..40) {
        let _ = Config::parse(&source(&[]), &bytes);
        let keys: Vec<&str> = service::KEYS.iter().chain(host::KEYS).chain(host::LOG_KEYS).chain(ban::KEYS).copied().collect();
        let key = keys[key % keys.len()];
        for table in ["host", "host.log", "host.ban", "services.a"] {
            let _ = Config::parse(&source(&[]), format!("[{table}]\n{key} = {value}\n").as_bytes());
        }
    }
}

#[test]
fn the_state_folder_is_found_in_a_broken_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("polyport.toml");
    let found = |text: Option<&str>, set: &[&str]| {
        if let Some(text) = text {
            std::fs::write(&file, text).unwrap();
        }
        let source = Source {
            file: file.clone(),
            ..source(set)
        };
        Config::state_folder(&source)
    };
    let here = |name: &str| folder.path().join(name);
    assert_eq!(found(None, &[]), here("state"));
    assert_eq!(found(None, &["host.state=\"set\""]), here("set"));
    for broken in ["\n[services\n", "x = \n", "\n[services.a]\nplugin = 5\n"] {
        let text = format!("[host]\nstate = \"mine\"\n{broken}");
        assert_eq!(found(Some(&text), &[]), here("mine"), "{broken}");
        let text = format!("{broken}\n[host]\nstate = \"mine\"\n");
        assert_eq!(found(Some(&text), &[]), here("mine"), "{broken}");
    }
    assert_eq!(found(Some("\u{0}"), &[]), here("state"));
}
