//! Which libraries are let in: the newest version or the pinned one, signed where that is demanded, from a place
//! that nobody else writes to.

#![allow(clippy::unwrap_used, reason = "tests may")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use polyport_testkit::{Client, Host};
use sha2::{Digest, Sha256};

fn host() -> Host {
    Host::builder()
        .plugin("echo", "echo", "polyport-echo")
        .host_keys("quiet_time = \"50ms\"\n")
        .prepare()
}

fn library(host: &Host) -> PathBuf {
    host.path().join("plugins/libpolyport_echo.so")
}

/// Another version of the library: the one that its manifest says.
fn version(host: &Host, version: &str, file: &str) -> PathBuf {
    let mut bytes = fs::read(library(host)).unwrap();
    let own = b"\"name\":\"echo\",\"version\":\"0.1.0\"";
    let at = bytes
        .windows(own.len())
        .position(|window| window == own)
        .expect("the manifest is in the library");
    let digits = at + own.len() - "0.1.0\"".len();
    bytes[digits..digits + version.len()].copy_from_slice(version.as_bytes());
    let path = host.path().join("plugins").join(file);
    fs::write(&path, bytes).unwrap();
    path
}

fn hash(path: &Path) -> String {
    let bytes = fs::read(path).unwrap();
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs minisign in the host's folder.
fn minisign(host: &Host, args: &[&str]) {
    Client::new("minisign")
        .args(args)
        .current_dir(host.path())
        .run()
        .expect_success();
}

fn running(host: &Host) -> (String, String) {
    let status = host.status();
    let service = &status["services"][0];
    let text = |key: &str| service[key].as_str().unwrap_or_default().to_owned();
    (text("version"), text("hash"))
}

fn pin(host: &Host, hash: &str) {
    host.edit_config(|text| {
        let kept = text.lines().filter(|line| !line.starts_with("sha256"));
        let lines: Vec<&str> = kept.collect();
        lines.join("\n").replace(
            "plugin = \"echo\"",
            &format!("plugin = \"echo\"\nsha256 = \"{hash}\""),
        )
    });
}

#[test]
fn the_newest_version_runs_and_a_pin_goes_back() {
    let mut host = host();
    let newer = version(&host, "0.1.9", "libpolyport_echo-new.so");
    host.start();
    assert_eq!(running(&host), ("0.1.9".into(), hash(&newer)));
    // Ten comes after nine, and the name of the file does not count.
    let newest = version(&host, "1.0.0", "a.so");
    host.wait_status("the newest runs", |status| {
        status["services"][0]["hash"] == hash(&newest)
    });
    let oldest = library(&host);
    pin(&host, &hash(&oldest));
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(running(&host), ("0.1.0".into(), hash(&oldest)));
    // What the pin names goes on running while a new version comes; its loss is told.
    version(&host, "2.0.0", "b.so");
    host.command(&["reload", "--wait"]).expect_success();
    assert_eq!(running(&host).0, "0.1.0");
    pin(&host, &"0".repeat(64));
    let refused = host.command(&["reload", "--wait"]).expect_code(1);
    let text = refused.stderr();
    assert!(
        text.contains("services.echo.plugin: plugin \"echo\": expected a library with sha256 0000")
            && text.contains(&hash(&oldest)),
        "{text}"
    );
    assert_eq!(running(&host).0, "0.1.0");
    pin(&host, "short");
    let refused = host.command(&["check"]).expect_code(1);
    assert!(
        refused
            .stdout()
            .contains("services.echo.sha256: expected the 64 hexadecimal digits"),
        "{}",
        refused.stdout()
    );
}

#[test]
fn signatures_are_minisigns() {
    let mut host = host();
    for name in ["ours", "theirs"] {
        minisign(
            &host,
            &[
                "-G",
                "-W",
                "-f",
                "-p",
                &format!("{name}.pub"),
                "-s",
                &format!("{name}.key"),
            ],
        );
    }
    let sign = |key: &str, library: &Path, legacy: bool| {
        let library = library.to_str().unwrap();
        let mut args = vec!["-S", "-W", "-s", key, "-m", library];
        args.extend(legacy.then_some("-l"));
        minisign(&host, &args);
    };
    let public = fs::read_to_string(host.path().join("ours.pub")).unwrap();
    let public = public.lines().last().unwrap();
    host.edit_config(|text| {
        text.replace(
            "[host]\n",
            &format!("[host]\nsignature_keys = [\"{public}\"]\nrequire_signature = true\n"),
        )
    });
    let library = library(&host);
    let refused = |wanted: &str| {
        let check = host.command(&["check"]).expect_code(1);
        assert!(check.stdout().contains(wanted), "{}", check.stdout());
    };
    refused("libpolyport_echo.so.minisig, got none");
    sign("theirs.key", &library, false);
    refused("expected a signature of its bytes by one of host.signature_keys, got another");
    fs::write(
        host.path().join("plugins/libpolyport_echo.so.minisig"),
        "no signature",
    )
    .unwrap();
    refused("its signature");
    for legacy in [true, false] {
        sign("ours.key", &library, legacy);
        host.command(&["check"]).expect_success();
    }
    host.start();
    let (_, signed) = running(&host);
    // A library that comes without a signature of its own waits outside; signed, it is let in by itself.
    let mark = host.log_mark();
    let newer = version(&host, "0.2.0", "libpolyport_echo-new.so");
    host.wait_log(mark, "libpolyport_echo-new.so.minisig, got none");
    assert_eq!(running(&host).1, signed);
    minisign(
        &host,
        &["-S", "-W", "-s", "ours.key", "-m", newer.to_str().unwrap()],
    );
    host.wait_status("the signed one runs", |status| {
        status["services"][0]["hash"] == hash(&newer)
    });
}

#[test]
fn a_key_is_demanded_with_the_demand_for_signatures() {
    let host = host();
    for (keys, wanted) in [
        (
            "require_signature = true\n",
            "host.require_signature: expected signature_keys",
        ),
        (
            "signature_keys = [\"RWx\"]\n",
            "host.signature_keys[0]: expected a public key of minisign",
        ),
    ] {
        host.edit_config(|text| {
            let rest = text.split_once("plugins =").unwrap().1;
            format!("[host]\n{keys}plugins ={rest}")
        });
        let check = host.command(&["check"]).expect_code(1);
        assert!(check.stdout().contains(wanted), "{}", check.stdout());
    }
}

#[test]
fn a_place_that_others_write_to_is_refused_unless_allowed() {
    let mut host = host();
    let plugins = host.path().join("plugins");
    let library = library(&host);
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for (path, before) in [(&plugins, 0o755), (&library, 0o644)] {
        mode(path, before | 0o002);
        let check = host.command(&["check"]).expect_code(1);
        let wanted = format!(
            "expected a place that only its owner can write to, got {}",
            path.display()
        );
        assert!(check.stdout().contains(&wanted), "{}", check.stdout());
        mode(path, before);
        host.command(&["check"]).expect_success();
    }
    mode(&plugins, 0o777);
    host.edit_config(|text| text.replace("[host]\n", "[host]\nallow_writable_plugins = true\n"));
    host.start();
}
