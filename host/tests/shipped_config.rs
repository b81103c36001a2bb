//! The annotated configuration is the reference for keys: what it shows is what the code has.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::path::{Path, PathBuf};
use std::process::Command;

use polyport_testkit::library;
use serde_json::{Map, Value};

/// Keys of `[host]` whose default is no fixed value: they stand in a comment.
const IN_A_COMMENT: [&str; 3] = ["plugins", "user", "file"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .join("config")
}

fn text() -> String {
    std::fs::read_to_string(folder().join("polyport.toml")).unwrap()
}

fn polyport(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .args(arguments)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value at `path` as JSON, so that it compares with what plugins say.
fn at(path: &[&str]) -> Value {
    let document: toml::Table = toml::from_str(&text()).unwrap();
    let mut value = serde_json::to_value(document).unwrap();
    for key in path {
        value = value[key].take();
    }
    value
}

#[test]
fn it_has_neither_problems_nor_warnings() {
    let file = folder().join("polyport.toml");
    let plugins = tempfile::tempdir().unwrap();
    for service in at(&["services"]).as_object().unwrap().values() {
        let built = library_of(service);
        let name = built.file_name().unwrap();
        std::fs::copy(&built, plugins.path().join(name)).unwrap();
    }
    let plugins = plugins.path().to_str().unwrap();
    let said = polyport(&["check", "-c", file.to_str().unwrap(), "--plugins", plugins]);
    assert_eq!(said, "ok: 5 services, 0 accounts\n");
}

/// The built library of a service's plugin.
fn library_of(service: &Value) -> PathBuf {
    let plugin = service["plugin"].as_str().unwrap();
    library(&format!("polyport-{plugin}"))
}

/// The keys of a table as the program knows them: it lists them when it meets an unknown one.
fn known_keys(table: &str) -> Vec<String> {
    let file = folder().join("polyport.toml");
    let set = format!("{table}.zzzzzzzz=1");
    keys_expected(&["check", "-c", file.to_str().unwrap(), "--set", &set])
}

/// The keys that a failing command says it expected.
fn keys_expected(arguments: &[&str]) -> Vec<String> {
    let output = Command::new(env!("CARGO_BIN_EXE_polyport"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let (_, list) = said
        .split_once("expected one of ")
        .unwrap_or_else(|| panic!("{said}"));
    list.trim().split(", ").map(str::to_owned).collect()
}

#[test]
fn every_key_of_the_host_is_shown() {
    for path in [&["host"][..], &["host", "log"]] {
        let shown = at(path);
        for key in known_keys(&path.join(".")) {
            if IN_A_COMMENT.contains(&key.as_str()) {
                assert!(text().contains(&format!("\n# {key} = \"")), "{key}");
                assert_eq!(shown.get(&key), None, "{key}");
            } else {
                assert!(shown.get(&key).is_some(), "{path:?} {key}");
            }
        }
    }
}

#[test]
fn every_key_of_a_service_is_shown_and_explained() {
    let known = known_keys("services.mqtt");
    for (name, service) in at(&["services"]).as_object().unwrap() {
        for key in &known {
            assert!(
                text().contains(&format!("\n# {key} ")),
                "{key} is explained"
            );
            // What has no value by default.
            let unset = ["tls", "folders", "sha256"].contains(&key.as_str());
            assert!(service.get(key).is_some() || unset, "{name} {key}");
        }
    }
}

#[test]
fn every_key_of_a_folder_is_shown_in_the_example_and_explained() {
    let file = folder().join("polyport.toml");
    let set = "folders.x = { path = \"files\", zzzzzzzz = 1 }";
    let known = keys_expected(&["check", "-c", file.to_str().unwrap(), "--set", set]);
    let page = std::fs::read_to_string(folder().join("../docs/folders.md")).unwrap();
    assert!(known.contains(&"path".to_owned()), "{known:?}");
    for key in known {
        assert!(text().contains(&format!("\n# {key} = ")), "{key}");
        assert!(page.contains(&format!("| `{key}` |")), "{key}");
    }
}

#[test]
fn the_operating_page_names_every_key() {
    let page = std::fs::read_to_string(folder().join("../docs/operating.md")).unwrap();
    for (table, shown) in [
        ("host", "host"),
        ("host.log", "host.log"),
        ("host.ban", "host.ban"),
        ("services.mqtt", "services.NAME"),
    ] {
        for key in known_keys(table)
            .iter()
            .filter(|key| !["log", "ban"].contains(&key.as_str()))
        {
            assert!(
                page.contains(&format!("| `{shown}.{key}` |")),
                "{shown}.{key}"
            );
        }
    }
}

#[test]
fn the_accounts_file_and_the_operating_page_name_every_key_of_an_account() {
    let temporary = tempfile::tempdir().unwrap();
    std::fs::write(temporary.path().join("accounts.ini"), "[a]\nzzzzzzzz = 1\n").unwrap();
    let config = temporary.path().join("polyport.toml");
    std::fs::write(&config, "").unwrap();
    let known = keys_expected(&["check", "-c", config.to_str().unwrap()]);
    let ini = std::fs::read_to_string(folder().join("accounts.ini")).unwrap();
    let page = std::fs::read_to_string(folder().join("../docs/operating.md")).unwrap();
    assert!(known.len() > 5, "{known:?}");
    for key in known {
        let written = key.replace("SERVICE", "mqtt").replace("NAME", "1");
        // `expore` is another spelling of `expire`, for files that have it.
        assert!(
            ini.contains(&format!("\n; {written} = ")) || key == "expore",
            "{key}"
        );
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}

#[test]
fn settings_are_the_plugins_keys_with_their_defaults() {
    let services = at(&["services"]);
    for (name, service) in services.as_object().unwrap() {
        let built = library_of(service);
        let said: Value =
            serde_json::from_str(&polyport(&["plugin", "inspect", built.to_str().unwrap()]))
                .unwrap();
        let defaults = said["description"]["settings"]
            .as_object()
            .unwrap_or_else(|| panic!("{name}: {said}"));
        // Keys without a value stand in a comment: TOML has no null.
        let (unset, set): (Map<_, _>, Map<_, _>) = defaults
            .clone()
            .into_iter()
            .partition(|(_, value)| value.is_null());
        assert_eq!(service["settings"], Value::Object(set), "{name}");
        for key in unset.keys() {
            assert!(text().contains(&format!("\n# {key} = ")), "{name} {key}");
        }
    }
}

#[test]
fn the_page_of_each_plugin_says_of_each_setting_whether_it_is_live() {
    for service in at(&["services"]).as_object().unwrap().values() {
        let plugin = service["plugin"].as_str().unwrap();
        let library = library_of(service);
        let told: Value =
            serde_json::from_str(&polyport(&["plugin", "inspect", library.to_str().unwrap()]))
                .unwrap();
        let described = &told["description"];
        let live: Vec<&str> = described["live"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key.as_str().unwrap())
            .collect();
        let settings = described["settings"].as_object().unwrap();
        for key in &live {
            assert!(settings.contains_key(*key), "{plugin}: no setting {key:?}");
        }
        let page = folder().join(format!("../docs/{plugin}.md"));
        let page = std::fs::read_to_string(page).unwrap();
        let said: Vec<(&str, &str)> = page
            .lines()
            .skip_while(|line| !line.starts_with("| key | default | [change](reload.md) |"))
            .skip(2)
            .map_while(|line| {
                let mut cells = line.strip_prefix("| ")?.split(" | ");
                Some((cells.next()?.trim_matches('`'), cells.nth(1)?))
            })
            .collect();
        let expected: Vec<(&str, &str)> = settings
            .keys()
            .map(|key| {
                (
                    key.as_str(),
                    if live.contains(&key.as_str()) {
                        "live"
                    } else {
                        "swap"
                    },
                )
            })
            .collect();
        assert_eq!(said, expected, "{plugin}");
    }
}
